// Sends one admitted request to an engine of its deployment, and to another one while nothing of an answer has reached the client. Where no
// engine of the deployment answers, it says which deployment comes next; going there is relay-by-rank's.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DeploymentConfig } from '#config/config.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { DataPlane } from './data-plane.ts';
import type { MeteredRoute } from './metered-routes.ts';
import type { ParsedRequest } from './parse-request.ts';
import { type FailedAttempt, findOnward, leaveRefusing, type Onward } from './find-onward.ts';
import { acquireLease } from './acquire-lease.ts';
import { createEstimate } from './estimate-answer.ts';
import { estimateWork } from './estimate-work.ts';
import { cutUnsent } from './openai-error.ts';
import { createRequestHeaders } from './request-headers.ts';
import type { RequestMeter } from './request-meter.ts';
import type { SentBodies } from './sent-body.ts';
import type { ExchangeResult } from './exchange-options.ts';
import { UpstreamExchange } from './upstream-exchange.ts';
import type { Lease, Upstream } from './upstream.ts';
import type { Urgency } from './waiting-line.ts';

/** Statuses by which an engine says that it did not take the request on: another one may. 529 is Dynamo's (upstreams.md §5.5). */
const DECLINES: ReadonlySet<number> = new Set([502, 503, 529]);
/** Endings without an answer that speak against the engine. */
const ENGINE_FAULTS: ReadonlySet<string> = new Set(['upstream_error', 'timed_out']);

/** Protocols whose streams end with an event of their own on every engine. */
const SAYS_ITS_END: ReadonlySet<string> = new Set(['response', 'message']);

export interface RelayOptions {
  readonly plane: DataPlane;
  readonly meter: RequestMeter;
  readonly route: MeteredRoute;
  readonly request: ParsedRequest;
  readonly deployment: DeploymentConfig;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** As an engine shall get it, and as one gets it that refuses what the gateway adds. */
  readonly bodies: Pick<SentBodies, 'asking' | 'plain'>;
  readonly answerHeaders: Readonly<Record<string, string>>;
  /** Hash of the prompt's beginning, where the deployment wants equal ones on one engine. */
  readonly prefix?: number | null;
  /** Another deployment that may serve the request; default: there is none. */
  readonly findFallback?: () => DeploymentConfig | null;
}

type Failure = ExchangeResult & { readonly kind: 'failed' };
type Refusal = ExchangeResult & { readonly kind: 'refused' };

