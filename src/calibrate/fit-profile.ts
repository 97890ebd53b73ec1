// Measured times → the five terms of the work model with their confidence: robust, non-negative, held by a weak prior.
// Not here: how the times were measured (measure-*.ts) and whether the result is good enough (judge-fit.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';
import { invertDiagonal, minimiseNonNegative, solveLinear } from '#attribution/bounded-least-squares.ts';
import { createCalibrationRandom } from './seeded-random.ts';
import { FITTED_NAMES, type FittedName, type Observation, predictMs } from './observation.ts';
import { keepInliers, readMedian, readQuantile } from './order-statistics.ts';

/** `prior`: what is believed before anything is measured, ms; also the scale of each term. */
export interface FitRequest {
  readonly observations: readonly Observation[];
  readonly prior: EngineProfile;
  readonly overheadPriorMs: number;
  /** Of the bootstrap. */
  readonly seed: number;
  /** Bootstrap draws; 0 leaves the intervals at the value. */
  readonly draws: number;
}

/** One fitted number, ms. `low` … `high` holds 95 % of the bootstrap. */
export interface FittedTerm {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** `prior`: the data hardly say anything about it, so it is what was believed before. */
  readonly source: 'measured' | 'prior';
  /** The data alone want it below zero, beyond doubt: the model does not fit this engine. */
  readonly isNegative: boolean;
}

export interface ProfileFit {
  readonly terms: Readonly<Record<FittedName, FittedTerm>>;
  /** Share of the variance between the design points of a phase that the fit explains; null where they hardly differ. */
  readonly rSquared: { readonly prefill: number | null; readonly decode: number | null };
  /** Median of |measured − predicted| ÷ measured over the design points. */
  readonly residual: number;
  readonly used: number;
  readonly rejected: number;
}

/** Relative deviation of the prior: a term is believed within a factor of about two to three. */
const PRIOR_DEVIATION = 1;
const OVERHEAD_PRIOR_DEVIATION = 4;
/** A term whose deviation after the measurement is above this part of the prior's is told by the prior. */
const PRIOR_SHARE = 0.5;
/** Timers and the network blur one request's time by about this much, ms; the mean over a stream's steps is not blurred. */
const INSTANT_DEVIATION_MS = 0.7;
const RELATIVE_DEVIATION = { start: 0.02, min: 0.002, max: 0.3 };
/** Huber's bound: beyond so many deviations a row's weight falls with its distance. */
const HUBER_DEVIATIONS = 1.5;
const ROBUST_ROUNDS = 12;
/** Design points that differ by less than this part of their mean cannot tell a good fit from a bad one. */
const SPREAD_MIN = 0.02;

interface Spread {
  readonly prefill: number;
  readonly decode: number;
}

interface Problem {
  readonly rows: readonly Observation[];
  /** Prior values in the order of FITTED_NAMES: columns are divided by them. */
  readonly scales: readonly number[];
  /** Prior values over the scales: 1 each, except in bootstrap draws. */
  readonly prior: readonly number[];
}

interface Solution {
  /** In units of the scales. */
  readonly scaled: readonly number[];
  readonly normal: readonly (readonly number[])[];
  readonly right: readonly number[];
}

/** Fits; throws RangeError without any observation. The sums weigh each row by its own precision, and outliers hardly count. */
export function fitProfile(request: FitRequest): ProfileFit {
  const rows = dropOutliers(request.observations);
  if (rows.length === 0) throw new RangeError('nothing was measured');
  const scales = FITTED_NAMES.map((name) =>
    name === 'overheadMs' ? Math.max(request.overheadPriorMs, 0.5) : Math.max(request.prior[name], 1e-12),
  );
  const problem: Problem = { rows, scales, prior: scales.map(() => 1) };
  let spread: Spread = { prefill: RELATIVE_DEVIATION.start, decode: RELATIVE_DEVIATION.start };
  // The first fit tells how noisy each phase is, the second uses it.
  for (let round = 0; round < 2; round += 1) spread = readSpread(rows, toValues(solve(problem, spread).scaled, scales));
  const solution = solve(problem, spread);
  const values = toValues(solution.scaled, scales);
  return {
    terms: describeTerms({ request, problem, spread, solution }),
    rSquared: { prefill: readRSquared(rows, values, 'prefill'), decode: readRSquared(rows, values, 'decode') },
    residual: readResidual(rows, values),
    used: rows.length,
    rejected: request.observations.length - rows.length,
  };
}

