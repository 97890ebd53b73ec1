// The life of one request as its records tell it: who asked, what for, and one record for each way it can end.
import type { IncomingMessage } from 'node:http';
import type { Caller } from '#domain/caller.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { AttemptMeter, AttemptStart, Metering, PrefillPlace, RecordListener } from '#domain/metering.ts';
import type { PromptPrint } from '#domain/prompt-print.ts';
import { type TokenCounts, type TokenSource, UNKNOWN_TOKENS } from '#domain/tokens.ts';
import type { Outcome, UsageRecord } from '#domain/usage-record.ts';
import { keepText } from './kept-text.ts';

/** Where finished records go. */
export interface MeterServices {
  readonly metering: Metering;
  readonly listeners: readonly RecordListener[];
  readonly clock: Clock;
  readonly log: Log;
}

/** How one attempt ended. */
export interface AttemptEnding {
  readonly outcome: Outcome;
  /** Status sent to the client, 499 if it left before headers. */
  readonly status: number;
  readonly tokens: TokenCounts;
  readonly tokenSource: TokenSource;
  /** See AttemptEnd. */
  readonly sequences?: number | undefined;
  /** False where the request is tried again elsewhere. */
  readonly lastAttempt: boolean;
  /** Monotonic ms at which the engine's part ended, where the record is written later than that. Default: now. */
  readonly engineEndedAtMs?: number;
}

/** What an attempt is sent to. */
export interface AttemptTarget {
  readonly upstream: string;
  readonly pool: string;
  /** Where its deployment has prompts computed, if elsewhere. */
  readonly prefillBy?: PrefillPlace | undefined;
  readonly work: 'tokens' | 'duration';
  readonly prefillOnly: boolean;
  /** Absent: nobody took it. */
  readonly promptPrint?: PromptPrint | null;
  readonly promptBytes: number;
  readonly maxTokens: number | null;
  readonly sequences: number;
  /** Absent: 1. */
  readonly promptCount?: number;
  /** See AttemptStart; absent: false. */
  readonly leavesByTurn?: boolean;
}

type RecordIdentity = AttemptStart['identity'];

/** One request after authentication. The public fields are filled in by the stages as they learn them. */
export class RequestMeter {
  readonly requestId: string;
  readonly clientRequestId: string | null;
  readonly caller: Caller;
  /** Route template; a pass-through path is told by the glob that let it through. */
  route: string;
  /** Monotonic ms at which the request was received. */
  readonly receivedAtMs: number;
  /** Milliseconds in which the client's body or a free engine was waited for: not the gateway's time. */
  waitedMs = 0;
  tags: Readonly<Record<string, string>> = {};
  user: string | null = null;
  /** As sent; records keep its beginning. */
  requestedModel: string | null = null;
  model: string | null = null;
  deployment: string | null = null;
  stream = false;
  /** Name of the engine that the last attempt was for; null where there was none. */
  upstream: string | null = null;
  readonly services: MeterServices;
  readonly #clientRetry: number;
  readonly #startedAtMs: number;
  #attempts = 0;
  #closed = false;

  constructor(
    services: MeterServices,
    request: {
      readonly requestId: string;
      readonly clientRequestId: string | null;
      readonly caller: Caller;
      readonly route: string;
      readonly receivedAtMs: number;
      readonly clientRetry: number;
    },
  ) {
    this.services = services;
    this.requestId = request.requestId;
    this.clientRequestId = request.clientRequestId;
    this.caller = request.caller;
    this.route = request.route;
    this.receivedAtMs = request.receivedAtMs;
    this.#clientRetry = request.clientRetry;
    this.#startedAtMs = services.clock.toEpochMs(request.receivedAtMs);
  }

  /** Attempts begun so far. */
  get attempts(): number {
    return this.#attempts;
  }

