// Learns an engine's profile from its iteration rows: each row is one forward pass, its batch and its time. State of one engine.
// Not here: the least squares (attribution/learn-fit.ts), rows (iteration-rows.ts), making the profile price windows (accounting).
import { fitProfile, ITERATION_PRIOR, type LearnedFit } from '#attribution/learn-fit.ts';
import type { WorkCounts } from '#attribution/learn-sample.ts';
import { addSample, createGrid, type LearningGrid } from '#attribution/learn-statistics.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { IterationRow } from './iteration-rows.ts';

/**
 * Iteration time of one sample, ms. Short enough to tell loads apart, long enough that prefill and decode are in it together: single iterations
 * would show only by how much a prefill lengthens a batch that reads its weights anyway, which is less than its fair share.
 */
const SAMPLE_MS = 150;
/** A chunk this near to the largest ever seen was cut by the engine's token budget: the prompt goes on in the next iteration. */
const FULL_CHUNK = 0.95;

/** What a row's counts amount to in the units of the profile's terms. */
export interface RowWork {
  readonly work: WorkCounts;
  /** Sequences that took part. */
  readonly members: number;
}

/**
 * Rows tell how many tokens were prefilled and how many sequences decoded; the context that they were read on follows from the KV cache's blocks in
 * iterations without prefill (blocks of a prompt are taken before it is prefilled), and from the mean of those before in the others. Where a
 * prompt is longer than one chunk, the chunks before it are its context.
 */
export class RowReader {
  #meanContext = 0;
  #chunkMax = 0;
  #chain = 0;
  #lastIteration: number | null = null;

  /** Null for a row in which nobody took part. Rows in order. */
  read(row: IterationRow): RowWork | null {
    const { prefillTokens, prefilling, decoding, iteration } = row;
    const follows = iteration !== null && iteration === (this.#lastIteration ?? Number.NaN) + 1;
    this.#lastIteration = iteration;
    const before = follows ? this.#chain : 0;
    const isFull = prefillTokens >= FULL_CHUNK * this.#chunkMax;
    this.#chunkMax = Math.max(this.#chunkMax, prefillTokens);
    this.#chain = prefilling > 0 && isFull ? before + prefillTokens : 0;
    const members = prefilling + decoding;
    if (members === 0) return null;
    if (prefilling === 0 && row.cachedTokens !== null) {
      // The last block of each sequence is half full on average.
      const halfBlocks = (decoding * (row.blockTokens ?? 0)) / 2;
      this.#meanContext = Math.max(0, row.cachedTokens - halfBlocks) / decoding;
    }
    const squares = prefilling === 0 ? 0 : prefillTokens * (2 * before + prefillTokens / prefilling);
    return { work: [1, prefillTokens, squares, decoding, decoding * this.#meanContext], members };
  }
}

/** The rows of one engine summed for a fit; bounded whatever comes. */
export class IterationProfile {
  readonly grid: LearningGrid = createGrid();
  readonly #reader = new RowReader();
  #work: number[] = [];
  #busyMs = 0;
  #sequenceMs = 0;
  #samples = 0;

  /** Samples ever taken. */
  get samplesEver(): number {
    return this.#samples;
  }

  /** Takes the rows of one answer; those without GPU time or without a batch say nothing. */
  take(rows: readonly IterationRow[]): void {
    for (const row of rows) {
      const read = this.#reader.read(row);
      if (read === null || row.gpuMs === null || !(row.gpuMs > 0)) continue;
      for (const [index, count] of read.work.entries()) this.#work[index] = (this.#work[index] ?? 0) + count;
      this.#busyMs += row.gpuMs;
      this.#sequenceMs += row.gpuMs * read.members;
      if (this.#busyMs < SAMPLE_MS) continue;
      const [iterations = 0, p = 0, q = 0, d = 0, k = 0] = this.#work;
      const sums = { busyMs: this.#busyMs, sequenceMs: this.#sequenceMs };
      addSample(this.grid, { work: [iterations, p, q, d, k], ...sums });
      this.#work = [];
      this.#busyMs = 0;
      this.#sequenceMs = 0;
      this.#samples += 1;
    }
  }

  /** Null while there are no rows; `starting` is believed where the traffic does not tell terms apart. */
  fit(starting: EngineProfile): LearnedFit | null {
    return this.#samples === 0 ? null : fitProfile(this.grid, starting, ITERATION_PRIOR);
  }
}