function dropOutliers(observations: readonly Observation[]): readonly Observation[] {
  return [...Map.groupBy(observations, ({ cell }) => cell).values()].flatMap((rows) => {
    const kept = keepInliers(rows.map(({ measuredMs }) => measuredMs));
    return rows.filter((_, index) => kept[index] === true);
  });
}

function toValues(scaled: readonly number[], scales: readonly number[]): Readonly<Record<FittedName, number>> {
  return Object.fromEntries(
    FITTED_NAMES.map((name, index) => [name, (scaled[index] ?? 0) * (scales[index] ?? 1)]),
  ) as Record<FittedName, number>;
}

function deviationOf(row: Observation, spread: Spread): number {
  const relative = spread[row.phase] * row.measuredMs;
  return row.phase === 'prefill' ? Math.hypot(relative, INSTANT_DEVIATION_MS) : relative;
}

function solve(problem: Problem, spread: Spread): Solution {
  let weights = problem.rows.map(() => 1);
  let solution = solveWeighted(problem, spread, weights);
  for (let round = 0; round < ROBUST_ROUNDS; round += 1) {
    const values = toValues(solution.scaled, problem.scales);
    const next = problem.rows.map((row) => {
      const distance = Math.abs(row.measuredMs - predictMs(row.factors, values)) / deviationOf(row, spread);
      return distance <= HUBER_DEVIATIONS ? 1 : HUBER_DEVIATIONS / distance;
    });
    const change = Math.max(...next.map((weight, index) => Math.abs(weight - (weights[index] ?? 0))));
    weights = next;
    solution = solveWeighted(problem, spread, weights);
    if (change < 1e-3) break;
  }
  return solution;
}

function solveWeighted({ rows, scales, prior }: Problem, spread: Spread, weights: readonly number[]): Solution {
  const normal = scales.map(() => scales.map(() => 0));
  const right = scales.map(() => 0);
  for (const [index, row] of rows.entries()) {
    const precision = (weights[index] ?? 1) / deviationOf(row, spread) ** 2;
    const factors = FITTED_NAMES.map((name, place) => row.factors[name] * (scales[place] ?? 1));
    for (const [place, factor] of factors.entries()) {
      if (factor === 0) continue;
      right[place] = (right[place] ?? 0) + precision * factor * row.measuredMs;
      const line = normal[place];
      if (line === undefined) continue;
      for (const [other, second] of factors.entries()) line[other] = (line[other] ?? 0) + precision * factor * second;
    }
  }
  for (const [place, line] of normal.entries()) {
    const precision = 1 / priorDeviation(place) ** 2;
    line[place] = (line[place] ?? 0) + precision;
    right[place] = (right[place] ?? 0) + precision * (prior[place] ?? 1);
  }
  return { scaled: minimiseNonNegative(normal, right), normal, right };
}

function priorDeviation(place: number): number {
  return FITTED_NAMES[place] === 'overheadMs' ? OVERHEAD_PRIOR_DEVIATION : PRIOR_DEVIATION;
}

function readSpread(rows: readonly Observation[], values: Readonly<Record<FittedName, number>>): Spread {
  const read = (phase: Observation['phase']): number => {
    const relative = rows
      .filter((row) => row.phase === phase)
      .map((row) => Math.abs(row.measuredMs - predictMs(row.factors, values)) / row.measuredMs);
    const found = relative.length < 3 ? RELATIVE_DEVIATION.start : 1.4826 * readMedian(relative);
    return Math.min(Math.max(found, RELATIVE_DEVIATION.min), RELATIVE_DEVIATION.max);
  };
  return { prefill: read('prefill'), decode: read('decode') };
}

interface Fitted {
  readonly request: FitRequest;
  readonly problem: Problem;
  readonly spread: Spread;
  readonly solution: Solution;
}

