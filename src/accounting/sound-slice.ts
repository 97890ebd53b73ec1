// The last look at a slice before it is fixed for good: no feature may be negative, or its share could never be divided and nothing be claimed
// after it. Not here: where the features come from (window-slices.ts, late-facts.ts).
import type { SliceFeatures } from '#attribution/work-model.ts';

const SCALARS = ['p', 'q', 'd', 'k', 'flightMs'] as const;

/** Raises what is negative or no number to 0, in place; true where there was any. */
export function makeSound(slice: SliceFeatures): boolean {
  let wasUnsound = false;
  const sound = (value: number | undefined, least = 0): number => {
    if (value !== undefined && value >= least) return value;
    wasUnsound = true;
    return least;
  };
  for (const feature of SCALARS) slice[feature] = sound(slice[feature]);
  for (let bucket = 0; bucket < slice.s.length; bucket += 1) {
    slice.u[bucket] = sound(slice.u[bucket]);
    const prefill = sound(slice.prefillSteps[bucket]);
    slice.prefillSteps[bucket] = prefill;
    // The steps of a prefill are among the steps.
    slice.s[bucket] = sound(slice.s[bucket], prefill);
  }
  return wasUnsound;
}
