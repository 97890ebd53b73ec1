import { divideHalfUp, roundToCents, splitByLargestRemainder } from '#reports/largest-remainder.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

describe('splitting', () => {
  test('loses nothing and stays within one unit of the exact share', () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 10n ** 18n),
        fc.array(fc.bigInt(0n, 10n ** 15n), { maxLength: 20 }),
        (total, weights) => {
          const sum = weights.reduce((all, weight) => all + weight, 0n);
          const parts = splitByLargestRemainder(total, weights);
          expect(parts.reduce((all, part) => all + part, 0n)).toBe(sum === 0n ? 0n : total);
          for (const [index, part] of parts.entries()) {
            const exact = total * (weights[index] ?? 0n);
            if (sum > 0n) expect(part * sum > exact - sum && part * sum < exact + sum).toBe(true);
          }
        },
      ),
    );
  });

  test('what is left over goes to the largest remainders, ties to the first', () => {
    expect(splitByLargestRemainder(100n, [1n, 1n, 1n])).toEqual([34n, 33n, 33n]);
    expect(splitByLargestRemainder(10n, [1n, 5n, 3n])).toEqual([1n, 6n, 3n]);
  });
});

describe('cents', () => {
  test('sum to the rounded sum, negative amounts included', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt(-(10n ** 12n), 10n ** 12n), { maxLength: 30 }), (amounts) => {
        const sum = amounts.reduce((all, amount) => all + amount, 0n);
        const cents = roundToCents(amounts);
        expect(cents.reduce((all, cent) => all + cent, 0n)).toBe(divideHalfUp(sum, 10_000_000n));
        for (const [index, cent] of cents.entries()) {
          const error = cent * 10_000_000n - (amounts[index] ?? 0n);
          expect(error > -10_000_000n && error < 10_000_000n).toBe(true);
        }
      }),
    );
  });

  test('halves round up', () => {
    expect([divideHalfUp(1n, 2n), divideHalfUp(-1n, 2n), divideHalfUp(3n, 2n), divideHalfUp(-3n, 2n)]).toEqual([
      1n,
      0n,
      2n,
      -1n,
    ]);
  });
});
