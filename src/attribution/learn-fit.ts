// Fits an engine profile to sums over busy windows: non-negative least squares with a weak prior. Pure.
// Not here: the sums (learn-statistics.ts), when a fit is worth applying (judge-learned.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';
import { type Matrix, minimiseNonNegative } from './bounded-least-squares.ts';
import { TERM_COUNT } from './learn-sample.ts';
import { type LearningGrid, type LoadStatistics, readProducts } from './learn-statistics.ts';

/** A fitted profile and how well it explains the windows it was fitted to. */
export interface LearnedFit {
  readonly profile: EngineProfile;
  /** Windows it rests on, after forgetting. */
  readonly samples: number;
  /** Root mean square of (time − model) ÷ root mean square of the time, each window weighted by 1/time: 0 … 1. */
  readonly fitError: number;
}

/** How much the starting profile is believed beside what is fitted. */
export interface FitPrior {
  /** How far it may miss each term, relative to the others (standard deviation), in the order of WorkCounts. */
  readonly deviations: readonly number[];
  /** Neighbouring samples resemble each other: so many count as one, and all together as no more than `samplesMax`. */
  readonly samplesPerIndependent: number;
  readonly samplesMax: number;
}

/**
 * For windows, whose work is dated by estimates: t0 and the scale hardly anything is known of, a and d depend on kernels, while q and k follow
 * from the model's attention and the GPU's bandwidth; and windows tell them badly, since prompts in the same iterations hide the reading of context.
 */
export const WINDOW_PRIOR: FitPrior = {
  deviations: [1, 0.6, 0.3, 0.6, 0.3],
  samplesPerIndependent: 4,
  samplesMax: 150,
};
/** For rows of single iterations as the engine tells them: exact, so that the start only decides what they do not tell apart. */
export const ITERATION_PRIOR: FitPrior = {
  deviations: [1, 1, 1, 1, 1],
  samplesPerIndependent: 4,
  samplesMax: Number.POSITIVE_INFINITY,
};
/** A term can neither vanish nor run away: parts and multiples of what the scaled prior has. */
const TERM_MIN = 0.02;
const TERM_MAX = 20;
/** No engine's iterations are steadier than this; keeps a simulated one from seeming infinitely sure. */
const NOISE_MIN = 0.01;
const ROUNDS = 4;

/**
 * The profile that makes Σ terms × work meet the time of the windows: minimises Σ w(y − Σ φ_j·θ_j·x_j)² + σ²·Σ((φ_j − s)/δ_j)² over φ ≥ 0, where
 * θ is the starting profile, s the one factor by which it misses the time as a whole, and σ² the residual variance of the fit before.
 * The prior says nothing about the scale (every window is scaled to its real time anyway) and little about the ratios; it decides where the
 * traffic does not tell terms apart. Null without windows, or where the starting profile gives them no time at all.
 */
export function fitProfile(
  grid: LearningGrid,
  starting: EngineProfile,
  prior: FitPrior = WINDOW_PRIOR,
): LearnedFit | null {
  const terms = toTerms(starting);
  const sums = addLevels(grid);
  const modelled = sums === null ? 0 : quadratic(readProducts(sums), terms);
  if (sums === null || !(modelled > 0)) return null;
  const scale = dot(sums.xy, terms) / modelled;
  if (!(scale > 0)) return null;
  const products = readProducts(sums);
  const scaled = products.map((row, i) => row.map((value, j) => value * (terms[i] ?? 0) * (terms[j] ?? 0)));
  const right = sums.xy.map((value, i) => value * (terms[i] ?? 0));
  let factors: readonly number[] = terms.map(() => scale);
  for (let round = 0; round < ROUNDS; round += 1) {
    const variance = Math.max(NOISE_MIN ** 2 * sums.yy, residualOf(scaled, right, sums.yy, factors)) / sums.count;
    const perSample = Math.max(prior.samplesPerIndependent, sums.count / prior.samplesMax);
    factors = solveFactors(scaled, right, { scale, strength: variance * perSample, deviations: prior.deviations });
  }
  const residual = residualOf(scaled, right, sums.yy, factors);
  return {
    profile: toProfile(terms.map((term, index) => term * (factors[index] ?? 0))),
    samples: Math.round(sums.count),
    fitError: Number(Math.sqrt(residual / sums.yy).toFixed(4)),
  };
}

/** Terms in the order and units of WorkCounts: q is halved. */
export function toTerms(profile: EngineProfile): readonly number[] {
  const { iterationMs, prefillTokenMs, prefillContextMs, decodeStepMs, contextTokenMs } = profile;
  return [iterationMs, prefillTokenMs, prefillContextMs / 2, decodeStepMs, contextTokenMs];
}

function toProfile(terms: readonly number[]): EngineProfile {
  const [t0 = 0, a = 0, halfQ = 0, d = 0, k = 0] = terms;
  const round = (value: number): number => Number(value.toPrecision(4));
  return {
    iterationMs: round(t0),
    prefillTokenMs: round(a),
    prefillContextMs: round(2 * halfQ),
    decodeStepMs: round(d),
    contextTokenMs: round(k),
  };
}

function solveFactors(
  products: Matrix,
  right: readonly number[],
  prior: { readonly scale: number; readonly strength: number; readonly deviations: readonly number[] },
): readonly number[] {
  const { scale, strength, deviations } = prior;
  // Each factor's distance from its least value is what must not be negative.
  const least = TERM_MIN * scale;
  const ridges = deviations.map((deviation) => strength / (deviation * scale) ** 2);
  const matrix = products.map((row, i) => row.map((value, j) => (i === j ? value + (ridges[i] ?? 0) : value)));
  const shifted = right.map(
    (value, i) => value + (ridges[i] ?? 0) * scale - least * (matrix[i] ?? []).reduce((sum, factor) => sum + factor, 0),
  );
  return minimiseNonNegative(matrix, shifted).map((value) => Math.min(TERM_MAX * scale, value + least));
}

/** All levels together; a level counts by its windows. Null without any. */
function addLevels(grid: LearningGrid): LoadStatistics | null {
  const levels = grid.filter((level) => level !== null);
  const first = levels[0];
  if (first === undefined) return null;
  const add = (read: (level: LoadStatistics) => readonly number[]): number[] =>
    read(first).map((_, at) => levels.reduce((sum, level) => sum + (read(level)[at] ?? 0), 0));
  const sum = (read: (level: LoadStatistics) => number): number =>
    levels.reduce((total, level) => total + read(level), 0);
  return {
    count: sum((level) => level.count),
    xx: add((level) => level.xx),
    xy: add((level) => level.xy),
    x: add((level) => level.x),
    yy: sum((level) => level.yy),
    y: sum((level) => level.y),
  };
}

/** Σw(y − Σφx)², never below 0 by rounding. */
function residualOf(products: Matrix, right: readonly number[], yy: number, factors: readonly number[]): number {
  return Math.max(0, yy - 2 * dot(right, factors) + quadratic(products, factors));
}

function quadratic(matrix: Matrix, vector: readonly number[]): number {
  return matrix.reduce((sum, row, i) => sum + (vector[i] ?? 0) * dot(row, vector), 0);
}

function dot(left: readonly number[], right: readonly number[]): number {
  let sum = 0;
  for (let index = 0; index < TERM_COUNT; index += 1) sum += (left[index] ?? 0) * (right[index] ?? 0);
  return sum;
}
