// The last look at a slice before it is sealed: nothing negative, nothing that is no number, nothing boundless.
import { describe, expect, it } from 'vitest';
import { FEATURE_MAX, makeSound } from '#accounting/sound-slice.ts';
import { createSliceFeatures } from '#attribution/work-model.ts';

describe('a slice before it is sealed', () => {
  it('is left as it is where every feature is sound', () => {
    const slice = { ...createSliceFeatures(), p: 3, d: 2, flightMs: 7 };
    slice.s[4] = 3;
    slice.prefillSteps[4] = 1;
    const before = structuredClone(slice);
    expect(makeSound(slice)).toBe(false);
    expect(slice).toEqual(before);
  });

  it('holds 0 where something was negative or no number, and at least the steps of its prefill', () => {
    const slice = { ...createSliceFeatures(), p: -1, k: Number.NaN, d: -4 };
    slice.s[2] = -4;
    slice.prefillSteps[2] = 1;
    expect(makeSound(slice)).toBe(true);
    expect([slice.p, slice.k, slice.d, slice.s[2], slice.prefillSteps[2]]).toEqual([0, 0, 0, 1, 1]);
  });

  it('holds no more than adds up exactly with 500 others', () => {
    const slice = { ...createSliceFeatures(), q: 1e30, k: Number.POSITIVE_INFINITY };
    slice.s[1] = 2 ** 60;
    expect(makeSound(slice)).toBe(true);
    expect([slice.q, slice.k, slice.s[1]]).toEqual([FEATURE_MAX, FEATURE_MAX, FEATURE_MAX]);
    expect(500 * FEATURE_MAX).toBeLessThan(Number.MAX_SAFE_INTEGER);
  });
});
