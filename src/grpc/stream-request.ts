// One request inside a ModelStreamInfer stream, from its message to its one record. Which reply belongs to it is stream-lane's question.
import type { Permit } from '#tenancy/admission.ts';
import type { Outcome } from '#domain/usage-record.ts';
import type { AttemptSpan, RequestMeter } from '#gateway/request-meter.ts';
import type { ReportedUsage } from '#gateway/read-usage.ts';
import type { CountingRequest } from '#gateway/triton-counts.ts';
import type { Upstream } from '#gateway/upstream-pool.ts';
import { resolveInferTokens } from './infer-work.ts';
import type { InferRequestFacts, StreamAnswerFacts } from './kserve-messages.ts';

export interface StreamRequestOptions {
  readonly meter: RequestMeter;
  readonly upstream: Upstream;
  readonly permit: Permit;
  readonly facts: InferRequestFacts;
  readonly messageBytes: number;
}

/** Open from the moment it is sent until its final reply, an error, or the end of its stream. */
export class StreamRequest {
  readonly #options: StreamRequestOptions;
  readonly #span: AttemptSpan;
  #usage: ReportedUsage | null = null;
  #replies = 0;
  #lastAtMs: number;

  /** The request is being handed to the engine now. */
  constructor(options: StreamRequestOptions) {
    this.#options = options;
    const { meter, upstream, facts, messageBytes } = options;
    this.#lastAtMs = this.#now();
    this.#span = meter.begin({
      upstream: upstream.name,
      pool: upstream.config.pool,
      prefillBy: upstream.deployment.prefillBy,
      work: upstream.deployment.work,
      prefillOnly: false,
      promptBytes: messageBytes,
      maxTokens: facts.maxTokens,
      sequences: 1,
    });
  }

  /** The id by which replies name it, `''` for none. */
  get id(): string {
    return this.#options.facts.id;
  }

  /** How its replies count. */
  get counting(): CountingRequest {
    return this.#options.facts.counting;
  }

  /** Whether the client itself gets the empty reply at the end. */
  get wantsEmptyFinal(): boolean {
    return this.#options.facts.wantsEmptyFinal;
  }

  /** Whether any reply came; a request without one was not answered. */
  get isAnswered(): boolean {
    return this.#replies > 0;
  }

  /** Whether its time is over at `nowMs` (monotonic): as a whole, or since the last reply. */
  isDue(nowMs: number, requestTimeoutMs: number): boolean {
    const { firstByteMs, idleMs } = this.#options.upstream.deployment.timeouts;
    if (nowMs > this.#options.meter.receivedAtMs + requestTimeoutMs) return true;
    return nowMs > this.#lastAtMs + (this.#replies === 0 ? firstByteMs : idleMs);
  }

  /** A reply came: counts of output tokens are per reply, those of the input repeated in each (upstreams.md §2.3). */
  observe(reply: StreamAnswerFacts): void {
    const { usage, isEmpty } = reply;
    this.#lastAtMs = this.#now();
    if (usage !== null) {
      const before = this.#usage?.completion ?? null;
      const completion = usage.completion === null ? before : (before ?? 0) + usage.completion;
      this.#usage = { prompt: usage.prompt ?? this.#usage?.prompt ?? null, cached: null, completion, reasoning: null };
    }
    const steps = isEmpty ? 0 : Math.max(1, usage?.completion ?? 1);
    if (!isEmpty) this.#replies += 1;
    this.#span.observe(this.#lastAtMs, steps);
  }

  /** Writes the one record; later calls do nothing. Where a promise comes back, its final reply waits for it. */
  finish(outcome: Outcome, status: number): Promise<void> | undefined {
    const { facts, upstream, permit } = this.#options;
    if (this.#span.isFinished) return undefined;
    const tokens = resolveInferTokens({
      usage: this.#usage,
      promptTextBytes: facts.promptTextBytes,
      isStream: true,
      work: upstream.deployment.work,
      engineStatus: this.#replies > 0 ? 200 : outcome === 'upstream_error' ? status : null,
      replies: this.#replies,
    });
    permit.release();
    return this.#span.finish({ outcome, status, lastAttempt: true, ...tokens });
  }

  #now(): number {
    return this.#options.meter.services.clock.monotonicMs();
  }
}
