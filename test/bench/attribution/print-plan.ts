// The print that a gateway would take of a planned prompt: its text has a length of its own for each block of tokens, so that the gateway's blocks and
// the engine's never meet. Not here: printing real bodies (src/gateway/print-prompt.ts).
import { printEdges, type PromptPrint } from '#domain/prompt-print.ts';
import { blockTokens } from '#simulator/pseudo-text.ts';
import { createSeededRandom, mixSeed } from '#simulator/seeded-random.ts';
import type { PlannedRequest } from './plan-traffic.ts';

const BYTES_PER_TOKEN = 4.3;
const BYTES_CV = 0.15;
/** `[{"role":"system","content":"` and the like. */
const FRAME_BYTES = 28;

/** Two beginnings have one mark where all blocks of tokens agree up to the one in which the gateway's block ends. */
export function printPlan({ id, promptTokens, promptBlocks }: PlannedRequest): PromptPrint {
  const marks: number[] = [];
  let bytes = FRAME_BYTES;
  let edge = 0;
  const markUpTo = (end: number, owner: number): void => {
    for (; (printEdges[edge] ?? Infinity) <= end; edge += 1) marks.push(owner * 2 ** 12 + (edge % 2 ** 12));
  };
  for (const block of promptBlocks) {
    bytes += lengthOf(block);
    markUpTo(bytes, (block >>> 0) * 2 ** 8 + (Math.floor(block / 2 ** 32) % 2 ** 8));
  }
  // What is left of the prompt after its last whole block is its own.
  bytes += Math.round((promptTokens - promptBlocks.length * blockTokens) * BYTES_PER_TOKEN);
  markUpTo(bytes, mixSeed(id, 4711) * 2 ** 8);
  return { marks, bytes };
}

function lengthOf(block: number): number {
  const random = createSeededRandom(mixSeed(block >>> 0, Math.floor(block / 2 ** 32)));
  return Math.round(blockTokens * random.logNormal(BYTES_PER_TOKEN, BYTES_CV));
}
