// Places what became known late: the windows of an attempt that are not sealed yet take an even part of what the sealed ones missed.
// Not here: which windows are sealed (seal.ts).
import { BUCKETS_PER_WINDOW, type SliceFeatures } from '#attribution/work-model.ts';
import type { WorkTotals } from './window-slices.ts';

/** Sums over slices already sealed; the same features as WorkTotals. */
export type SealedSums = { -readonly [Feature in keyof WorkTotals]: number };

/** Nothing sealed yet. */
export function createSealedSums(): SealedSums {
  return { p: 0, q: 0, d: 0, k: 0, prefillSteps: 0 };
}

/** Adds one sealed slice into the sums. */
export function addSealed(sums: SealedSums, slice: Readonly<SliceFeatures>): void {
  sums.p += slice.p;
  sums.q += slice.q;
  sums.d += slice.d;
  sums.k += slice.k;
  sums.prefillSteps += sumOf(slice.prefillSteps);
}

type LateFeature = keyof WorkTotals;

const ALL_FEATURES: readonly LateFeature[] = ['p', 'q', 'd', 'k', 'prefillSteps'];

/**
 * Changes the unsealed `slices` of a finished attempt in place, so that sealed + unsealed = `totals` for every one of `features`: each takes an even
 * integer part of the difference, never going below 0. Returns what could not be placed: `over` units sealed beyond the truth, `under`
 * units missing because no window is left. Source: settlement.md, "Late facts".
 */
export function placeLateFacts(
  totals: WorkTotals,
  sealed: Readonly<SealedSums>,
  slices: readonly SliceFeatures[],
  features: readonly LateFeature[] = ALL_FEATURES,
): { readonly over: boolean; readonly under: boolean } {
  let over = false;
  let under = false;
  for (const feature of features) {
    const values = slices.map((slice) => (feature === 'prefillSteps' ? sumOf(slice.prefillSteps) : slice[feature]));
    const missing = spreadEvenly(values, totals[feature] - sealed[feature] - sumOf(values));
    for (const [index, slice] of slices.entries()) {
      const placed = values[index] ?? 0;
      if (feature === 'd') setDecodeSteps(slice, placed);
      else if (feature === 'prefillSteps') setPrefillSteps(slice, placed);
      else slice[feature] = placed;
    }
    over ||= missing < 0;
    under ||= missing > 0;
  }
  return { over, under };
}

/** Changes `values` in place by even integer parts of `missing`, none below 0; returns what could not be placed. */
function spreadEvenly(values: number[], missing: number): number {
  let left = missing;
  for (const [index, value] of values.entries()) {
    values[index] = Math.max(0, value + Math.trunc(left / (values.length - index)));
    left -= (values[index] ?? 0) - value;
  }
  // Windows without anything cannot give back their part: those that still have something do.
  for (const [index, value] of values.entries()) {
    if (left >= 0) break;
    values[index] = Math.max(0, value + left);
    left += value - (values[index] ?? 0);
  }
  return left;
}

/** Keeps the distribution over buckets and changes its sum; a window without steps gets them evenly. */
function setDecodeSteps(slice: SliceFeatures, steps: number): void {
  if (steps === slice.d) return;
  const decode = slice.s.map((count, bucket) => count - (slice.prefillSteps[bucket] ?? 0));
  const weights = sumOf(decode) > 0 ? decode : Array.from({ length: BUCKETS_PER_WINDOW }, () => 1);
  const weightSum = sumOf(weights);
  let before = 0;
  let passed = 0;
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    passed += weights[bucket] ?? 0;
    const reached = Math.round((steps * passed) / weightSum);
    slice.s[bucket] = (slice.prefillSteps[bucket] ?? 0) + reached - before;
    before = reached;
  }
  slice.d = steps;
}

/** The step of a prefill is one step in one bucket: late it goes into the middle of the window, too many are taken out where they stand. */
function setPrefillSteps(slice: SliceFeatures, steps: number): void {
  if (steps === sumOf(slice.prefillSteps)) return;
  const middle = BUCKETS_PER_WINDOW / 2;
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    slice.s[bucket] = (slice.s[bucket] ?? 0) - (slice.prefillSteps[bucket] ?? 0);
    slice.prefillSteps[bucket] = 0;
  }
  slice.s[middle] = (slice.s[middle] ?? 0) + steps;
  slice.prefillSteps[middle] = steps;
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