function describeTerms(fitted: Fitted): ProfileFit['terms'] {
  const { problem, solution } = fitted;
  const { scales } = problem;
  const deviations = (invertDiagonal(solution.normal) ?? scales.map(() => Number.POSITIVE_INFINITY)).map(Math.sqrt);
  // Without the bound at zero: a term pressed against it shows here on which side it wanted to be.
  const unbound = solveLinear(solution.normal, solution.right) ?? solution.scaled;
  const draws = drawBootstrap(fitted);
  return Object.fromEntries(
    FITTED_NAMES.map((name, place) => {
      const scale = scales[place] ?? 1;
      const deviation = deviations[place] ?? Number.POSITIVE_INFINITY;
      const value = (solution.scaled[place] ?? 0) * scale;
      const drawn = draws.map((draw) => (draw[place] ?? 0) * scale);
      const term: FittedTerm = {
        value,
        low: drawn.length === 0 ? value : Math.min(value, readQuantile(drawn, 0.025)),
        high: drawn.length === 0 ? value : Math.max(value, readQuantile(drawn, 0.975)),
        source: deviation > PRIOR_SHARE * priorDeviation(place) ? 'prior' : 'measured',
        isNegative: (unbound[place] ?? 0) + 3 * deviation < 0,
      };
      return [name, term];
    }),
  ) as Record<FittedName, FittedTerm>;
}

/**
 * Residual bootstrap: each draw adds to the fitted times standardised residuals of the same phase, drawn with replacement and widened for
 * the degrees of freedom, and moves the prior within its own doubt, so that a term nobody measured has a wide interval.
 */
function drawBootstrap({ request, problem, spread, solution }: Fitted): readonly (readonly number[])[] {
  const random = createCalibrationRandom(request.seed);
  const { rows, scales } = problem;
  const values = toValues(solution.scaled, scales);
  const standardised = Map.groupBy(
    rows.map((row) => ({
      phase: row.phase,
      residual: (row.measuredMs - predictMs(row.factors, values)) / deviationOf(row, spread),
    })),
    ({ phase }) => phase,
  );
  const draws: (readonly number[])[] = [];
  for (let draw = 0; draw < request.draws; draw += 1) {
    const drawnRows = rows.map((row) => {
      const pool = standardised.get(row.phase) ?? [];
      const widen = Math.sqrt(pool.length / Math.max(1, pool.length - 3));
      const residual = (pool[random.integer(pool.length)]?.residual ?? 0) * widen;
      const drawnMs = predictMs(row.factors, values) + residual * deviationOf(row, spread);
      return { ...row, measuredMs: Math.max(drawnMs, 0.001 * row.measuredMs) };
    });
    const prior = scales.map((_, place) => Math.max(0, 1 + priorDeviation(place) * random.normal()));
    draws.push(solve({ rows: drawnRows, scales, prior }, spread).scaled);
  }
  return draws;
}

interface DesignPoint {
  readonly measuredMs: number;
  readonly predictedMs: number;
}

function readDesignPoints(
  rows: readonly Observation[],
  values: Readonly<Record<FittedName, number>>,
): readonly DesignPoint[] {
  return [...Map.groupBy(rows, ({ cell }) => cell).values()].map((cell) => {
    // Repeats differ a little in their factors, so it is their ratio to the prediction that has a median.
    const predictedMs = readMedian(cell.map((row) => predictMs(row.factors, values)));
    const ratio = readMedian(cell.map((row) => row.measuredMs / Math.max(predictMs(row.factors, values), 1e-9)));
    return { predictedMs, measuredMs: ratio * predictedMs };
  });
}

function readRSquared(
  rows: readonly Observation[],
  values: Readonly<Record<FittedName, number>>,
  phase: Observation['phase'],
): number | null {
  const points = readDesignPoints(
    rows.filter((row) => row.phase === phase),
    values,
  );
  if (points.length < 3) return null;
  const mean = points.reduce((sum, { measuredMs }) => sum + measuredMs, 0) / points.length;
  const total = points.reduce((sum, { measuredMs }) => sum + (measuredMs - mean) ** 2, 0);
  if (Math.sqrt(total / points.length) < SPREAD_MIN * mean) return null;
  const left = points.reduce((sum, point) => sum + (point.measuredMs - point.predictedMs) ** 2, 0);
  return 1 - left / total;
}

function readResidual(rows: readonly Observation[], values: Readonly<Record<FittedName, number>>): number {
  return readMedian(
    readDesignPoints(rows, values).map((point) => Math.abs(point.measuredMs - point.predictedMs) / point.measuredMs),
  );
}
