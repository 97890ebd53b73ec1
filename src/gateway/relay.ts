// Sends one admitted request to an engine of its deployment, and to another one while nothing of an answer has reached the client.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import type { DataPlane } from './data-plane.ts';
import type { MeteredRoute } from './metered-routes.ts';
import type { ParsedRequest } from './parse-request.ts';
import { createRequestHeaders } from './request-headers.ts';
import type { RequestMeter } from './request-meter.ts';
import { type ExchangeResult, UpstreamExchange } from './upstream-exchange.ts';
import type { Upstream } from './upstream-pool.ts';

/** Attempts at most, the first included; of those that an engine had received, fewer: the request may be what kills it. */
const MAX_ATTEMPTS = 3;
const MAX_SENT = 2;

export interface RelayOptions {
  readonly plane: DataPlane;
  readonly meter: RequestMeter;
  readonly route: MeteredRoute;
  readonly request: ParsedRequest;
  readonly deployment: DeploymentConfig;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** As the engine shall get it. */
  readonly body: Buffer;
  readonly answerHeaders: Readonly<Record<string, string>>;
  readonly removesUsage: boolean;
}

/** One request on its way: the attempt in progress is what a hang-up or the gateway's end cuts. */
export class Relay {
  readonly #options: RelayOptions;
  #exchange: UpstreamExchange | undefined;
  #isGone = false;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** The client hung up. */
  clientGone(): void {
    this.#isGone = true;
    this.#exchange?.clientGone();
  }

  interrupt(): void {
    this.#exchange?.interrupt();
  }

  /**
   * Resolves when the client has its answer or is gone, with every attempt recorded. Throws the GatewayError to tell the client
   * where no engine's answer began: `no_healthy_upstream`, `upstream_unreachable`, `upstream_timeout`.
   */
  async run(): Promise<void> {
    const { plane, deployment, meter } = this.#options;
    const tried = new Set<Upstream>();
    let upstream = plane.pool.choose(deployment.name, tried);
    if (upstream === undefined) throw new GatewayError('no_healthy_upstream');
    while (upstream !== undefined) {
      tried.add(upstream);
      const result = await this.#attempt(upstream);
      if (result.kind === 'answered') return;
      if (!result.wasSent && result.outcome === 'upstream_error') plane.health.connectionFailed(upstream);
      const next = this.#mayRetry(result) ? plane.pool.choose(deployment.name, tried) : undefined;
      const status = result.outcome === 'client_aborted' ? 499 : result.error.status;
      await this.#exchange?.settleFailure({ outcome: result.outcome, status, lastAttempt: next === undefined });
      if (next === undefined) {
        if (result.outcome === 'client_aborted') return;
        plane.log.warn(
          {
            requestId: meter.requestId,
            upstream: upstream.config.name,
            code: result.error.code,
            reason: readReason(result),
          },
          'no engine answered a request',
        );
        throw result.error;
      }
      upstream = next;
    }
  }

  async #attempt(upstream: Upstream): Promise<ExchangeResult> {
    const { plane, meter, route, request, res, req, body, answerHeaders, removesUsage } = this.#options;
    const { config } = plane.view;
    const { deployment } = upstream;
    const exchange = new UpstreamExchange({
      meter,
      route,
      request,
      upstream,
      res,
      body,
      headers: createRequestHeaders(req.headers, {
        requestId: meter.requestId,
        upstream: upstream.config,
        teamHeader: config.tenancy.header.name,
      }),
      answerHeaders: config.server.exposeUpstream
        ? { ...answerHeaders, 'x-inferometer-upstream': upstream.config.name }
        : answerHeaders,
      removesUsage,
      endsWithDone: route.takesStreamOptions && plane.engines[deployment.engine]?.endsWithDone === true,
      deadlines: plane.deadlines,
      mustEndByMs: meter.receivedAtMs + config.server.requestTimeoutMs,
    });
    this.#exchange = exchange;
    if (meter.attempts === 0) {
      const { model, deployment: name } = meter;
      plane.onOverhead({ model, deployment: name }, plane.clock.monotonicMs() - meter.receivedAtMs - meter.uploadMs);
    }
    const vacate = upstream.occupy();
    const result = exchange.run();
    if (this.#isGone) exchange.clientGone();
    try {
      return await result;
    } finally {
      vacate();
    }
  }

  /** A connection that never came about may be tried anywhere else, a request that was lost with its connection once more. */
  #mayRetry(result: ExchangeResult & { readonly kind: 'failed' }): boolean {
    const { meter, res } = this.#options;
    if (result.outcome !== 'upstream_error' || res.headersSent || this.#isGone) return false;
    return result.wasSent ? meter.attempts < MAX_SENT : meter.attempts + 1 < MAX_ATTEMPTS;
  }
}

/** The transport's error code, for the log: it holds no content. */
function readReason(result: ExchangeResult & { readonly kind: 'failed' }): string | undefined {
  const { cause } = result.error;
  if (!(cause instanceof Error)) return undefined;
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
