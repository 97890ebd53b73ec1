// Whether the engine was idle but for us, by how steady it answered: others' work shows as waits before the first token and as
// long gaps between tokens, whatever the engine's own statistics say.
import { readMedian, readQuantile } from './order-statistics.ts';

/** All in ms. */
export interface SteadinessSamples {
  /** Times to first token of tiny prompts, sent one after the other with pauses of random length. */
  readonly firstTokenMs: readonly number[];
  /** Gaps between the tokens of each stream that ran alone. */
  readonly gapsMs: readonly (readonly number[])[];
}

/** On a busy engine a request waits for the end of the running iteration: the waits spread evenly over an iteration. */
const FIRST_TOKEN_SPREAD_MAX = 0.25;
/** A network's own jitter, which no engine is blamed for. */
const JITTER_MS = 1.2;
/** Blocks even out the lateness of timers, which one late gap and the next short one cancel. */
const BLOCK_GAPS = 8;
/** Between the tenth and the ninth tenth of block means over their median; iterations that vary by 10 % give 0.09. */
const BLOCK_SPREAD_MAX = 0.3;

/** One sentence per sign of other work; empty for a steady engine. */
export function findUnsteadiness({ firstTokenMs, gapsMs }: SteadinessSamples): readonly string[] {
  const signs: string[] = [];
  const stepMs = readMedian(gapsMs.flat());
  const blocks = gapsMs.flatMap((gaps) => readBlockMeans(gaps));
  const spread = (readQuantile(blocks, 0.9) - readQuantile(blocks, 0.1)) / readMedian(blocks);
  if (blocks.length >= 5 && spread > BLOCK_SPREAD_MAX)
    signs.push(
      `the time per token of a single stream varies by ${percent(spread)}: the engine serves others, or its clock or network is unsteady`,
    );
  // Of even waits both are about half an iteration; a machine that is late now and then stretches the upper half alone.
  const middle = readQuantile(firstTokenMs, 0.75) - readQuantile(firstTokenMs, 0.25);
  const waits = Math.min(middle, readMedian(firstTokenMs) - readQuantile(firstTokenMs, 0.05));
  const reference = Number.isNaN(stepMs) ? readMedian(firstTokenMs) : stepMs;
  if (firstTokenMs.length >= 8 && waits > Math.max(FIRST_TOKEN_SPREAD_MAX * reference, JITTER_MS))
    signs.push(
      `the time to first token of equal prompts varies by ${waits.toFixed(1)} ms (an iteration takes ${reference.toFixed(1)} ms): they wait for others' work, or the network is unsteady`,
    );
  return signs;
}

function readBlockMeans(gaps: readonly number[]): readonly number[] {
  const means: number[] = [];
  for (let start = 0; start + BLOCK_GAPS <= gaps.length; start += BLOCK_GAPS) {
    const block = gaps.slice(start, start + BLOCK_GAPS);
    means.push(block.reduce((sum, gap) => sum + gap, 0) / BLOCK_GAPS);
  }
  return means;
}

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;
