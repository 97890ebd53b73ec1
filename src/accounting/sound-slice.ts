// The last look at a slice before it is fixed for good: no feature may be negative, or its share could never be divided and nothing be claimed
// after it. Not here: where the features come from (window-slices.ts, late-facts.ts).
import type { SliceFeatures } from '#attribution/work-model.ts';

const SCALARS = ['p', 'q', 'd', 'k', 'flightMs'] as const;

/** Raises what is negative or no number to 0, in place; true where there was any. What is sound is not written: most lists are one list of zeros. */
export function makeSound(slice: SliceFeatures): boolean {
  let wasUnsound = false;
  for (const feature of SCALARS) {
    if (slice[feature] >= 0) continue;
    slice[feature] = 0;
    wasUnsound = true;
  }
  const { s, u, prefillSteps } = slice;
  for (let bucket = 0; bucket < s.length; bucket += 1) {
    if (raise(u, bucket, 0)) wasUnsound = true;
    if (raise(prefillSteps, bucket, 0)) wasUnsound = true;
    // The steps of a prefill are among the steps.
    if (raise(s, bucket, prefillSteps[bucket] ?? 0)) wasUnsound = true;
  }
  return wasUnsound;
}

/** Writes `least` where there is less, or no number; true then. */
function raise(counts: number[], bucket: number, least: number): boolean {
  const count = counts[bucket];
  if (count !== undefined && count >= least) return false;
  counts[bucket] = least;
  return true;
}
