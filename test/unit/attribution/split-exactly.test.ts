// Largest remainder: exactness, fairness to one nanodollar, independence of order.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { splitExactly } from '#attribution/split-exactly.ts';

const weights = fc.uniqueArray(fc.tuple(fc.string({ maxLength: 6 }), fc.bigInt({ min: 0n, max: 10n ** 30n })), {
  selector: ([id]) => id,
  maxLength: 30,
});
const total = fc.bigInt({ min: 0n, max: 10n ** 15n });
const sum = (values: Iterable<bigint>): bigint => [...values].reduce((all, value) => all + value, 0n);

test('the vector of settlement.md: 231249 among 7 and 5 is 134895 and 96354', () => {
  expect([
    ...splitExactly(231249n, [
      ['A', 7n],
      ['B', 5n],
    ]),
  ]).toEqual([
    ['A', 134895n],
    ['B', 96354n],
  ]);
});

test('the shares of any total among any weights add up to the total', () => {
  fc.assert(
    fc.property(total, weights, (amount, pairs) => {
      const expected = pairs.some(([, weight]) => weight > 0n) ? amount : 0n;
      expect(sum(splitExactly(amount, pairs).values())).toBe(expected);
    }),
  );
});

test('every share lies within one unit of its exact proportion', () => {
  fc.assert(
    fc.property(total, weights, (amount, pairs) => {
      const weightSum = sum(pairs.map(([, weight]) => weight));
      fc.pre(weightSum > 0n);
      const shares = splitExactly(amount, pairs);
      for (const [id, weight] of pairs) {
        const distance = (shares.get(id) ?? -1n) * weightSum - amount * weight;
        expect(distance > -weightSum && distance < weightSum).toBe(true);
      }
    }),
  );
});

test('the order of the weights changes no share', () => {
  fc.assert(
    fc.property(total, weights, fc.infiniteStream(fc.nat()), (amount, pairs, keys) => {
      const shuffled = pairs
        .map((pair) => ({ pair, key: Number(keys.next().value) }))
        .toSorted((a, b) => a.key - b.key);
      const other = splitExactly(
        amount,
        shuffled.map(({ pair }) => pair),
      );
      for (const [id, share] of splitExactly(amount, pairs)) expect(other.get(id)).toBe(share);
    }),
  );
});

test('equal remainders go to the smaller id by code units', () => {
  expect(
    Object.fromEntries(
      splitExactly(2n, [
        ['b', 1n],
        ['a', 1n],
        ['B', 1n],
      ]),
    ),
  ).toEqual({ B: 1n, a: 1n, b: 0n });
});

test('an id without weight never gets a remainder', () => {
  expect(
    splitExactly(1n, [
      ['a', 0n],
      ['b', 3n],
      ['c', 3n],
    ]).get('a'),
  ).toBe(0n);
});

test('a negative amount, a negative weight and a repeated id are refused', () => {
  expect(() => splitExactly(-1n, [['a', 1n]])).toThrow(RangeError);
  expect(() => splitExactly(1n, [['a', -1n]])).toThrow(RangeError);
  expect(() =>
    splitExactly(1n, [
      ['a', 1n],
      ['a', 2n],
    ]),
  ).toThrow(RangeError);
});

/** Largest remainder as the books define it, without a thought for speed. */
function splitPlainly(total: bigint, pairs: readonly (readonly [string, bigint])[]): Map<string, bigint> {
  const weightSum = sum(pairs.map(([, weight]) => weight));
  const divided = pairs.map(([id, weight]) => ({
    id,
    part: (total * weight) / weightSum,
    remainder: (total * weight) % weightSum,
  }));
  let left = total - sum(divided.map(({ part }) => part));
  const order = divided.toSorted((a, b) => {
    if (a.remainder !== b.remainder) return a.remainder > b.remainder ? -1 : 1;
    return a.id < b.id ? -1 : 1;
  });
  for (const entry of order) {
    if (left <= 0n) break;
    entry.part += 1n;
    left -= 1n;
  }
  return new Map(divided.map(({ id, part }) => [id, part]));
}

test('remainders that differ by less than a double can hold are still told apart, in splits of any size', () => {
  // Few kinds of weight, some a unit apart at 10^30: many remainders are equal or round to the same.
  const kind = fc.constantFrom(0n, 1n, 3n, 7n, 10n ** 30n, 10n ** 30n + 1n, 10n ** 30n + 2n, 3n * 10n ** 30n - 1n);
  const many = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1, maxLength: 4 }), kind), {
    selector: ([id]) => id,
    minLength: 1,
    maxLength: 200,
  });
  fc.assert(
    fc.property(total, many, (amount, pairs) => {
      fc.pre(pairs.some(([, weight]) => weight > 0n));
      expect(splitExactly(amount, pairs)).toEqual(splitPlainly(amount, pairs));
    }),
  );
});

test('every path of the division gives what the definition says: quotients, then one more by remainder and id', () => {
  const sizes = fc.constantFrom(1n, 3n, 1000n, 2n ** 27n, 2n ** 53n, 10n ** 30n);
  const amounts = sizes.chain((max) => fc.bigInt({ min: 0n, max }));
  const pairsOf = sizes.chain((max) =>
    fc.uniqueArray(fc.tuple(fc.string({ maxLength: 2 }), fc.bigInt({ min: 0n, max })), {
      selector: ([id]) => id,
      maxLength: 9,
    }),
  );
  fc.assert(
    fc.property(amounts, pairsOf, (amount, pairs) => {
      expect([...splitExactly(amount, pairs)]).toEqual(splitByDefinition(amount, pairs));
    }),
    { numRuns: 2000 },
  );
});

function splitByDefinition(amount: bigint, pairs: readonly (readonly [string, bigint])[]): [string, bigint][] {
  const weightSum = sum(pairs.map(([, weight]) => weight));
  if (weightSum === 0n) return pairs.map(([id]) => [id, 0n]);
  const parts = pairs.map(([id, weight]) => ({
    id,
    part: (amount * weight) / weightSum,
    remainder: (amount * weight) % weightSum,
  }));
  const left = Number(amount - sum(parts.map(({ part }) => part)));
  const byRemainder = parts.toSorted((a, b) =>
    a.remainder === b.remainder ? (a.id < b.id ? -1 : 1) : a.remainder > b.remainder ? -1 : 1,
  );
  for (const part of byRemainder.slice(0, left)) part.part += 1n;
  return parts.map(({ id, part }) => [id, part]);
}
