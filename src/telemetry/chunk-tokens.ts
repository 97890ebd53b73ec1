// Divides an iteration's prompt tokens over the prompts that were prefilled in it. State of one engine: whether its block counts are to be believed.
// Not here: what is known of each prompt (prompt-progress.ts).
import type { IterationRow } from './iteration-rows.ts';
import type { StepGroup } from './step-groups.ts';

/** Prompts whose length was known by other means, before their blocks are believed, and the part of them that must agree. */
const PROMPTS_MIN = 5;
const AGREEMENT_MIN = 0.9;
/** What is older is forgotten by half. */
const PROMPTS_MAX = 400;

/**
 * The row tells the tokens of all chunks together. One chunk whose tokens nobody tells has what the others leave. Of several, those that end their
 * prompt are told by its blocks, one that does not has what is left; where two do not, none is known. Blocks are believed
 * only of an engine whose blocks were right about prompts that were alone.
 */
export class ChunkTokens {
  #prompts = 0;
  #agreed = 0;

  /** Fills in the tokens of an iteration all of whose chunks are known; leaves what cannot be told, and takes back what cannot be so. */
  resolve({ chunks }: Pick<StepGroup, 'chunks'>, row: Pick<IterationRow, 'prefillTokens' | 'blockTokens'>): void {
    const { prefillTokens, blockTokens } = row;
    const open = chunks.filter(({ prompt, index }) => prompt.tokensOf(index) === null);
    const told = chunks.reduce((sum, { prompt, index }) => sum + (prompt.tokensOf(index) ?? 0), 0);
    const left = prefillTokens - told;
    const [first] = open;
    if (left < 0 || left > 0 !== open.length > 0) {
      for (const { prompt, index } of chunks) prompt.disbelieve(index);
    }
    if (first === undefined || left <= 0) return;
    if (open.length === 1) {
      const estimate = first.prompt.estimateLast(first.index, blockTokens);
      if (estimate !== null && blockTokens !== null) this.#judge(Math.abs(estimate - left) <= blockTokens);
      first.prompt.setTokens(first.index, left);
    } else if (blockTokens !== null && this.#isBelieved()) divide(open, left, blockTokens);
  }

  #isBelieved(): boolean {
    return this.#prompts >= PROMPTS_MIN && this.#agreed >= AGREEMENT_MIN * this.#prompts;
  }

  #judge(agrees: boolean): void {
    this.#prompts += 1;
    if (agrees) this.#agreed += 1;
    if (this.#prompts < PROMPTS_MAX) return;
    this.#prompts /= 2;
    this.#agreed /= 2;
  }
}

/**
 * Divides what is left over several chunks by blocks. A prompt whose last chunk is told by blocks is right to half a block as a whole, whatever its
 * other chunks were taken for; an engine that fills each iteration with the end of one prompt and the start of another passes such errors on from chunk
 * to chunk, a few blocks at most (iteration-members.test.ts).
 */
function divide(open: StepGroup['chunks'], left: number, blockTokens: number): void {
  const estimates = open.map(({ prompt, index }) => prompt.estimateLast(index, blockTokens));
  const others = estimates.filter((tokens) => tokens === null).length;
  const rest = left - estimates.reduce<number>((sum, tokens) => sum + (tokens ?? 0), 0);
  if (others > 1 || (others === 1 && rest <= 0)) return;
  const each = others === 0 ? rest / open.length : 0;
  if (Math.abs(each) > blockTokens / 2) return;
  for (const [at, { prompt, index }] of open.entries()) {
    const estimate = estimates[at] ?? null;
    prompt.setTokens(index, estimate === null ? rest : Math.max(1, estimate + each));
  }
}
