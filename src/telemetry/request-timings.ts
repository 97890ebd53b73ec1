// Requests' step times as TensorRT-LLM's `/perf_metrics` answers them (upstreams.md §1.9): JSON to numbers, whatever fields this version has.
// Not here: which requests shared a step (step-groups.ts), asking for them (request-timings-reader.ts).
import { type Fields, isFields, parseList, readFields, readNumber } from './statistics-fields.ts';

/** Longer ids are no ids: those of thousands of requests are remembered. */
const ID_LENGTH_MAX = 128;

/** The whole batch of an iteration as an entry may say it, where the engine writes time events. */
export interface StatedBatch {
  readonly prefilling: number;
  readonly decoding: number;
}

/** One request's part in one iteration. The times are the whole batch's, copied to every member: never summed over requests. */
export interface RequestStep {
  /** When the host began the forward pass, seconds of a steady clock: equal to the last bit in all members of the batch. */
  readonly startedAt: number;
  /** GPU time of the forward pass and of sampling after it, ms; null where it was not measured. */
  readonly forwardMs: number | null;
  readonly sampleMs: number;
  /** Number of the iteration, prompt tokens of this request in it, and its batch; null where this version does not say. */
  readonly iteration: number | null;
  readonly tokens: number | null;
  readonly batch: StatedBatch | null;
}

/** The life of one ended request in one engine. */
export interface RequestTiming {
  /** Unique in one life of the engine; null where it is missing or no id. */
  readonly id: string | null;
  /** Prefill chunks, the last of which gave the first token, and decode steps, each in order of time. */
  readonly chunks: readonly RequestStep[];
  readonly steps: readonly RequestStep[];
  /** Iterations of the first and last token (some versions: of the first chunk). */
  readonly firstIteration: number | null;
  readonly lastIteration: number | null;
  /** Blocks of the prompt that were in the KV cache, and that were not. */
  readonly reusedBlocks: number | null;
  readonly missedBlocks: number | null;
  /** Several tokens may come of one step. */
  readonly isSpeculative: boolean;
}

/** What one answer of the route holds. */
export interface TimingsPage {
  /** Entries, whether or not anything can be read from them. */
  readonly entries: number;
  /** Those with step times, in the order of the answer. */
  readonly timings: readonly RequestTiming[];
}

/**
 * Null where the text is not a list: an error, or another server. Entries without step times (older versions, other backends) count and are left
 * out, and so are records of a disaggregated front (`ctx_perf_metrics`, `gen_perf_metrics`): they tell of two other engines' batches.
 */
export function parseRequestTimings(text: string): TimingsPage | null {
  const list = parseList(text);
  if (list === null) return null;
  const timings = list.objects.map(toTiming);
  return { entries: list.entries, timings: timings.filter((timing) => timing !== null) };
}

function toTiming(entry: Fields): RequestTiming | null {
  const perf = readFields(entry, 'perf_metrics');
  // The first versions kept the lists inside `perf_metrics`.
  const lists = isFields(entry['time_breakdown_metrics']) ? entry['time_breakdown_metrics'] : perf;
  const chunks = readSteps(lists['ctx_chunk_metrics']);
  const steps = readSteps(lists['step_metrics']);
  if (chunks.length + steps.length === 0) return null;
  const cache = readFields(perf, 'kv_cache_metrics');
  return {
    id: readId(entry['request_id']),
    chunks,
    steps,
    firstIteration: readNumber(perf, 'first_iter'),
    lastIteration: readNumber(perf, 'last_iter'),
    reusedBlocks: readNumber(cache, 'num_reused_blocks'),
    missedBlocks: readNumber(cache, 'num_missed_blocks'),
    isSpeculative: isFields(perf['speculative_decoding']),
  };
}

/** A list with a step that cannot be dated is no list: who counts its steps would be wrong by one. */
function readSteps(list: unknown): readonly RequestStep[] {
  if (!Array.isArray(list)) return [];
  const steps = list.map((step) => (isFields(step) ? toStep(step) : null)).filter((step) => step !== null);
  return steps.length === list.length ? steps.toSorted((a, b) => a.startedAt - b.startedAt) : [];
}

function toStep(step: Fields): RequestStep | null {
  const startedAt = readNumber(step, 'forward_start_time');
  if (startedAt === null || startedAt === 0) return null;
  const forwardMs = readNumber(step, 'gpu_forward_time');
  const prefilling = readNumber(step, 'num_ctx_requests');
  const decoding = readNumber(step, 'num_gen_requests');
  return {
    startedAt,
    // The engine writes 0 until its events were read, and where they could not be.
    forwardMs: forwardMs === 0 ? null : forwardMs,
    sampleMs: readNumber(step, 'gpu_sample_time') ?? 0,
    iteration: readNumber(step, 'iter_counter'),
    tokens: readNumber(step, 'req_context_token_number'),
    batch: prefilling === null || decoding === null ? null : { prefilling, decoding },
  };
}

function readId(value: unknown): string | null {
  if (typeof value !== 'number' && typeof value !== 'string') return null;
  const id = String(value);
  return id.length <= ID_LENGTH_MAX ? id : null;
}
