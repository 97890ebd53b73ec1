// Builds the data plane: the services its stages share, its life from listening over draining to the end. The stages are in their own files.
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { EstimateCost } from '#accounting/estimate-cost.ts';
import type { Config, EngineName } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { Log } from '#domain/log.ts';
import type { Metering, RecordListener } from '#domain/metering.ts';
import { type Admission, openAdmission } from '#tenancy/admission.ts';
import { createTokenCounter, type TokenCounter } from '#tokenizer/count-tokens.ts';
import type { CallerBooks } from './caller-books.ts';
import { createAuthenticate } from './authenticate.ts';
import { AnswerCounter, readTokenizers } from './count-answer.ts';
import { StreamPace } from './count-stream.ts';
import type { ConfigView, DataPlane, RetryResult } from './data-plane.ts';
import { DeadlineSweep } from './deadline-sweep.ts';
import { HealthChecks } from './health-checks.ts';
import { InFlight } from './in-flight.ts';
import { InjectionMemory } from './injection-memory.ts';
import { LatestAnswers } from './latest-answers.ts';
import { createRequestIds } from './request-id.ts';
import { ModelRouter } from './route-model.ts';
import { createServer, type Readiness } from './server.ts';
import { TurnSends } from './turn-sends.ts';
import { UpstreamPool } from './upstream-pool.ts';

/**
 * New connections that the kernel keeps while the event loop is busy, as far as `net.core.somaxconn` lets it. Beyond node's 511 a burst of clients
 * would find no room and try again after one, three and seven seconds.
 */
const BACKLOG = 4096;

export type { Readiness } from './server.ts';

export interface GatewayOptions {
  readonly config: Config;
  readonly engines: Readonly<Record<EngineName, EngineTraits>>;
  readonly metering: Metering;
  readonly listeners: readonly RecordListener[];
  readonly clock: Clock;
  readonly log: Log;
  /** Told the first verdict on a pool of GPUs and every change of it. */
  readonly reportHealth: (pool: string, healthy: boolean) => void;
  /** A request was refused; team null before authentication. `reason` is an error code, or `malformed_http`. */
  readonly onRejection?: (team: string | null, reason: string) => void;
  /** An upstream is left out for a while; one found by name resolution is told by its configured name. */
  readonly onEjection?: (target: { readonly deployment: string; readonly upstream: string }) => void;
  readonly onRetry?: (deployment: string, result: RetryResult) => void;
  /** Milliseconds a request spent in the gateway before it was first sent to an engine, its upload and waits left out. */
  readonly onOverhead?: (
    target: { readonly model: string | null; readonly deployment: string | null },
    overheadMs: number,
  ) => void;
  /** What `/readyz` says while the gateway is not draining. */
  readonly readiness: () => Readiness;
  /** Default: answers carry no estimate of their cost. */
  readonly estimateCost?: EstimateCost;
  /** Default: callers cannot read their own books. */
  readonly callerBooks?: CallerBooks;
  /** Default: everything is admitted. */
  readonly admission?: Admission;
  /** Closed with the gateway. Default: made of the config's tokenizers. */
  readonly tokenCounter?: TokenCounter;
  /** Time a request body may take before it must keep a minimum pace. Default 30 000 ms. */
  readonly bodyGraceMs?: number;
}

/** One upstream as `/readyz`, metrics and reports show it; `healthy` is null before the first verdict, false while it is ejected. */
export interface UpstreamStatus {
  readonly deployment: string;
  readonly upstream: string;
  readonly pool: string;
  readonly healthy: boolean | null;
  readonly inFlight: number;
}

export interface Gateway {
  /** The services that other protocols' listeners share with HTTP: keys, deployments, admission, books, requests in flight. */
  readonly plane: DataPlane;
  /** Listens where the config says; resolves with the real port. Rejects with the system's error. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Takes over a new config for requests from now on: teams, deployments, upstreams. The listening address stays. */
  reload(config: Config): void;
  upstreamStatus(): readonly UpstreamStatus[];
  /** Requests waiting for an engine that is not full. */
  queueLengths(): readonly { readonly deployment: string; readonly waiting: number }[];
  /** Not ready from now on; new requests are still taken for `server.drainDelay`, then refused. */
  startDraining(): void;
  /** Waits until the delay is over and nothing is in flight, at most `timeoutMs`; what is left then is counted and cut. */
  drain(timeoutMs: number): Promise<{ readonly left: number }>;
  /** Ends everything at once: requests in flight are recorded as interrupted. */
  close(): Promise<void>;
}

/** Creates a gateway that does not listen yet. Health checks begin with `listen`. Throws TokenizerError for tokenizer files that cannot be used. */
export function createGateway(options: GatewayOptions): Gateway {
  return new DataPlaneGateway(options);
}

class DataPlaneGateway implements Gateway {
  readonly #plane: DataPlane;
  readonly #server: Server;
  readonly #clock: Clock;
  #drainsSinceMs: number | null = null;

