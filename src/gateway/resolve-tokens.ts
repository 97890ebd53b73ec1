// The one place that decides which token counts a record gets, and how good they are.
import { type TokenCounts, type TokenSource, UNKNOWN_TOKENS } from '#domain/tokens.ts';
import type { CountedTokens } from './count-answer.ts';
import { type ReportedUsage, toTokenCounts } from './read-usage.ts';

/** Bytes of English text per token, the usual rule of thumb (upstreams.md §8.1, last resort). */
export const BYTES_PER_TOKEN = 4;

export interface TokenEvidence {
  /** What the engine said, null for nothing. */
  readonly usage: ReportedUsage | null;
  readonly promptTextBytes: number;
  readonly isStream: boolean;
  readonly prefillOnly: boolean;
  readonly work: 'tokens' | 'duration';
  /** Status the engine sent; null when it had not answered yet. */
  readonly engineStatus: number | null;
  /** Content-bearing events of a stream so far; null where it cannot be read. */
  readonly contentEvents: number | null;
  /** Bytes of generated text in an answer that did not stream; null where unknown. */
  readonly contentBytes: number | null;
  /** What the model's own tokenizer counted; null or absent where it did not. */
  readonly counted?: CountedTokens | null;
}

/**
 * Rules, first that applies:
 * 1. the engine reported usage with a count in it → `reported`, whatever else happened; a stream that ended before its output was said keeps the prompt
 *    that was, and is counted otherwise;
 * 2. it refused the request (status ≥ 400) → `unknown`: nothing says that work was done; so is work metered by duration;
 * 3. a stream that can be read, cut or without usage → `counted`: its text by the model's tokenizer, else one token per content-bearing event;
 * 4. any other answer whose prompt and output the model's tokenizer counted → `counted`;
 * 5. the rest → `estimated` from bytes, output null where the answer cannot be read or never came.
 * A prompt counts by the tokenizer wherever that was possible, else by its bytes.
 */
export function resolveTokens(evidence: TokenEvidence): { readonly tokens: TokenCounts; readonly source: TokenSource } {
  const { engineStatus, contentEvents, contentBytes, counted = null } = evidence;
  const usage = saysCount(evidence.usage) ? evidence.usage : null;
  if (usage !== null && (usage.completion !== null || !evidence.isStream || evidence.prefillOnly))
    return { tokens: toTokenCounts(usage).tokens, source: 'reported' };
  const isRefused = engineStatus !== null && engineStatus >= 400;
  if (isRefused || evidence.work === 'duration') return { tokens: UNKNOWN_TOKENS, source: 'unknown' };
  const input = counted?.prompt ?? Math.ceil(evidence.promptTextBytes / BYTES_PER_TOKEN);
  if (evidence.isStream && contentEvents !== null) {
    // Some adapters begin a stream with zeros for what they do not know yet, and no prompt has none.
    const said = usage === null || usage.prompt === 0 ? null : toTokenCounts(usage).tokens;
    const prompt = { input: said?.input ?? input, cachedInput: said?.cachedInput ?? null };
    return { tokens: { ...prompt, ...readStreamed(counted, contentEvents) }, source: 'counted' };
  }
  if (counted !== null && counted.prompt !== null && counted.output !== null) {
    const { output, reasoning } = counted;
    return { tokens: { input, cachedInput: null, output, reasoning }, source: 'counted' };
  }
  const output = evidence.prefillOnly ? 0 : contentBytes === null ? null : Math.ceil(contentBytes / BYTES_PER_TOKEN);
  return { tokens: { ...UNKNOWN_TOKENS, input, output }, source: 'estimated' };
}

/** Numbers that are no counts (negative, fractions) were left out of it. */
function saysCount(usage: ReportedUsage | null): boolean {
  return usage !== null && (usage.prompt !== null || usage.completion !== null);
}

/** Events with content of which no text was found are of a form that only their number tells. */
function readStreamed(counted: CountedTokens | null, contentEvents: number): Pick<TokenCounts, 'output' | 'reasoning'> {
  const { output = null, reasoning = null } = counted ?? {};
  const isCounted = output !== null && (contentEvents === 0 || output + (reasoning ?? 0) > 0);
  return isCounted ? { output, reasoning } : { output: contentEvents, reasoning: null };
}
