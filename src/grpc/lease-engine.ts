// A call's way to an engine of its deployment, connected: at once, or after a wait that its client's hang-up ends.
import type { Client } from '@grpc/grpc-js';
import { estimateWork } from '#gateway/estimate-work.ts';
import type { DataPlane } from '#gateway/data-plane.ts';
import type { ParsedRequest } from '#gateway/parse-request.ts';
import { ClientGoneError } from '#gateway/read-body.ts';
import type { Turn } from '#gateway/replica-set.ts';
import type { RequestMeter } from '#gateway/request-meter.ts';
import type { Lease, Upstream } from '#gateway/upstream.ts';

export interface LeaseWish {
  readonly meter: RequestMeter;
  readonly deployment: string;
  readonly request: ParsedRequest;
  /** Engines that have failed this request. */
  readonly excluded: ReadonlySet<Upstream>;
  /** Told where the request waits in line, so that it can leave. */
  readonly onWaiting: (turn: Turn | undefined) => void;
}

/** A lease that the caller must release. Rejects with `no_healthy_upstream`, `overloaded` or ClientGoneError. */
export async function leaseEngine(plane: DataPlane, wish: LeaseWish): Promise<Lease> {
  const { meter, deployment, request, excluded, onWaiting } = wish;
  const { promptTextBytes: promptBytes, maxTokens, sequences } = request;
  const found = plane.pool.acquire(deployment, {
    team: meter.caller.team,
    urgency: excluded.size > 0 ? 'retry' : 'first',
    work: estimateWork({ promptBytes, maxTokens, sequences, prefillOnly: false }),
    prefix: null,
    excluded,
  });
  if ('upstream' in found) return found;
  const sinceMs = plane.clock.monotonicMs();
  onWaiting(found);
  try {
    return await found.granted;
  } finally {
    onWaiting(undefined);
    meter.waitedMs += plane.clock.monotonicMs() - sinceMs;
  }
}

/** Leaves the line, if a request is in it. */
export function leaveLine(turn: Turn | undefined): void {
  turn?.leave(new ClientGoneError());
}

/** grpc-js's connectivity states as numbers, which its types give as a const enum. */
const READY = 2;
const TRANSIENT_FAILURE = 3;

/**
 * Resolves true once the engine's channel is connected; false where an attempt to connect failed or took longer than its time limit. A
 * channel whose last attempt failed says so until it is connected: it is waited for only where the deployment has no other engine.
 */
export function connect(plane: DataPlane, client: Client, upstream: Upstream): Promise<boolean> {
  const { name, timeouts } = upstream.deployment;
  const channel = client.getChannel();
  const first = Number(channel.getConnectivityState(true));
  if (first === READY) return Promise.resolve(true);
  if (
    first === TRANSIENT_FAILURE &&
    plane.pool.list().some((one) => one !== upstream && one.deployment.name === name)
  ) {
    return Promise.resolve(false);
  }
  const { promise, resolve } = Promise.withResolvers<boolean>();
  let isSettled = false;
  const settle = (connected: boolean): void => {
    isSettled = true;
    clearTimeout(timer);
    resolve(connected);
  };
  const timer = setTimeout(() => settle(false), timeouts.connectMs);
  const watch = (hasChanged: boolean): void => {
    if (isSettled) return;
    try {
      const state = channel.getConnectivityState(true);
      if (Number(state) === READY) settle(true);
      else if (hasChanged && Number(state) === TRANSIENT_FAILURE) settle(false);
      else channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => watch(true));
    } catch {
      // The channel was closed by a reload: this engine is gone.
      settle(false);
    }
  };
  watch(false);
  return promise;
}
