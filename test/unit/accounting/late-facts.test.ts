// Facts that come after some windows were sealed: the others make up for it, exactly and never below zero.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addSealed, createSealedSums, placeLateFacts } from '#accounting/late-facts.ts';
import { createSliceFeatures, type SliceFeatures } from '#attribution/work-model.ts';

function slice(d: number, p = 0): SliceFeatures {
  const features = createSliceFeatures();
  features.d = d;
  features.p = p;
  features.s[3] = d;
  return features;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

describe('late facts', () => {
  it('sealed and unsealed slices together are the truth, unless more was sealed than was true', () => {
    const amount = fc.integer({ min: 0, max: 5000 });
    fc.assert(
      fc.property(
        fc.array(amount, { minLength: 1, maxLength: 8 }),
        fc.record({ p: amount, q: amount, d: amount, k: amount, prefillSteps: fc.integer({ min: 0, max: 1 }) }),
        fc.record({ p: amount, d: amount }),
        (own, totals, before) => {
          const sealed = createSealedSums();
          addSealed(sealed, slice(before.d, before.p));
          const slices = own.map((d) => slice(d));
          const result = placeLateFacts(totals, sealed, slices);
          const over = before.d > totals.d || before.p > totals.p;
          expect(result).toEqual({ over, under: false });
          for (const feature of ['p', 'q', 'd', 'k'] as const) {
            const placed = sum(slices.map((features) => features[feature]));
            expect(placed, feature).toBe(Math.max(0, totals[feature] - sealed[feature]));
          }
          for (const features of slices) {
            expect(sum(features.s)).toBe(features.d + sum(features.prefillSteps));
            expect(features.s.every((steps, bucket) => steps >= (features.prefillSteps[bucket] ?? 0))).toBe(true);
          }
        },
      ),
    );
  });

  it('what is missing is spread evenly over the windows that are left', () => {
    const slices = [slice(10), slice(20), slice(0)];
    const result = placeLateFacts({ p: 0, q: 0, d: 90, k: 0, prefillSteps: 0 }, createSealedSums(), slices);
    expect(result).toEqual({ over: false, under: false });
    expect(slices.map((features) => features.d)).toEqual([30, 40, 20]);
  });

  it('without a window left the missing part is reported', () => {
    const result = placeLateFacts({ p: 5, q: 0, d: 0, k: 0, prefillSteps: 0 }, createSealedSums(), []);
    expect(result).toEqual({ over: false, under: true });
  });
});
