// Integers of a declared profile whose prefill counts in part: every process makes the same of the same declared terms.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isDeclaredUnder, PREFILL_FACTOR_MIN, roundPrefillFactor, scalePrefill } from '#attribution/prefill-factor.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';

const term = fc.double({ min: 0, max: 10_000, noNaN: true });
const declaredProfiles = fc
  .record({
    iterationMs: term,
    prefillTokenMs: term,
    prefillContextMs: term,
    decodeStepMs: term,
    contextTokenMs: term,
  })
  .map(toProfileFemtos);
const factors = fc.integer({ min: 30, max: 100 }).map((hundredths) => hundredths / 100);

describe('scaled prefill terms', () => {
  test('are the declared ones times the factor to half a femtosecond, never more than declared, and the others stay', () => {
    fc.assert(
      fc.property(declaredProfiles, factors, (declared, factor) => {
        const scaled = scalePrefill(declared, factor);
        expect({ ...scaled, a: declared.a, halfQ: declared.halfQ }).toEqual(declared);
        for (const name of ['a', 'halfQ'] as const) {
          const hundredfold = BigInt(declared[name]) * BigInt(Math.round(factor * 100));
          const distance = BigInt(scaled[name]) * 100n - hundredfold;
          expect(distance > -50n && distance <= 50n).toBe(true);
          expect(BigInt(scaled[name]) <= BigInt(declared[name])).toBe(true);
        }
      }),
    );
  });

  test('without a factor, and with all of it, are the declared ones', () => {
    fc.assert(
      fc.property(declaredProfiles, (declared) => {
        expect(scalePrefill(declared, undefined)).toEqual(declared);
        expect(scalePrefill(declared, 1)).toEqual(declared);
      }),
    );
  });
});

describe('terms in force', () => {
  test('are known to be the declared ones under their factor, through the text of the fact book', () => {
    fc.assert(
      fc.property(declaredProfiles, factors, (declared, prefillFactor) => {
        const stored = JSON.parse(JSON.stringify({ profile: scalePrefill(declared, prefillFactor), prefillFactor }));
        expect(isDeclaredUnder(stored, declared)).toBe(true);
      }),
    );
  });

  test.each(['t0', 'a', 'halfQ', 'd', 'k'] as const)('are not those of a configuration with another %s', (name) => {
    const declared = { t0: '4300000000000', a: '13000000000', halfQ: '300000', d: '25000000000', k: '60000000' };
    const inForce = { profile: scalePrefill(declared, 0.8), prefillFactor: 0.8 };
    expect(isDeclaredUnder(inForce, { ...declared, [name]: String(BigInt(declared[name]) * 2n) })).toBe(false);
    expect(isDeclaredUnder({ profile: inForce.profile }, declared)).toBe(false);
  });
});

test('a factor is whole hundredths between its bounds', () => {
  expect(roundPrefillFactor(0.8449)).toBe(0.84);
  expect(roundPrefillFactor(1.3)).toBe(1);
  expect(roundPrefillFactor(-0.2)).toBe(PREFILL_FACTOR_MIN);
});
