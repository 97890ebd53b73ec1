// What one frozen window says about an engine: the work done in it, in the units of the profile's five terms, and the time it took.
// Not here: sums over many windows (learn-statistics.ts), fitting them (learn-fit.ts).
import type { PoolFacts } from '#domain/pool-facts.ts';
import type { Publication, WindowFeatures } from '#domain/settlement.ts';
import { chooseActivity, readBusyTime } from './busy-time.ts';
import { isSoundPublication } from './sound-publication.ts';
import { BUCKETS_PER_WINDOW } from './work-model.ts';

/** Counts of work that the terms t0, a, q/2, d, k are multiplied by: iterations, P, Q, D, K of settlement.md. */
export type WorkCounts = readonly [iterations: number, p: number, q: number, d: number, k: number];

/** Terms of a profile, and so the length of WorkCounts. */
export const TERM_COUNT = 5;

export interface WorkSample {
  /** Deployments that share the profile which this window tells about, sorted, joined by `+`. */
  readonly group: string;
  readonly work: WorkCounts;
  /** Milliseconds for which the window is charged: of requests in flight, or as the engine or DCGM says. */
  readonly busyMs: number;
  /** Milliseconds of all sequences in the batch: ÷ busyMs it is the mean batch. */
  readonly sequenceMs: number;
}

const BUCKET_MS = 100;
/** Shorter stretches of work are mostly network and queue. */
const BUSY_MS_MIN = 100;

/**
 * The sample of one window of one pool, of all processes that published it; null where it cannot tell one engine's time from anything else: a
 * publication that is not sound, work without tokens, work of deployments with different profiles, or hardly any.
 *
 * Iterations = Σ_b s_b·100 ÷ max(100, n_b): each running sequence makes one step per iteration, and this is the very number by which the
 * freeze multiplies t0 (settlement.md, Arithmetic), so that what is fitted is what is charged by.
 */
export function sampleWindow(publications: readonly Publication[], facts: PoolFacts): WorkSample | null {
  const steps = emptyBuckets();
  const sequenceMs = emptyBuckets();
  const sums = [0, 0, 0, 0, 0] as [number, number, number, number, number];
  let group: string | null = null;
  for (const publication of publications) {
    if (!isSoundPublication(publication)) return null;
    for (const [bucket, ms] of publication.n.entries()) sequenceMs[bucket] = (sequenceMs[bucket] ?? 0) + ms;
    for (const [deployment, features] of Object.entries(publication.deployments)) {
      const own = groupOf(facts, deployment);
      if (own === null || features.u.some((ms) => ms > 0) || (group !== null && own !== group)) return null;
      group = own;
      addWork(sums, steps, features);
    }
  }
  const { busyMs } = readBusyTime(publications, chooseActivity(publications));
  for (const [bucket, count] of steps.entries()) {
    sums[0] += (count * BUCKET_MS) / Math.max(BUCKET_MS, sequenceMs[bucket] ?? 0);
  }
  if (group === null || busyMs < BUSY_MS_MIN || !(sums[0] > 0)) return null;
  return { group, work: sums, busyMs, sequenceMs: sequenceMs.reduce((sum, ms) => sum + ms, 0) };
}

/** Deployments of the pool that have the same profile as this one, sorted, joined by `+`; null where it has no facts. LoRA adapters of one engine learn together. */
export function groupOf(facts: PoolFacts, deployment: string): string | null {
  const own = Object.hasOwn(facts.deployments, deployment) ? facts.deployments[deployment] : undefined;
  if (own === undefined) return null;
  const { t0, a, halfQ, d, k } = own.profile;
  const isSame = ([, { profile, profileSource }]: [string, PoolFacts['deployments'][string]]): boolean =>
    profileSource === own.profileSource &&
    profile.t0 === t0 &&
    profile.a === a &&
    profile.halfQ === halfQ &&
    profile.d === d &&
    profile.k === k;
  const names = Object.entries(facts.deployments)
    .filter(isSame)
    .map(([name]) => name);
  return names.toSorted().join('+');
}

function addWork(
  sums: [number, number, number, number, number],
  steps: number[],
  features: Readonly<WindowFeatures>,
): void {
  sums[1] += features.p;
  sums[2] += features.q;
  sums[3] += features.d;
  sums[4] += features.k;
  for (const [bucket, count] of features.s.entries()) steps[bucket] = (steps[bucket] ?? 0) + count;
}

function emptyBuckets(): number[] {
  return Array.from({ length: BUCKETS_PER_WINDOW }, () => 0);
}
