// The last look at a slice before it is fixed for good: no feature may be negative, or its share could never be divided and nothing be claimed
// after it; and none so large that the sum of a window is no exact integer, or nobody's work in it could be priced. Not here: where the features come from (window-slices.ts, late-facts.ts).
import type { SliceFeatures } from '#attribution/work-model.ts';
import type { WindowFeatures } from '#domain/settlement.ts';

const SCALARS = ['p', 'q', 'd', 'k', 'flightMs'] as const;

/**
 * The most of one feature in one second of one attempt: squares of 4 million tokens. No engine does as much, but one may say so; 500 such slices
 * still add up exactly, and more are bounded as a sum.
 */
export const FEATURE_MAX = 2 ** 44;

/** Raises what is negative or no number to 0 and lowers what is above FEATURE_MAX, in place; true where there was any. What is sound is not written: most lists are one list of zeros. */
export function makeSound(slice: SliceFeatures): boolean {
  let wasUnsound = false;
  for (const feature of SCALARS) {
    const value = slice[feature];
    if (value >= 0 && value <= FEATURE_MAX) continue;
    slice[feature] = value > 0 ? FEATURE_MAX : 0;
    wasUnsound = true;
  }
  const { s, u, prefillSteps } = slice;
  for (let bucket = 0; bucket < s.length; bucket += 1) {
    if (bound(u, bucket, 0)) wasUnsound = true;
    if (bound(prefillSteps, bucket, 0)) wasUnsound = true;
    // The steps of a prefill are among the steps.
    if (bound(s, bucket, prefillSteps[bucket] ?? 0)) wasUnsound = true;
  }
  return wasUnsound;
}

/** Writes `least` where there is less, or no number, and FEATURE_MAX where there is more than that; true then. */
function bound(counts: number[], bucket: number, least: number): boolean {
  const count = counts[bucket];
  if (count !== undefined && count >= least && count <= FEATURE_MAX) return false;
  counts[bucket] = count !== undefined && count > FEATURE_MAX ? FEATURE_MAX : least;
  return true;
}

/**
 * Lowers sums over slices to the largest exact integer, in place: a publication with a larger one would be set aside, and nobody's work of that second
 * be charged. Shares within the process follow from its slices, not from this.
 */
export function boundSum(sum: WindowFeatures): void {
  for (const feature of SCALARS) sum[feature] = Math.min(sum[feature], Number.MAX_SAFE_INTEGER);
  for (const counts of [sum.s, sum.u]) {
    for (let bucket = 0; bucket < counts.length; bucket += 1)
      counts[bucket] = Math.min(counts[bucket] ?? 0, Number.MAX_SAFE_INTEGER);
  }
}
