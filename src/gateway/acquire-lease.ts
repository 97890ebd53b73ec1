// A request's way to a free engine: at once, or after a wait that its client's hang-up ends.
import type { ServerResponse } from 'node:http';
import type { DataPlane } from './data-plane.ts';
import { ClientGoneError } from './read-body.ts';
import type { LeaseRequest, Turn } from './replica-set.ts';
import type { RequestMeter } from './request-meter.ts';
import type { Lease } from './upstream.ts';

export interface AcquireOptions {
  readonly plane: DataPlane;
  readonly meter: RequestMeter;
  readonly res: ServerResponse;
  readonly deployment: string;
  readonly wish: Omit<LeaseRequest, 'team' | 'mustEndByMs'>;
}

/**
 * A lease that the caller must release, at once where an engine is free. Throws or rejects with the GatewayError `no_healthy_upstream` or `overloaded`, or with ClientGoneError; the
 * time in the line is added to `meter.waitedMs`.
 */
export function acquireLease(options: AcquireOptions): Lease | Promise<Lease> {
  const { plane, meter, deployment, wish } = options;
  const mustEndByMs = meter.receivedAtMs + plane.view.config.server.requestTimeoutMs;
  const found = plane.pool.acquire(deployment, { ...wish, team: meter.caller.team, mustEndByMs });
  return 'upstream' in found ? found : waitForTurn(found, options);
}

async function waitForTurn(found: Turn, { plane, meter, res }: AcquireOptions): Promise<Lease> {
  const sinceMs = plane.clock.monotonicMs();
  const onClose = (): void => found.leave(new ClientGoneError());
  res.once('close', onClose);
  try {
    const lease = await found.granted;
    if (!res.destroyed) return lease;
    lease.release();
    throw new ClientGoneError();
  } finally {
    res.off('close', onClose);
    meter.waitedMs += plane.clock.monotonicMs() - sinceMs;
  }
}
