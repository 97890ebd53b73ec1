// Lives here: trtllm-serve's `/perf_metrics`: per answered sequence, the steps it took part in and when (upstreams.md §1.9), drained by reading.
// Not here: iteration rows (iteration-log.ts), the truth per request (truth-book.ts).
import type { Iteration } from './engine-core.ts';
import type { Sequence } from './engine-sequence.ts';
import { blockTokens } from './pseudo-text.ts';

/** What the steady clock of the engine says at its first iteration, seconds: no epoch. */
const STEADY_START_S = 5021;

interface Step {
  readonly number: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly durationMs: number;
}

interface Taken {
  readonly chunks: Step[];
  readonly steps: Step[];
}

/** The newest `capacity` entries (`perf_metrics_max_requests`); 0, the engine's own default, is off: an empty list whatever happens. */
export class RequestTimingLog {
  readonly #capacity: number;
  readonly #taken = new WeakMap<Sequence, Taken>();
  #originMs: number | null = null;
  #entries: Record<string, unknown>[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Adds an iteration that just ended, before its tokens are handed out. */
  append({ number, startMs, endMs, durationMs, members }: Iteration): void {
    if (this.#capacity === 0) return;
    this.#originMs ??= startMs;
    const step = { number, startMs, endMs, durationMs };
    for (const { sequence } of members) {
      let taken = this.#taken.get(sequence);
      if (taken === undefined) this.#taken.set(sequence, (taken = { chunks: [], steps: [] }));
      // What a preempted sequence computes again comes after its first token, and is a step as any other.
      (sequence.generated === 0 ? taken.chunks : taken.steps).push(step);
    }
  }

  /** Writes the entry of a sequence whose answer was sent; sequences that are aborted get none. */
  finish(sequence: Sequence, requestId: number): void {
    const taken = this.#taken.get(sequence);
    if (taken === undefined) return;
    this.#taken.delete(sequence);
    const { chunks, steps } = taken;
    // One that was prefilled elsewhere has steps alone.
    const first = chunks[0] ?? steps[0];
    const firstToken = chunks.at(-1) ?? first;
    const last = steps.at(-1) ?? firstToken;
    if (first === undefined || firstToken === undefined || last === undefined) return;
    if (this.#entries.length >= this.#capacity) this.#entries.shift();
    const arrival = this.#toSteady(sequence.order.arrivedAtMs);
    this.#entries.push({
      request_id: requestId,
      perf_metrics: {
        // The engine sets it with the first token: chunks before the last lie before it.
        first_iter: firstToken.number,
        last_iter: last.number,
        timing_metrics: {
          server_arrival_time: arrival,
          arrival_time: arrival,
          first_scheduled_time: this.#toSteady(first.startMs),
          first_token_time: this.#toSteady(firstToken.endMs),
          server_first_token_time: this.#toSteady(firstToken.endMs),
          last_token_time: this.#toSteady(last.endMs),
        },
        kv_cache_metrics: describeBlocks(sequence),
      },
      time_breakdown_metrics: {
        ctx_gpu_forward_time: chunks.reduce((sum, { durationMs }) => sum + durationMs, 0),
        ctx_gpu_sample_time: 0,
        ctx_chunk_metrics: chunks.map((step) => this.#describe(step)),
        step_metrics: steps.map((step, index) => ({ iter: index + 2, ...this.#describe(step) })),
      },
    });
  }

  /** The entries since the last read, which forgets them. */
  drain(): readonly Record<string, unknown>[] {
    const entries = this.#entries;
    this.#entries = [];
    return entries;
  }

  /** An iteration as the engine writes it to each of its members: sampling is part of the simulated iteration and takes no time of its own. */
  #describe({ startMs, endMs, durationMs }: Step): Record<string, number> {
    const end = this.#toSteady(endMs);
    return {
      forward_start_time: this.#toSteady(startMs),
      forward_end_time: end,
      sample_start_time: end,
      sample_end_time: end,
      gpu_forward_time: durationMs,
      gpu_sample_time: 0,
      token_time: end,
    };
  }

  #toSteady(ms: number): number {
    return STEADY_START_S + (ms - (this.#originMs ?? ms)) / 1000;
  }
}

function describeBlocks({ order, cachedTokens, generated }: Sequence): Record<string, number> {
  const reused = (cachedTokens ?? 0) / blockTokens;
  const total = Math.ceil((order.promptTokens + generated) / blockTokens);
  return {
    num_total_allocated_blocks: total,
    num_new_allocated_blocks: total - reused,
    num_reused_blocks: reused,
    num_missed_blocks: Math.ceil(order.promptTokens / blockTokens) - reused,
  };
}
