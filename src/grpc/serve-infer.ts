// ModelInfer: identify, route, admit, send to an engine and to another one while nothing of an answer has begun, one record per attempt.
import { type handleUnaryCall, status as Status } from '@grpc/grpc-js';
import type { DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import { admit } from '#gateway/admit.ts';
import { findOnward, leaveRefusing } from '#gateway/find-onward.ts';
import { nameDeployment } from '#gateway/name-deployment.ts';
import { ClientGoneError } from '#gateway/read-body.ts';
import { readNamedDeployment } from '#gateway/read-model.ts';
import type { Turn } from '#gateway/replica-set.ts';
import type { RequestMeter } from '#gateway/request-meter.ts';
import { UNSEATED } from '#gateway/seats.ts';
import type { Lease, Upstream } from '#gateway/upstream.ts';
import { toHttpStatus } from './grpc-status.ts';
import { toParsedRequest } from './infer-work.ts';
import { type InferRequestFacts, readInferRequest, renameModel } from './kserve-messages.ts';
import { leaveLine, leaseEngine } from './lease-engine.ts';
import {
  createAnswerMetadata,
  createIds,
  createMeter,
  createUpstreamMetadata,
  type GrpcPlane,
  type OpenCall,
  openCall,
  refuseCall,
  toGatewayError,
} from './open-call.ts';
import { UnaryExchange, type UnaryResult } from './unary-exchange.ts';

export const INFER_PATH = '/inference.GRPCInferenceService/ModelInfer';

type Call = Parameters<handleUnaryCall<Buffer, Buffer>>[0];
type Respond = Parameters<handleUnaryCall<Buffer, Buffer>>[1];

/** Creates the handler of ModelInfer. */
export function createInferHandler(grpc: GrpcPlane): handleUnaryCall<Buffer, Buffer> {
  return (call, respond) => void serveInfer(grpc, call, respond);
}

async function serveInfer(grpc: GrpcPlane, call: Call, respond: Respond): Promise<void> {
  const { plane } = grpc;
  const receivedAtMs = plane.clock.monotonicMs();
  let meter: RequestMeter | undefined;
  let relay: UnaryRelay | undefined;
  const cuttable = { seat: UNSEATED, interrupt: () => relay?.interrupt() };
  try {
    const opened = openCall(plane, call, (identified) => {
      meter = createMeter(plane, identified, { route: INFER_PATH, receivedAtMs });
    });
    if (meter === undefined) return;
    meter.tags = opened.tags;
    relay = new UnaryRelay(grpc, { call, opened, meter });
    plane.inFlight.add(cuttable);
    await relay.run(respond);
  } catch (error) {
    if (error instanceof ClientGoneError || call.cancelled) {
      meter?.endUnsent({ outcome: 'client_aborted', status: 499 });
      return;
    }
    const known = toGatewayError(plane, error, meter?.requestId ?? null);
    meter?.endUnsent({ outcome: 'rejected', status: known.status });
    respond(
      refuseCall(plane, known, { team: meter?.caller.team ?? null, ids: meter === undefined ? {} : createIds(meter) }),
    );
  } finally {
    plane.inFlight.delete(cuttable);
  }
}

interface RelayOptions {
  readonly call: Call;
  readonly opened: OpenCall;
  readonly meter: RequestMeter;
}

/** The last attempt at a deployment. */
interface Tried {
  readonly result: UnaryResult;
  readonly upstream: Upstream;
}

/** One call on its way to its engines. */
class UnaryRelay {
  readonly #grpc: GrpcPlane;
  readonly #options: RelayOptions;
  #exchange: UnaryExchange | undefined;
  #turn: Turn | undefined;
  #isGone = false;

  constructor(grpc: GrpcPlane, options: RelayOptions) {
    this.#grpc = grpc;
    this.#options = options;
    options.call.on('cancelled', () => this.#clientGone());
  }

  /** The gateway is closing and cannot wait. */
  interrupt(): void {
    this.#turn?.leave(new GatewayError('draining'));
    this.#exchange?.cut('interrupted', Status.UNAVAILABLE, 'This gateway is shutting down.');
  }

  /** Answers the call; throws the GatewayError to tell the client where no engine was sent to. */
  async run(respond: Respond): Promise<void> {
    const { plane, findView } = this.#grpc;
    const { call, opened, meter } = this.#options;
    const facts = readInferRequest(call.request);
    meter.requestedModel = facts.modelName === '' ? null : facts.modelName;
    const { router } = findView();
    const wish = {
      caller: meter.caller,
      model: meter.requestedModel,
      deployment: readNamedDeployment(opened.headers),
    };
    let deployment = router.route(wish);
    nameDeployment(meter, deployment);
    const request = toParsedRequest(facts, false);
    const permit = await admit(plane.admission, meter, { deployment, request, promptBytes: call.request.length });
    const left = new Set<DeploymentConfig>();
    const findFallback = (): DeploymentConfig | null => router.routeElsewhere(wish, left);
    try {
      let tried: Tried | DeploymentConfig;
      for (;;) {
        left.add(deployment);
        tried = await this.#tryEngines(deployment, facts, findFallback);
        if ('result' in tried) break;
        deployment = tried;
        nameDeployment(meter, deployment);
      }
      const { result, upstream } = tried;
      if (result.outcome === 'client_aborted') return;
      const own = this.#describe(deployment, upstream, permit.headers);
      const trailers = createAnswerMetadata(result.trailers, result.answer === null ? own : {});
      if (result.answer === null) {
        respond(
          Object.assign(new Error(result.details), { code: result.code, details: result.details, metadata: trailers }),
        );
        return;
      }
      if (result.initial !== null) call.sendMetadata(createAnswerMetadata(result.initial, own));
      respond(null, result.answer, trailers);
    } finally {
      permit.release();
    }
  }

  /** How the deployment's engines answered, or the deployment to go on to. */
  async #tryEngines(
    deployment: DeploymentConfig,
    facts: InferRequestFacts,
    findFallback: () => DeploymentConfig | null,
  ): Promise<Tried | DeploymentConfig> {
    const { plane } = this.#grpc;
    const { meter } = this.#options;
    const message = this.#renderMessage(deployment, facts);
    const tried = new Set<Upstream>();
    const attemptsBefore = meter.attempts;
    for (;;) {
      const isRetry = meter.attempts > 0;
      let lease: Lease;
      try {
        lease = await leaseEngine(plane, {
          meter,
          deployment: deployment.name,
          request: toParsedRequest(facts, false),
          excluded: tried,
          onWaiting: (turn) => (this.#turn = turn),
        });
      } catch (error) {
        const fallback = leaveRefusing(error, findFallback);
        if (fallback === null) throw error;
        return fallback;
      }
      tried.add(lease.upstream);
      const { result, settle } = await this.#attempt(lease, { message, facts });
      if (isRetry) plane.onRetry(deployment.name, result.code === Status.OK ? 'answered' : 'failed');
      const { code, initial } = result;
      // UNAVAILABLE is what an engine says that declines, and what grpc-js says of a lost connection: taken for the latter.
      const isOpen = code === Status.UNAVAILABLE && initial === null && !this.#isGone;
      const failure = { ...result, isDeclined: false };
      const options = { plane, deployment, meter, attemptsBefore, tried, findFallback };
      const onward = isOpen ? findOnward(failure, options) : null;
      await settle(onward === null);
      if (onward === null) return { result, upstream: lease.upstream };
      if (onward !== 'replica') return onward;
    }
  }

  async #attempt(lease: Lease, sent: { readonly message: Buffer; readonly facts: InferRequestFacts }) {
    const { plane, upstreams } = this.#grpc;
    const { call, opened, meter } = this.#options;
    const { upstream } = lease;
    const { deployment } = upstream;
    if (meter.attempts === 0) {
      const { model, deployment: name } = meter;
      plane.onOverhead({ model, deployment: name }, plane.clock.monotonicMs() - meter.receivedAtMs - meter.waitedMs);
    }
    const exchange = new UnaryExchange({
      plane,
      meter,
      client: upstreams.get(upstream),
      upstream,
      path: INFER_PATH,
      ...sent,
      // Tensors of unknown meaning are measured by time.
      work: sent.facts.countsTokens ? deployment.work : 'duration',
      metadata: createUpstreamMetadata(plane, opened, { upstream, requestId: meter.requestId }),
      deadline: call.getDeadline(),
      mustEndByMs: meter.receivedAtMs + plane.view.config.server.requestTimeoutMs,
    });
    this.#exchange = exchange;
    const running = exchange.run();
    if (this.#isGone || call.cancelled) this.#clientGone();
    try {
      const result = await running;
      judge(lease, result);
      const status = toHttpStatus(result.code);
      return { result, settle: (lastAttempt: boolean) => exchange.settle(result, { status, lastAttempt }) };
    } finally {
      lease.release();
    }
  }

  /** The message under the name that the engine knows; byte for byte the client's where that is the same. */
  #renderMessage(deployment: DeploymentConfig, facts: InferRequestFacts): Buffer {
    const { request } = this.#options.call;
    return facts.modelName === deployment.servedModel ? request : renameModel(request, deployment.servedModel);
  }

  #describe(
    deployment: DeploymentConfig,
    upstream: Upstream,
    permitHeaders: Readonly<Record<string, string>>,
  ): Record<string, string> {
    const exposes = this.#grpc.plane.view.config.server.exposeUpstream;
    return {
      ...permitHeaders,
      ...createIds(this.#options.meter),
      'x-inferometer-deployment': deployment.name,
      ...(exposes ? { 'x-inferometer-upstream': upstream.name } : {}),
    };
  }

  /** A hang-up, or the client's deadline: grpc-js tells both in the same way. */
  #clientGone(): void {
    this.#isGone = true;
    leaveLine(this.#turn);
    this.#exchange?.cut('client_aborted', Status.CANCELLED, 'the client left');
  }
}

/** What the result says of the engine. */
function judge(lease: Lease, { outcome, code, wasSent }: UnaryResult): void {
  if (outcome === 'client_aborted' || outcome === 'interrupted') return;
  if (!wasSent || code === Status.UNAVAILABLE || outcome === 'timed_out') lease.failed();
  else lease.answered(toHttpStatus(code));
}