/** One request on its way: the attempt in progress is what a hang-up or the gateway's end cuts. */
export class Relay {
  readonly #options: RelayOptions;
  #exchange: UpstreamExchange | undefined;
  #isWaiting = false;
  #isGone = false;
  /** Decided when the answer of an engine was not accepted. */
  #onward: Onward | null = null;
  /** Attempts at other deployments. */
  readonly #attemptsBefore: number;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#attemptsBefore = options.meter.attempts;
  }

  /** The client hung up. */
  clientGone(): void {
    this.#isGone = true;
    this.#exchange?.clientGone();
  }

  interrupt(): void {
    if (!this.#isWaiting) {
      this.#exchange?.interrupt();
      return;
    }
    const { meter, res, route, answerHeaders } = this.#options;
    meter.endUnsent({ outcome: 'interrupted', status: 503 });
    cutUnsent(res, { protocol: route.protocol, headers: answerHeaders });
  }

  /**
   * Resolves with null when the client has its answer or is gone, with every attempt recorded, or with the deployment that the request must
   * go on to. Throws the GatewayError to tell the client where no engine's answer began: `no_healthy_upstream`, `overloaded`,
   * `upstream_unreachable`, `upstream_timeout`; ClientGoneError where the client left while it waited for an engine.
   */
  async run(): Promise<DeploymentConfig | null> {
    const { plane, deployment, meter } = this.#options;
    const tried = new Set<Upstream>();
    for (;;) {
      const isRetry = meter.attempts > 0;
      let lease: Lease;
      try {
        const acquired = this.#acquire(isRetry ? 'retry' : 'first', tried);
        lease = acquired instanceof Promise ? await this.#wait(acquired) : acquired;
      } catch (error) {
        const fallback = leaveRefusing(error, () => this.#findFallback());
        if (fallback === null) throw error;
        return fallback;
      }
      tried.add(lease.upstream);
      this.#onward = null;
      let result: ExchangeResult;
      try {
        this.#noteOverhead();
        result = await this.#send(lease, tried);
        // Validation costs an engine no GPU time: the second sending belongs to the same attempt.
        if (result.kind === 'refused') result = await this.#send(lease, tried, result);
        if (result.kind === 'refused') throw new Error('an engine refused a body to which nothing was added');
        if (result.kind === 'failed' && result.declinedStatus === null && ENGINE_FAULTS.has(result.outcome))
          lease.failed();
      } finally {
        lease.release();
      }
      if (isRetry) plane.onRetry(deployment.name, result.kind);
      if (result.kind === 'answered') return null;
      const onward = await this.#settle(result, lease.upstream, tried);
      if (onward !== 'replica') return onward;
    }
  }

  /** Records an attempt of which nothing reached the client, and says where the request goes on: null where its client is gone. */
  async #settle(result: Failure, upstream: Upstream, tried: ReadonlySet<Upstream>): Promise<Onward | null> {
    if (result.declinedStatus === null) this.#onward = this.#findOnward(tried, { ...result, isDeclined: false });
    const onward = this.#onward;
    const status = result.outcome === 'client_aborted' ? 499 : (result.declinedStatus ?? result.error.status);
    await this.#exchange?.settleFailure({ outcome: result.outcome, status, lastAttempt: onward === null });
    if (onward !== null || result.outcome === 'client_aborted') return onward;
    this.#logFailure(upstream, result);
    throw result.error;
  }

  #acquire(urgency: Urgency, tried: ReadonlySet<Upstream>): Lease | Promise<Lease> {
    const { plane, meter, res, deployment, route, request, prefix, bodies } = this.#options;
    const { promptTextBytes: promptBytes, maxTokens, sequences } = request;
    const work = estimateWork({ promptBytes, maxTokens, sequences, prefillOnly: route.prefillOnly });
    return acquireLease({
      plane,
      meter,
      res,
      deployment: deployment.name,
      wish: { urgency, work, prefix: prefix ?? null, excluded: tried, bytes: bodies.asking.bytes.length },
    });
  }

  /** While it waits, there is no attempt to be interrupted. */
  async #wait(lease: Promise<Lease>): Promise<Lease> {
    this.#isWaiting = true;
    try {
      return await lease;
    } finally {
      this.#isWaiting = false;
    }
  }

  #noteOverhead(): void {
    const { plane, meter } = this.#options;
    if (meter.attempts > 0) return;
    const { model, deployment } = meter;
    plane.onOverhead({ model, deployment }, plane.clock.monotonicMs() - meter.receivedAtMs - meter.waitedMs);
  }

  /** Sends the request once; `refused` is what became of it with the gateway's own fields. */
  #send(lease: Lease, tried: ReadonlySet<Upstream>, refused?: Refusal): Promise<ExchangeResult> {
    const { upstream } = lease;
    const { plane, meter, route, request, res, req, bodies, answerHeaders } = this.#options;
    const { config, injections } = plane.view;
    const isPlain = refused !== undefined || injections.refuses(upstream, route.path);
    const body = isPlain ? bodies.plain : bodies.asking;
    const { deployment } = upstream;
    const exchange = new UpstreamExchange({
      meter,
      route,
      request,
      upstream,
      res,
      body: body.bytes,
      headers: createRequestHeaders(req.headers, {
        requestId: meter.requestId,
        upstream: upstream.config,
        teamHeader: config.tenancy.header.name,
      }),
      answerHeaders: config.server.exposeUpstream
        ? { ...answerHeaders, 'x-inferometer-upstream': upstream.config.name }
        : answerHeaders,
      removal: body.removal,
      span: refused?.span,
      candidates: candidatesOf(request, plane.engines[deployment.engine]),
      endsWithDone:
        SAYS_ITS_END.has(route.shape) ||
        (route.takesStreamOptions && plane.engines[deployment.engine]?.endsWithDone === true),
      counting: plane.answerCounter.open({ deployment, route, body: body.bytes, stream: request.stream }),
      pace: plane.pace,
      deadlines: plane.deadlines,
      mustEndByMs: meter.receivedAtMs + config.server.requestTimeoutMs,
      accepts: (status) => {
        lease.answered(status);
        if (body.injects && status < 300) injections.noteTaken(upstream, route.path);
        if (refused !== undefined && status !== refused.status && status < 500)
          injections.noteRefused(upstream, route.path);
        if (!DECLINES.has(status)) return true;
        this.#onward = this.#findOnward(tried, { outcome: 'upstream_error', wasSent: true, isDeclined: true });
        return this.#onward === null;
      },
      asksAgain: body.injects
        ? (status, text) =>
            injections.isRefusal(status) && (text === null || injections.isWorthAsking(upstream, route.path, text))
        : null,
      estimateCost: createEstimate(plane, { work: route.work, upstream, sequences: request.sequences }),
    });
    this.#exchange = exchange;
    const running = exchange.run();
    if (this.#isGone) exchange.clientGone();
    return running;
  }

  /** Nowhere once something has reached the client, or it has left. */
  #findOnward(tried: ReadonlySet<Upstream>, failure: FailedAttempt): Onward | null {
    const { plane, meter, res, deployment } = this.#options;
    if (res.headersSent || this.#isGone) return null;
    const attemptsBefore = this.#attemptsBefore;
    const findFallback = (): DeploymentConfig | null => this.#findFallback();
    return findOnward(failure, { plane, deployment, meter, attemptsBefore, tried, findFallback });
  }

  #findFallback(): DeploymentConfig | null {
    return this.#options.findFallback?.() ?? null;
  }

  #logFailure(upstream: Upstream, result: Failure): void {
    const { plane, meter } = this.#options;
    // Changes of an upstream's state are told as such, each request's end by its record.
    plane.log.debug(
      { requestId: meter.requestId, upstream: upstream.name, code: result.error.code, reason: readReason(result) },
      'no engine answered a request',
    );
  }
}

/** Sequences for each answer that is returned, where the engine runs more than it returns. */
function candidatesOf({ sequences, choices = sequences }: ParsedRequest, traits: EngineTraits | undefined): number {
  return traits?.runsBestOf === true ? sequences / choices : 1;
}

/** The transport's error code, for the log: it holds no content. */
function readReason(result: Failure): string | undefined {
  const { cause } = result.error;
  if (!(cause instanceof Error)) return undefined;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
