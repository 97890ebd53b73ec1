// The engines' streams behind one client's stream: one per deployment at most, opened with its first request at the best deployment that has an
// engine for it. What goes over a lane is stream-lane's, what the client is told serve-stream's.
import type { Client } from '@grpc/grpc-js';
import type { Deadline } from '@grpc/grpc-js/build/src/deadline.js';
import type { DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import type { Outcome } from '#domain/usage-record.ts';
import { findOnward, leaveRefusing } from '#gateway/find-onward.ts';
import { nameDeployment } from '#gateway/name-deployment.ts';
import { ClientGoneError } from '#gateway/read-body.ts';
import { readNamedDeployment } from '#gateway/read-model.ts';
import type { Ranking } from '#gateway/relay-by-rank.ts';
import type { Turn } from '#gateway/replica-set.ts';
import type { RequestMeter } from '#gateway/request-meter.ts';
import type { Lease, Upstream } from '#gateway/upstream.ts';
import { toParsedRequest } from './infer-work.ts';
import type { InferRequestFacts } from './kserve-messages.ts';
import { connect, leaveLine, leaseEngine } from './lease-engine.ts';
import { createUpstreamMetadata, type GrpcPlane, type OpenCall } from './open-call.ts';
import { type LaneListener, StreamLane } from './stream-lane.ts';

export interface LanesOptions {
  readonly grpc: GrpcPlane;
  readonly opened: OpenCall;
  /** The client's own, passed on. */
  readonly deadline: Deadline;
  readonly listener: LaneListener;
}

/** One request on its way to a lane. */
export interface LaneRequest {
  readonly facts: InferRequestFacts;
  readonly meter: RequestMeter;
}

/** Owns the lanes of one client's stream. */
export class StreamLanes {
  readonly #options: LanesOptions;
  readonly #byDeployment = new Map<string, StreamLane>();
  /** By model: the deployment its last request went to. */
  readonly #chosen = new Map<string, string>();
  #turn: Turn | undefined;
  #isCut = false;

  constructor(options: LanesOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#byDeployment.size === 0;
  }

  /** Requests without their end. */
  get openRequests(): number {
    return [...this].reduce((sum, { open }) => sum + open.size, 0);
  }

  [Symbol.iterator](): IterableIterator<StreamLane> {
    return this.#byDeployment.values();
  }

  /**
   * Where a request goes: with the stream's requests of the same model as long as their lane is open, so that a sequence stays on the engine
   * that began it, even when a better deployment comes back. Throws like `ModelRouter.route`.
   */
  rank({ caller, requestedModel: model }: RequestMeter): Ranking {
    const { grpc, opened } = this.#options;
    const { router } = grpc.findView();
    const wish = { caller, model, deployment: readNamedDeployment(opened.headers) };
    const chosen = model === null ? undefined : this.#chosen.get(model);
    const isOpen = chosen !== undefined && this.#byDeployment.has(chosen);
    const deployment = router.route({ ...wish, deployment: wish.deployment ?? (isOpen ? chosen : undefined) });
    return { deployment, findNext: (tried) => router.routeElsewhere(wish, tried) };
  }

  /**
   * The lane of the best deployment that can be reached, opened where it is not; nothing was sent to those before. Rejects with the
   * GatewayError of the last deployment that was tried, or with ClientGoneError.
   */
  async find(
    ranking: Ranking,
    request: LaneRequest,
  ): Promise<{ readonly lane: StreamLane; readonly deployment: DeploymentConfig }> {
    let { deployment } = ranking;
    const tried = new Set<DeploymentConfig>();
    const findFallback = (): DeploymentConfig | null => ranking.findNext(tried);
    for (;;) {
      tried.add(deployment);
      nameDeployment(request.meter, deployment);
      const known = this.#byDeployment.get(deployment.name);
      const found = known ?? (await this.#open(deployment, request, findFallback));
      if (found instanceof StreamLane) {
        const { requestedModel } = request.meter;
        if (requestedModel !== null) this.#chosen.set(requestedModel, deployment.name);
        return { lane: found, deployment };
      }
      deployment = found;
    }
  }

  /** An engine's stream is over. */
  delete(lane: StreamLane): void {
    for (const [name, known] of this.#byDeployment) if (known === lane) this.#byDeployment.delete(name);
  }

  /** Ends every lane from our side, and the way of a request that is looking for one. */
  cut(outcome: Outcome, httpStatus: number): void {
    this.#isCut = true;
    leaveLine(this.#turn);
    for (const lane of this) lane.cut(outcome, httpStatus);
    this.#byDeployment.clear();
  }

  /** A lane to an engine of the deployment, or the deployment to go on to. */
  async #open(
    deployment: DeploymentConfig,
    { facts, meter }: LaneRequest,
    findFallback: () => DeploymentConfig | null,
  ): Promise<StreamLane | DeploymentConfig> {
    const { plane, upstreams } = this.#options.grpc;
    const excluded = new Set<Upstream>();
    const attemptsBefore = meter.attempts;
    for (;;) {
      const request = toParsedRequest(facts, true);
      const onWaiting = (turn: Turn | undefined): void => void (this.#turn = turn);
      let lease: Lease;
      try {
        lease = await leaseEngine(plane, { meter, deployment: deployment.name, request, excluded, onWaiting });
      } catch (error) {
        const fallback = leaveRefusing(error, findFallback);
        if (fallback === null) throw error;
        return fallback;
      }
      const { upstream } = lease;
      const client = upstreams.get(upstream);
      const isConnected = await connect(plane, client, upstream);
      if (this.#isCut) {
        lease.release();
        throw new ClientGoneError();
      }
      if (isConnected) return this.#openLane(deployment, { lease, client, meter });
      lease.failed();
      lease.release();
      excluded.add(upstream);
      const options = { plane, deployment, meter, attemptsBefore, tried: excluded, findFallback };
      const onward = findOnward({ outcome: 'upstream_error', wasSent: false, isDeclined: false }, options);
      const error = new GatewayError('upstream_unreachable');
      meter.recordUnreached({
        outcome: 'upstream_error',
        status: error.status,
        upstream: upstream.name,
        lastAttempt: onward === null,
      });
      if (onward === null) throw error;
      if (onward !== 'replica') return onward;
    }
  }

  #openLane(
    deployment: DeploymentConfig,
    { lease, client, meter }: { readonly lease: Lease; readonly client: Client; readonly meter: RequestMeter },
  ): StreamLane {
    const { grpc, opened, deadline, listener } = this.#options;
    const { plane } = grpc;
    const { upstream } = lease;
    const { requestId, model, deployment: name } = meter;
    plane.onOverhead({ model, deployment: name }, plane.clock.monotonicMs() - meter.receivedAtMs - meter.waitedMs);
    const metadata = createUpstreamMetadata(plane, opened, { upstream, requestId });
    const lane = new StreamLane({ lease, client, metadata, deadline, listener });
    this.#byDeployment.set(deployment.name, lane);
    return lane;
  }
}
