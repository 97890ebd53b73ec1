// The one place that decides which token counts a record gets, and how good they are.
import { type TokenCounts, type TokenSource, UNKNOWN_TOKENS } from '#domain/tokens.ts';
import { type ReportedUsage, toTokenCounts } from './read-usage.ts';

/** Bytes of English text per token, the usual rule of thumb (upstreams.md §8.1, last resort). */
const BYTES_PER_TOKEN = 4;

export interface TokenEvidence {
  /** What the engine said, null for nothing. */
  readonly usage: ReportedUsage | null;
  readonly promptTextBytes: number;
  readonly isStream: boolean;
  readonly prefillOnly: boolean;
  readonly work: 'tokens' | 'duration';
  /** Status the engine sent; null when it had not answered yet. */
  readonly engineStatus: number | null;
  /** Content-bearing events of a stream so far. */
  readonly contentEvents: number;
  /** Bytes of generated text in an answer that did not stream; null where unknown. */
  readonly contentBytes: number | null;
}

/**
 * Rules, first that applies:
 * 1. the engine reported usage → `reported`, whatever else happened;
 * 2. it refused the request (status ≥ 400) → `unknown`: nothing says that work was done; so is work metered by duration;
 * 3. a stream, cut or without usage → `counted`: one token per content-bearing event, the prompt estimated from its bytes;
 * 4. any other answer → `estimated`: prompt and output from their bytes, output null where the answer cannot be read or never came.
 */
export function resolveTokens(evidence: TokenEvidence): { readonly tokens: TokenCounts; readonly source: TokenSource } {
  const { usage, engineStatus, contentEvents, contentBytes } = evidence;
  if (usage !== null) return { tokens: toTokenCounts(usage).tokens, source: 'reported' };
  const isRefused = engineStatus !== null && engineStatus >= 400;
  if (isRefused || evidence.work === 'duration') return { tokens: UNKNOWN_TOKENS, source: 'unknown' };
  const input = Math.ceil(evidence.promptTextBytes / BYTES_PER_TOKEN);
  if (evidence.isStream) {
    return { tokens: { ...UNKNOWN_TOKENS, input, output: contentEvents }, source: 'counted' };
  }
  const output = evidence.prefillOnly ? 0 : contentBytes === null ? null : Math.ceil(contentBytes / BYTES_PER_TOKEN);
  return { tokens: { ...UNKNOWN_TOKENS, input, output }, source: 'estimated' };
}
