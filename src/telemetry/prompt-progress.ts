// How many tokens of one request's prompt each of its chunks prefilled: as far as the entry, and the iterations that it was in, tell.
// Not here: the iterations (step-groups.ts), the entry (request-timings.ts).
import type { RequestTiming } from './request-timings.ts';

/** Filled chunk by chunk, as iterations are understood. Null is unknown, never 0. */
export class PromptProgress {
  /** Its steps make one token each: only then does its context grow as they are counted. */
  readonly isSteady: boolean;
  readonly #tokens: (number | null)[];
  readonly #reusedBlocks: number | null;
  readonly #missedBlocks: number | null;

  constructor({ chunks, reusedBlocks, missedBlocks, isSpeculative }: RequestTiming) {
    this.isSteady = !isSpeculative;
    this.#tokens = chunks.map(({ tokens }) => tokens);
    this.#reusedBlocks = reusedBlocks;
    this.#missedBlocks = missedBlocks;
  }

  /** Tokens of a chunk. */
  tokensOf(chunk: number): number | null {
    return this.#tokens[chunk] ?? null;
  }

  /** Says what a chunk prefilled, once it is understood. */
  setTokens(chunk: number, tokens: number): void {
    if (chunk < this.#tokens.length) this.#tokens[chunk] = tokens;
  }

  /** What it says of a chunk is not so: its length is not known from then on. */
  disbelieve(chunk: number): void {
    if (chunk < this.#tokens.length) this.#tokens[chunk] = null;
  }

  /** Tokens in the KV cache before a chunk: those found there and those of the chunks before. */
  contextOf(chunk: number, blockTokens: number | null): number | null {
    if (this.#reusedBlocks === null || (this.#reusedBlocks > 0 && blockTokens === null)) return null;
    return this.#sum(chunk, this.#reusedBlocks * (blockTokens ?? 0));
  }

  /** Length of the prompt: the context of a step before its own tokens. Null without a known prefill, as on the second half of a disaggregated pair. */
  lengthOf(blockTokens: number | null): number | null {
    return this.#tokens.length === 0 ? null : this.contextOf(this.#tokens.length, blockTokens);
  }

  /**
   * What is left for the last chunk by the blocks that were not in the cache, half a block less, since the last one is half full on average:
   * so that the whole prompt is right to half a block. Null for other chunks.
   */
  estimateLast(chunk: number, blockTokens: number | null): number | null {
    if (chunk !== this.#tokens.length - 1 || blockTokens === null || !((this.#missedBlocks ?? 0) > 0)) return null;
    const before = this.#sum(chunk, 0);
    if (before === null) return null;
    const left = ((this.#missedBlocks ?? 0) - 0.5) * blockTokens - before;
    return left > 0 ? left : null;
  }

  #sum(chunk: number, start: number): number | null {
    let sum = start;
    for (let index = 0; index < chunk; index += 1) {
      const tokens = this.tokensOf(index);
      if (tokens === null) return null;
      sum += tokens;
    }
    return sum;
  }
}
