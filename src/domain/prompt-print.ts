// The shape of a prompt without its text: keyed hashes of its beginnings, by which two prompts are seen to begin alike.
// Not here: how it is taken from a body (gateway/print-prompt.ts), who remembers it (accounting/prefix-memory.ts).

/** Marks of the beginnings of one prompt. Kept in memory alone: never journaled, stored, logged or sent. */
export interface PromptPrint {
  /** Keyed hash of everything before the end of each complete block, in order; block ends are `printEdges`. Whole numbers below 2^53. */
  readonly marks: readonly number[];
  /** Length of the whole prompt in bytes, however much of it was hashed. */
  readonly bytes: number;
}

/** Bytes of the first blocks: engines match blocks of 16 to 128 tokens of about four bytes. */
const BLOCK_BYTES = 128;
/** Later blocks are this part of what stands before them: a long beginning is known as exactly as a short one, with few marks. */
const GROWTH = 1 / 32;
/** What comes later is not looked at: a quarter of a millisecond of hashing, less than a tenth of what parsing such a body takes. */
const BYTES_MAX = 262_144;

/** Ends of the blocks in bytes, ascending: 128, 256, … 4096, then each 1/32 further. */
export const printEdges: readonly number[] = listEdges();

function listEdges(): readonly number[] {
  const edges: number[] = [];
  for (let edge = BLOCK_BYTES; edge <= BYTES_MAX; edge += Math.max(BLOCK_BYTES, 4 * Math.floor((edge * GROWTH) / 4))) {
    edges.push(edge);
  }
  return edges;
}
