// Learns an engine's profile from its iterations: each is one forward pass, its batch and its time. State of one engine.
// Not here: the least squares (attribution/learn-fit.ts), rows (iteration-rows.ts), members (iteration-members.ts), making the profile price windows (accounting).
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
/** Samples of iterations whose members are known, half a minute of them, and their part of each load, before they are used alone. */
const EXACT_MIN = 200;
const EXACT_PART_MIN = 0.2;
/** No forward pass takes longer, or reads more tokens: what says so was never measured, and would outweigh hours of what was. */
const ITERATION_MS_MAX = 60_000;
const CHUNK_TOKENS_MAX = 2 ** 24;
const TOKENS_MAX = 2 ** 32;
/** A load of fewer samples was hardly there. */
const LEVEL_SAMPLES_MIN = 20;

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

  /** Null for a row in which nobody took part, or that cannot be. Rows in order. */
  read(row: IterationRow): RowWork | null {
    const { prefillTokens, prefilling, decoding, iteration } = row;
    if (prefillTokens > CHUNK_TOKENS_MAX) return null;
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

/** One iteration all of whose members are known: what was done in it, and the time of its batch, sampling included. */
export interface ExactIteration extends RowWork {
  /** Its number in the rows. */
  readonly iteration: number;
  readonly gpuMs: number;
}

/**
 * The iterations of one engine summed for a fit; bounded whatever comes. Kept twice: all of them as their rows tell, and those whose members are known.
 * The two are never mixed: rows guess the context that prompts and steps read, and a tenth of guesses would bend the fit to them.
 */
export class IterationProfile {
  readonly #reader = new RowReader();
  readonly #estimated = new SampleSums();
  readonly #exact = new SampleSums();

  /** Samples ever taken, of rows, or of known members where rows tell no time. */
  get samplesEver(): number {
    return Math.max(this.#estimated.samples, this.#exact.samples);
  }

  /** What `fit` rests on now: see there. */
  get basis(): 'exact' | 'estimated' {
    return this.#exact.samples >= EXACT_MIN && covers(this.#exact.grid, this.#estimated.grid) ? 'exact' : 'estimated';
  }

  /** The sums of the basis. */
  get grid(): LearningGrid {
    return this.basis === 'exact' ? this.#exact.grid : this.#estimated.grid;
  }

  /** Takes the rows of one answer; those without GPU time or without a batch say nothing. */
  take(rows: readonly IterationRow[]): void {
    for (const row of rows) {
      const read = this.#reader.read(row);
      if (read !== null && row.gpuMs !== null) this.#estimated.add({ ...read, gpuMs: row.gpuMs });
    }
  }

  /** Takes iterations whose members are known, besides their rows. */
  takeExact(iterations: readonly ExactIteration[]): void {
    for (const iteration of iterations) this.#exact.add(iteration);
  }

  /**
   * Null while there is nothing; `starting` is believed where the traffic does not tell terms apart. Iterations whose members are known are used alone
   * as soon as they are enough, and a part of every load that the engine had: a profile of its quiet hours would not do for the others.
   */
  fit(starting: EngineProfile): LearnedFit | null {
    return this.samplesEver === 0 ? null : fitProfile(this.grid, starting, ITERATION_PRIOR);
  }
}

/** Iterations in samples of some length. */
class SampleSums {
  readonly grid: LearningGrid = createGrid();
  /** Ever taken. */
  samples = 0;
  #work: number[] = [];
  #busyMs = 0;
  #sequenceMs = 0;

  add({ work, members, gpuMs }: RowWork & { readonly gpuMs: number }): void {
    if (!(gpuMs > 0) || !canBe(work, gpuMs)) return;
    for (const [index, count] of work.entries()) this.#work[index] = (this.#work[index] ?? 0) + count;
    this.#busyMs += gpuMs;
    this.#sequenceMs += gpuMs * members;
    if (this.#busyMs < SAMPLE_MS) return;
    const [iterations = 0, p = 0, q = 0, d = 0, k = 0] = this.#work;
    addSample(this.grid, {
      work: [iterations, p, q, d, k],
      busyMs: this.#busyMs,
      sequenceMs: this.#sequenceMs,
    });
    this.#work = [];
    this.#busyMs = 0;
    this.#sequenceMs = 0;
    this.samples += 1;
  }
}

function canBe([, prefilled, squares, steps, contextTokens]: WorkCounts, gpuMs: number): boolean {
  const isCounted = Math.max(steps, contextTokens) <= TOKENS_MAX && squares <= TOKENS_MAX ** 2;
  return isCounted && prefilled <= CHUNK_TOKENS_MAX && gpuMs <= ITERATION_MS_MAX;
}

/** Whether `part` has enough of every load that `all` has seen for some seconds. */
function covers(part: LearningGrid, all: LearningGrid): boolean {
  return all.every((level, at) => {
    if (level === null || level.count < LEVEL_SAMPLES_MIN) return true;
    return (part[at]?.count ?? 0) >= EXACT_PART_MIN * level.count;
  });
}