  constructor(options: GatewayOptions) {
    this.#clock = options.clock;
    this.#plane = createDataPlane(options, () => this.#drainDelayLeftMs() <= 0);
    this.#server = createServer(this.#plane, () => {
      const own = options.readiness();
      return this.#drainsSinceMs === null ? own : { httpStatus: 503, body: { ...own.body, status: 'draining' } };
    });
  }

  get plane(): DataPlane {
    return this.#plane;
  }

  async listen(): Promise<{ readonly host: string; readonly port: number }> {
    const { host, port } = this.#plane.view.config.server;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ port, host, backlog: BACKLOG }, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#plane.health.synchronize();
    return { host, port: (this.#server.address() as AddressInfo).port };
  }

  reload(config: Config): void {
    const plane = this.#plane;
    plane.pool.reload(config);
    plane.view = createView(config, plane.pool, this.#clock);
    plane.answerCounter.reload(config.deployments);
    plane.health.synchronize();
  }

  upstreamStatus(): readonly UpstreamStatus[] {
    return this.#plane.pool.list().map((upstream) => ({
      deployment: upstream.deployment.name,
      upstream: upstream.config.name,
      pool: upstream.config.pool,
      healthy: this.#plane.pool.isEjected(upstream) ? false : (upstream.healthy ?? null),
      inFlight: upstream.inFlight,
    }));
  }

  queueLengths(): readonly { readonly deployment: string; readonly waiting: number }[] {
    return this.#plane.pool.queueLengths();
  }

  startDraining(): void {
    this.#drainsSinceMs ??= this.#clock.monotonicMs();
  }

  async drain(timeoutMs: number): Promise<{ readonly left: number }> {
    this.startDraining();
    const { inFlight, answers } = this.#plane;
    const waitMs = this.#drainDelayLeftMs();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const untilMs = this.#clock.monotonicMs() + timeoutMs;
    // node takes a connection for idle as soon as its answer has ended, whatever its client has not taken yet.
    await answers.whenLeft(timeoutMs);
    const stalled = answers.leaving;
    this.#server.closeIdleConnections();
    await inFlight.whenEmpty(Math.max(0, untilMs - this.#clock.monotonicMs()));
    // An attempt is over before its answer has left where that waits for its record, or for the client.
    await answers.whenFinished(untilMs - this.#clock.monotonicMs());
    const left = stalled + Math.max(inFlight.count, answers.unfinished);
    inFlight.interruptAll();
    return { left };
  }

  async close(): Promise<void> {
    const { inFlight, health, deadlines, pool, answerCounter } = this.#plane;
    inFlight.interruptAll();
    // What their clients are told of it leaves with this turn.
    await nextTurn();
    const counted = answerCounter.close();
    health.close();
    deadlines.close();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await pool.destroy();
    await Promise.all([closed, counted]);
  }

  /** Infinity while not draining, 0 or less once new requests are refused. */
  #drainDelayLeftMs(): number {
    if (this.#drainsSinceMs === null) return Number.POSITIVE_INFINITY;
    return this.#plane.view.config.server.drainDelayMs - (this.#clock.monotonicMs() - this.#drainsSinceMs);
  }
}

function createDataPlane(options: GatewayOptions, isRefusing: () => boolean): DataPlane {
  const { config, engines, metering, listeners, clock, log, reportHealth } = options;
  const deadlines = new DeadlineSweep(clock);
  const { onEjection } = options;
  const sends = new TurnSends(() => metering.commit());
  const pool = new UpstreamPool(config, {
    clock,
    deadlines,
    log,
    sends,
    ...(onEjection === undefined ? {} : { onEjection }),
  });
  return {
    view: createView(config, pool, clock),
    engines,
    metering,
    listeners,
    clock,
    log,
    pool,
    sends,
    health: new HealthChecks({ pool, engines, log, reportHealth }),
    admission: options.admission ?? openAdmission,
    answerCounter: new AnswerCounter(
      options.tokenCounter ?? createTokenCounter({ tokenizers: readTokenizers(config.deployments), log }),
    ),
    pace: new StreamPace(),
    deadlines,
    inFlight: new InFlight(),
    answers: new LatestAnswers(),
    estimateCost: options.estimateCost ?? null,
    callerBooks: options.callerBooks ?? null,
    bodyGraceMs: options.bodyGraceMs ?? 30_000,
    createRequestId: createRequestIds(() => clock.epochMs()),
    isRefusing,
    onRejection: options.onRejection ?? (() => {}),
    onRetry: options.onRetry ?? (() => {}),
    onOverhead: options.onOverhead ?? (() => {}),
  };
}

function createView(config: Config, pool: UpstreamPool, clock: Clock): ConfigView {
  return {
    config,
    injections: new InjectionMemory(clock),
    authenticate: createAuthenticate(config),
    router: new ModelRouter(config, (deployment) => pool.isServing(deployment)),
  };
}
