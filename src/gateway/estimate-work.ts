// How much work a request will probably be, for balancing alone: what it really was is the books' affair.

/** Tokens of an answer that nobody bounds, and the most that a bound counts for: clients set it far above what they get. */
const OUTPUT_TOKENS = 256;
const OUTPUT_TOKENS_MAX = 1024;
/** A client may ask for any number; engines refuse more, and what is taken off a sum again must be exact. */
const SEQUENCES_MAX = 4096;
/** UTF-8 bytes per token of English text, about. */
const BYTES_PER_TOKEN = 4;

/** Estimated tokens, at least 1: prompt bytes ÷ 4 + sequences × the answer's length. `maxTokens` null where the client set none. */
export function estimateWork(request: {
  readonly promptBytes: number;
  readonly maxTokens: number | null;
  readonly sequences: number;
  readonly prefillOnly: boolean;
}): number {
  const perSequence = request.prefillOnly ? 0 : Math.min(request.maxTokens ?? OUTPUT_TOKENS, OUTPUT_TOKENS_MAX);
  return (
    1 + Math.ceil(request.promptBytes / BYTES_PER_TOKEN) + Math.min(request.sequences, SEQUENCES_MAX) * perSequence
  );
}
