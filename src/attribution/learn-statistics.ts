// Sums over samples of an engine's work, kept apart by load: all that fitting needs, however many windows there were.
// Not here: where samples come from (learn-sample.ts), the fit (learn-fit.ts), who keeps them (accounting/profile-learner.ts).
import { TERM_COUNT, type WorkCounts, type WorkSample } from './learn-sample.ts';

/** Σw, Σw·x_i·x_j (upper triangle, row by row), Σw·x_i·y, Σw·y², and Σx_i·w for the mean work; w = 1/busyMs. */
export interface LoadStatistics {
  /** Windows, after forgetting. */
  count: number;
  readonly xx: number[];
  readonly xy: number[];
  yy: number;
  /** Plain sums of work and time: what a window at this load is made of. */
  readonly x: number[];
  y: number;
}

/** By load level: the binary logarithm of the mean batch, 0 … 9. At a constant load the terms are collinear, so that old levels must be remembered. */
export type LearningGrid = (LoadStatistics | null)[];

/** Batches of 512 sequences and more share the last level. */
export const LOAD_LEVELS = 10;
/** An hour of busy windows per level; beyond, what is older is forgotten by as much as comes. */
export const COUNT_MAX = 3600;

const PRODUCTS = (TERM_COUNT * (TERM_COUNT + 1)) / 2;

/** Nothing seen yet. */
export function createGrid(): LearningGrid {
  return Array.from({ length: LOAD_LEVELS }, () => null);
}

/** Windows in all levels, after forgetting. */
export function countOf(grid: LearningGrid): number {
  return grid.reduce((sum, level) => sum + (level?.count ?? 0), 0);
}

/**
 * Adds a sample of so many windows in place. It weighs 1/busyMs: the time of a window is the sum of its iterations', whose noise is
 * independent, so that its variance grows with its length.
 */
export function addSample(
  grid: LearningGrid,
  sample: Pick<WorkSample, 'work' | 'busyMs' | 'sequenceMs'>,
  windows = 1,
): void {
  const { work, busyMs } = sample;
  const level = levelOf(sample);
  const sums = (grid[level] ??= emptyLevel());
  const weight = 1 / busyMs;
  let at = 0;
  for (let row = 0; row < TERM_COUNT; row += 1) {
    const value = work[row] ?? 0;
    for (let column = row; column < TERM_COUNT; column += 1) {
      sums.xx[at] = (sums.xx[at] ?? 0) + weight * value * (work[column] ?? 0);
      at += 1;
    }
    sums.xy[row] = (sums.xy[row] ?? 0) + weight * value * busyMs;
    sums.x[row] = (sums.x[row] ?? 0) + value;
  }
  sums.yy += weight * busyMs * busyMs;
  sums.y += busyMs;
  sums.count += windows;
  if (sums.count > COUNT_MAX) scaleLevel(sums, COUNT_MAX / sums.count);
}

/** Adds all of `other` into `grid` in place: sums that several processes collected of different windows. */
export function mergeGrid(grid: LearningGrid, other: LearningGrid): void {
  for (const [level, more] of other.entries()) {
    if (more === null) continue;
    const sums = (grid[level] ??= emptyLevel());
    for (const name of ['xx', 'xy', 'x'] as const) {
      for (const [at, value] of more[name].entries()) sums[name][at] = (sums[name][at] ?? 0) + value;
    }
    sums.yy += more.yy;
    sums.y += more.y;
    sums.count += more.count;
    if (sums.count > COUNT_MAX) scaleLevel(sums, COUNT_MAX / sums.count);
  }
}

/** Keeps this part (0 … 1) of everything, in place: after the engine has changed. */
export function forget(grid: LearningGrid, part: number): void {
  for (const level of grid) if (level !== null) scaleLevel(level, part);
}

/** Plain JSON of a grid; null levels stay null. */
export function renderGrid(grid: LearningGrid): unknown {
  return grid.map((level) =>
    level === null ? null : [level.count, level.yy, level.y, ...level.xx, ...level.xy, ...level.x].map(shorten),
  );
}

/** The grid of its JSON; null where that is no grid or holds a number no sum can be: it is learned anew then. */
export function parseGrid(json: unknown): LearningGrid | null {
  if (!Array.isArray(json) || json.length !== LOAD_LEVELS) return null;
  const grid: LearningGrid = [];
  for (const level of json as readonly unknown[]) {
    if (level === null) {
      grid.push(null);
      continue;
    }
    const isSums =
      Array.isArray(level) &&
      level.length === 3 + PRODUCTS + 2 * TERM_COUNT &&
      level.every((value) => typeof value === 'number' && Number.isFinite(value) && value >= 0);
    if (!isSums) return null;
    const [count = 0, yy = 0, y = 0, ...sums] = level as number[];
    grid.push({
      count,
      yy,
      y,
      xx: sums.slice(0, PRODUCTS),
      xy: sums.slice(PRODUCTS, PRODUCTS + TERM_COUNT),
      x: sums.slice(PRODUCTS + TERM_COUNT),
    });
  }
  return grid;
}

/** Σw·x_i·x_j as a full symmetric matrix. */
export function readProducts(level: LoadStatistics): number[][] {
  const matrix = Array.from({ length: TERM_COUNT }, () => Array.from({ length: TERM_COUNT }, () => 0));
  let at = 0;
  for (let row = 0; row < TERM_COUNT; row += 1) {
    for (let column = row; column < TERM_COUNT; column += 1) {
      const value = level.xx[at] ?? 0;
      at += 1;
      (matrix[row] as number[])[column] = value;
      (matrix[column] as number[])[row] = value;
    }
  }
  return matrix;
}

/** What the terms' work costs under these ms per unit: Σ θ_i·x_i. */
export function weighWork(work: WorkCounts | readonly number[], terms: readonly number[]): number {
  return terms.reduce((sum, term, index) => sum + term * (work[index] ?? 0), 0);
}

function levelOf({ busyMs, sequenceMs }: Pick<WorkSample, 'busyMs' | 'sequenceMs'>): number {
  const batch = Math.max(1, sequenceMs / busyMs);
  return Math.min(LOAD_LEVELS - 1, Math.floor(Math.log2(batch)));
}

function emptyLevel(): LoadStatistics {
  const zeros = (length: number): number[] => Array.from({ length }, () => 0);
  return { count: 0, xx: zeros(PRODUCTS), xy: zeros(TERM_COUNT), yy: 0, x: zeros(TERM_COUNT), y: 0 };
}

function scaleLevel(level: LoadStatistics, part: number): void {
  for (const sums of [level.xx, level.xy, level.x]) for (const at of sums.keys()) sums[at] = (sums[at] ?? 0) * part;
  level.yy *= part;
  level.y *= part;
  level.count *= part;
}

/** Ten digits are more than the noise of any measurement, and half the bytes. */
function shorten(value: number): number {
  return Number(value.toPrecision(10));
}
