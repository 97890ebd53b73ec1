// Which part of a declared profile's prefill time lengthens iterations: two numbers per load level, by least squares over busy windows. Pure.
// Not here: the sums (learn-statistics.ts), whether the part is worth applying (learn-judge.ts), the integers (prefill-factor.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';
import { toTerms } from './learn-fit.ts';
import { type LearningGrid, type LoadStatistics, readProducts, weighWork } from './learn-statistics.ts';
import { roundPrefillFactor } from './prefill-factor.ts';

/** The measured part of prefill, and how sure it is. */
export interface PrefillFit {
  /** In hundredths, PREFILL_FACTOR_MIN … 1. */
  readonly factor: number;
  /** Standard error of the factor. */
  readonly error: number;
  /** Windows it rests on, after forgetting: those of levels that tell prefill apart. */
  readonly samples: number;
}

/** Levels with fewer windows, with a larger error, or in which misdated prefill could account for more, tell nothing. */
const LEVEL_COUNT_MIN = 20;
const LEVEL_ERROR_MAX = 0.1;
/** How far the part is believed to be from 1 before anything was seen (standard deviation). */
const PRIOR_DEVIATION = 0.5;
/** As for a learned profile: neighbouring windows resemble each other, and no number of them makes the form of the model right. */
const SAMPLES_PER_INDEPENDENT = 4;
const SAMPLES_MAX = 150;
/** No engine's iterations are steadier than this. */
const NOISE_MIN = 0.01;
const ROUNDS = 3;

/**
 * At each load level time = s·(rest + prefill) − g·prefill, least squares with a prior on g around 0 and none on s: a declared profile that is wrong
 * by a common factor, or in its other terms by what differs between loads, has that in the level's s, and who pays is not changed by it. What
 * windows with much and with little prefill at the same load say beyond it is the time that prefill hides, g/s of its own.
 *
 * Not all of that is prefill's to keep. Arithmetic runs beside the reading of weights and of context, whichever is longer; the weights are read for
 * everybody, so that hiding behind them is prefill's gain, while time in which it hides another request's reading of context is saved by both,
 * and each has half of it (their Shapley shares). The declared terms say which part of what is read is context.
 *
 * Prefill is dated by estimates, and what is dated into a neighbouring window looks hidden. Were all that the fit misses of this kind, it would be the
 * residual ÷ what varies of prefill: so much is taken off.
 *
 * The levels that tell are averaged by the prefill time in them. Null where none does. Never above 1: nothing makes prefill cost more beside others.
 */
export function fitPrefill(grid: LearningGrid, declared: EngineProfile): PrefillFit | null {
  const terms = toTerms(declared);
  let prefillMs = 0;
  let hiddenMs = 0;
  let variance = 0;
  let samples = 0;
  for (const level of grid) {
    const fit = level === null || level.count < LEVEL_COUNT_MIN ? null : fitLevel(level, terms);
    const tells = fit !== null && fit.error <= LEVEL_ERROR_MAX && fit.misdated <= LEVEL_ERROR_MAX;
    if (level === null || !tells) continue;
    const levelMs = weighWork(level.x, prefillOnly(terms));
    const own = ownPart(level, terms);
    prefillMs += levelMs;
    hiddenMs += levelMs * own * fit.hidden;
    variance += (levelMs * own * fit.error) ** 2;
    samples += level.count;
  }
  if (!(prefillMs > 0)) return null;
  return {
    factor: roundPrefillFactor(1 - hiddenMs / prefillMs),
    error: Math.sqrt(variance) / prefillMs,
    samples: Math.round(samples),
  };
}

/**
 * Part of the declared prefill time that windows of this level do not have, less what misdated prefill could account for, and its standard error; null
 * where nothing can be told.
 */
function fitLevel(
  level: LoadStatistics,
  terms: readonly number[],
): { readonly hidden: number; readonly error: number; readonly misdated: number } | null {
  const products = readProducts(level);
  const prefill = prefillOnly(terms);
  const weigh = (left: readonly number[], right: readonly number[]): number =>
    left.reduce((sum, term, row) => sum + term * weighWork(products[row] ?? [], right), 0);
  const [all, cross, own] = [weigh(terms, terms), weigh(terms, prefill), weigh(prefill, prefill)];
  const [allTime, ownTime] = [weighWork(level.xy, terms), weighWork(level.xy, prefill)];
  if (!(all > 0 && own > 0 && allTime > 0)) return null;
  const perSample = Math.max(SAMPLES_PER_INDEPENDENT, level.count / SAMPLES_MAX);
  let scale = allTime / all;
  let gain = 0;
  let error = Number.POSITIVE_INFINITY;
  let misdated = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const residual =
      level.yy - 2 * (scale * allTime - gain * ownTime) + scale ** 2 * all - 2 * scale * gain * cross + gain ** 2 * own;
    const variance = (Math.max(NOISE_MIN ** 2 * level.yy, residual) / level.count) * perSample;
    const ridged = own + variance / (PRIOR_DEVIATION * scale) ** 2;
    const determinant = all * ridged - cross ** 2;
    if (!(determinant > 0)) return null;
    scale = (allTime * ridged - ownTime * cross) / determinant;
    gain = (allTime * cross - ownTime * all) / determinant;
    if (!(scale > 0)) return null;
    error = Math.sqrt((variance * all) / determinant) / scale;
    misdated = Math.max(0, residual) / (scale ** 2 * (own - cross ** 2 / all));
  }
  const hidden = gain / scale;
  return { hidden: hidden > 0 ? Math.max(0, hidden - misdated) : hidden, error, misdated };
}

/** Of the time hidden behind reading, the part that is prefill's: all of what the weights take, half of what context takes. */
function ownPart({ x }: LoadStatistics, terms: readonly number[]): number {
  const weightsMs = (terms[0] ?? 0) * (x[0] ?? 0);
  const contextMs = (terms[4] ?? 0) * (x[4] ?? 0);
  return weightsMs + contextMs > 0 ? (weightsMs + contextMs / 2) / (weightsMs + contextMs) : 1;
}

function prefillOnly([, a = 0, halfQ = 0]: readonly number[]): readonly number[] {
  return [0, a, halfQ, 0, 0];
}
