// Token counts in disjoint buckets, and where a count came from.

/** Best first: said by the upstream, counted from the stream, estimated from bytes, or not known at all. */
export type TokenSource = 'reported' | 'counted' | 'estimated' | 'unknown';

/** Disjoint buckets whose sum is the total. Null is "not known", which is never the same as zero. */
export interface TokenCounts {
  /** Prompt tokens that were not served from a prefix cache. */
  readonly input: number | null;
  readonly cachedInput: number | null;
  /** Completion tokens without reasoning tokens. */
  readonly output: number | null;
  readonly reasoning: number | null;
}

export const UNKNOWN_TOKENS: TokenCounts = { input: null, cachedInput: null, output: null, reasoning: null };

/** Sum of the known buckets; null when none is known. */
export function totalTokens(tokens: TokenCounts): number | null {
  const { input, cachedInput, output, reasoning } = tokens;
  if (input === null && cachedInput === null && output === null && reasoning === null) return null;
  return (input ?? 0) + (cachedInput ?? 0) + (output ?? 0) + (reasoning ?? 0);
}