  /** The request ends without (another) attempt at an engine: one record, unless the last attempt already was the end. */
  endUnsent(ending: { readonly outcome: Outcome; readonly status: number }): void {
    if (this.#closed) return;
    this.recordUnreached({ ...ending, upstream: null, lastAttempt: true });
  }

  /** An attempt whose connection never came about: a record that names the upstream, but no GPU time. */
  recordUnreached(ending: {
    readonly outcome: Outcome;
    readonly status: number;
    readonly upstream: string | null;
    readonly lastAttempt: boolean;
  }): void {
    this.#attempts += 1;
    this.upstream = ending.upstream;
    this.#closed = ending.lastAttempt;
    const atMs = this.services.clock.monotonicMs();
    const record: UsageRecord = {
      ...this.#identify({ upstream: ending.upstream, pool: null }),
      endedAtMs: this.services.clock.toEpochMs(atMs),
      timeToFirstTokenMs: null,
      durationMs: atMs - this.receivedAtMs,
      outcome: ending.outcome,
      status: ending.status,
      tokens: UNKNOWN_TOKENS,
      tokenSource: 'unknown',
      lastAttempt: ending.lastAttempt,
      profileSource: null,
    };
    this.services.metering.recordUnsent(record);
    this.tell(record);
  }

  /** The request is being handed to an engine's socket now. */
  begin(target: AttemptTarget): AttemptSpan {
    this.#attempts += 1;
    this.upstream = target.upstream;
    const identity = this.#identify(target);
    const meter = this.services.metering.begin({
      recordId: identity.recordId,
      identity,
      pool: target.pool,
      deployment: identity.deployment ?? '',
      ...(target.prefillBy === undefined ? {} : { prefillBy: target.prefillBy }),
      work: target.work,
      prefillOnly: target.prefillOnly,
      promptPrint: target.promptPrint ?? null,
      promptBytes: target.promptBytes,
      maxTokens: target.maxTokens,
      sequences: target.sequences,
      promptCount: target.promptCount ?? 1,
      atMs: this.services.clock.monotonicMs(),
      leavesByTurn: target.leavesByTurn === true,
    });
    return new AttemptSpan(this, { identity, meter });
  }

  /** No record may follow: the last attempt has ended. */
  close(): void {
    this.#closed = true;
  }

  tell(record: UsageRecord): void {
    for (const listener of this.services.listeners) listener.recordFinished(record);
  }

  #identify(target: { readonly upstream: string | null; readonly pool: string | null }): RecordIdentity {
    return {
      recordId: `${this.requestId}.${this.#attempts}`,
      requestId: this.requestId,
      clientRequestId: this.clientRequestId,
      attempt: this.#attempts,
      team: this.caller.team,
      project: this.caller.project,
      keyId: this.caller.keyId,
      user: this.user,
      tags: this.tags,
      requestedModel: this.requestedModel === null ? null : keepText(this.requestedModel),
      model: this.model,
      deployment: this.deployment,
      upstream: target.upstream,
      pool: target.pool,
      route: this.route,
      stream: this.stream,
      startedAtMs: this.#startedAtMs,
      clientRetry: this.#clientRetry,
    };
  }
}

/** One attempt at an engine, from its socket to exactly one record. */
export class AttemptSpan {
  readonly #request: RequestMeter;
  readonly #identity: RecordIdentity;
  readonly #meter: AttemptMeter;
  #firstContentAtMs: number | null = null;
  #isFinished = false;

  constructor(request: RequestMeter, options: { readonly identity: RecordIdentity; readonly meter: AttemptMeter }) {
    this.#request = request;
    this.#identity = options.identity;
    this.#meter = options.meter;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** Bytes came from the engine; `steps` content-bearing events ended in them. */
  observe(atMs: number, steps: number): void {
    if (this.#isFinished) return;
    this.#meter.upstreamBytes(atMs);
    if (steps === 0) return;
    this.#firstContentAtMs ??= atMs;
    this.#meter.content(atMs, steps);
  }

  /**
   * Writes the one record of the attempt; later calls do nothing. Where a promise comes back, the answer's last bytes wait for it
   * (`fsync: strict`); it never rejects, because metering must not fail a request.
   */
  finish(ending: AttemptEnding): Promise<void> | undefined {
    if (this.#isFinished) return undefined;
    this.#isFinished = true;
    if (ending.lastAttempt) this.#request.close();
    const { clock, log } = this.#request.services;
    const atMs = clock.monotonicMs();
    const record: UsageRecord = {
      ...this.#identity,
      endedAtMs: clock.toEpochMs(atMs),
      timeToFirstTokenMs: this.#firstContentAtMs === null ? null : this.#firstContentAtMs - this.#request.receivedAtMs,
      durationMs: atMs - this.#request.receivedAtMs,
      outcome: ending.outcome,
      status: ending.status,
      tokens: ending.tokens,
      tokenSource: ending.tokenSource,
      lastAttempt: ending.lastAttempt,
      profileSource: this.#meter.profileSource,
    };
    const written = this.#meter.finish({
      record,
      tokens: ending.tokens,
      tokenSource: ending.tokenSource,
      sequences: ending.sequences,
      atMs: ending.engineEndedAtMs ?? atMs,
    });
    this.#request.tell(record);
    if (!(written instanceof Promise)) return undefined;
    return written.catch((error: unknown) => {
      log.error({ err: error, recordId: record.recordId }, 'a usage record could not be made durable');
    });
  }
}

/** `x-stainless-retry-count` of the client's SDK: a whole number, 0 without it. */
export function readClientRetry(req: IncomingMessage): number {
  const header = req.headers['x-stainless-retry-count'];
  return typeof header === 'string' && /^\d{1,3}$/.test(header) ? Number(header) : 0;
}
