// Reads the usage objects of OpenAI's and Anthropic's protocols into one form, and that form into disjoint token counts.
import type { TokenCounts } from '#domain/tokens.ts';

/** Usage as a server said it: `prompt` includes `cached`, `completion` includes `reasoning`; null is "not said". */
export interface ReportedUsage {
  readonly prompt: number | null;
  readonly cached: number | null;
  readonly completion: number | null;
  readonly reasoning: number | null;
}

/**
 * Finds usage in a parsed answer or event: at the top, or inside `response` (Responses API) or `message` (Anthropic's
 * message_start, whose output count is a beginning and not said), or in `meta.tokens` (rerank in Cohere's words). Null where there is none, or it is null, or it is no object. Zero is a
 * value.
 */
export function readUsage(payload: unknown): ReportedUsage | null {
  const holder = asObject(payload);
  if (holder === null) return null;
  const usage = asObject(holder['usage']) ?? asObject(asObject(holder['response'])?.['usage']);
  if (usage === null) {
    const billed = asObject(asObject(holder['meta'])?.['tokens']);
    if (billed !== null) return readInputOutput(billed);
    const started = asObject(asObject(holder['message'])?.['usage']);
    const begun = started === null ? null : readInputOutput(started);
    return begun === null ? null : { ...begun, completion: null };
  }
  if ('prompt_tokens' in usage || 'completion_tokens' in usage) return readOpenai(usage);
  return readInputOutput(usage) ?? readTotal(usage);
}

/** Rerank of older vLLM servers says a total alone, all of it prompt. */
function readTotal(usage: Record<string, unknown>): ReportedUsage | null {
  const total = readCount(usage['total_tokens']);
  return total === null ? null : { prompt: total, cached: null, completion: 0, reasoning: null };
}

/** Chat, completions and embeddings. Embeddings say no completion_tokens: what is left of the total is the completion, here 0. */
function readOpenai(usage: Record<string, unknown>): ReportedUsage {
  const prompt = readCount(usage['prompt_tokens']);
  const total = readCount(usage['total_tokens']);
  const said = readCount(usage['completion_tokens']);
  return {
    prompt,
    cached: readCount(asObject(usage['prompt_tokens_details'])?.['cached_tokens']),
    completion: said ?? (total !== null && prompt !== null && total >= prompt ? total - prompt : null),
    reasoning: readCount(asObject(usage['completion_tokens_details'])?.['reasoning_tokens']),
  };
}

/**
 * Responses (`input_tokens` includes the cached ones) and Anthropic, where `input_tokens` leaves out what was read from or
 * written to the cache, so that the prompt is the sum of the three (upstreams.md §6).
 */
function readInputOutput(usage: Record<string, unknown>): ReportedUsage | null {
  const input = readCount(usage['input_tokens']);
  const output = readCount(usage['output_tokens']);
  if (input === null && output === null) return null;
  const read = readCount(usage['cache_read_input_tokens']);
  const created = readCount(usage['cache_creation_input_tokens']);
  const details = asObject(usage['input_tokens_details']);
  return {
    prompt: input === null ? null : input + (read ?? 0) + (created ?? 0),
    cached: read ?? readCount(details?.['cached_tokens']),
    completion: output,
    reasoning: readCount(asObject(usage['output_tokens_details'])?.['reasoning_tokens']),
  };
}

/**
 * Disjoint buckets: input = prompt − cached, output = completion − reasoning. A part larger than its whole is clamped to it, since
 * the whole is what the engine batched; `clamped` says so.
 */
export function toTokenCounts(usage: ReportedUsage): { readonly tokens: TokenCounts; readonly clamped: boolean } {
  const cached = usage.cached === null || usage.prompt === null ? usage.cached : Math.min(usage.cached, usage.prompt);
  const reasoning =
    usage.reasoning === null || usage.completion === null
      ? usage.reasoning
      : Math.min(usage.reasoning, usage.completion);
  return {
    tokens: {
      input: usage.prompt === null ? null : usage.prompt - (cached ?? 0),
      cachedInput: cached,
      output: usage.completion === null ? null : usage.completion - (reasoning ?? 0),
      reasoning,
    },
    clamped: cached !== usage.cached || reasoning !== usage.reasoning,
  };
}

/** Later news over earlier: what the newer leaves out stays as it was said before. */
export function mergeUsage(earlier: ReportedUsage | undefined, later: ReportedUsage): ReportedUsage {
  if (earlier === undefined) return later;
  return {
    prompt: later.prompt ?? earlier.prompt,
    cached: later.cached ?? earlier.cached,
    completion: later.completion ?? earlier.completion,
    reasoning: later.reasoning ?? earlier.reasoning,
  };
}

/** Sums bucket by bucket; a bucket nobody said stays null. */
export function addUsage(left: ReportedUsage, right: ReportedUsage): ReportedUsage {
  return {
    prompt: addKnown(left.prompt, right.prompt),
    cached: addKnown(left.cached, right.cached),
    completion: addKnown(left.completion, right.completion),
    reasoning: addKnown(left.reasoning, right.reasoning),
  };
}

function addKnown(left: number | null, right: number | null): number | null {
  return left === null ? right : right === null ? left : left + right;
}

/** Engines count in 32 bits; a larger number is a fault of theirs, and sums of it could not be kept exactly. */
const COUNT_MAX = 2 ** 31 - 1;

/** Whether a number can be a count of tokens. */
export function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= COUNT_MAX;
}

function readCount(value: unknown): number | null {
  return typeof value === 'number' && isCount(value) ? value : null;
}

/** The value as an object with any fields, or null where it is none. */
export function asObject(value: unknown): Record<string, unknown> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : null;
}
