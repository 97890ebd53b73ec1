// What an answer that is about to leave probably costs, for its header. The books never read it.
import type { DataPlane } from './data-plane.ts';
import type { ReportedUsage } from './read-usage.ts';
import type { Upstream } from './upstream.ts';

/** Answers up to this length carry the estimate (contract §4). */
export const ESTIMATED_BYTES_MAX = 256 * 1024;

/** Dollars with nine decimals for what an answer says of its tokens (null: nothing), asked when the answer is whole; null for none. */
export type EstimateAnswer = (usage: ReportedUsage | null) => string | null;

/**
 * Estimates answers of one engine at the concurrency of the moment they end: by their tokens, or, where work is metered by duration, by the
 * time from now to then. Null where the gateway makes no estimates.
 */
export function createEstimate(
  plane: Pick<DataPlane, 'estimateCost' | 'clock'>,
  target: { readonly work: 'duration' | undefined; readonly upstream: Upstream; readonly sequences: number },
): EstimateAnswer | null {
  const { estimateCost, clock } = plane;
  const { work, upstream, sequences } = target;
  if (estimateCost === null) return null;
  const deployment = upstream.deployment.name;
  if ((work ?? upstream.deployment.work) === 'duration') {
    const sentAtMs = clock.monotonicMs();
    return () =>
      estimateCost({ deployment, durationMs: clock.monotonicMs() - sentAtMs, concurrency: readConcurrency(upstream) });
  }
  return (usage) => {
    if (usage === null || usage.prompt === null) return null;
    const { prompt, cached, completion } = usage;
    return estimateCost({
      deployment,
      prompt,
      cached: cached ?? 0,
      completion: completion ?? 0,
      sequences,
      concurrency: readConcurrency(upstream),
    });
  };
}

function readConcurrency({ inFlight, config }: Upstream): number {
  return inFlight / config.replicas;
}
