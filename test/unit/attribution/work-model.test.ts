// The work model in integers: additivity, phases, the reference's vector.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeStepMs, fairShareMs, iterationMs, prefillMs } from '#attribution/predict-work.ts';
import { freezeWeights } from '#attribution/frozen-weights.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import {
  addFeatures,
  createFeatures,
  createSliceFeatures,
  parseFrozenWeights,
  phaseWeights,
  weightOf,
  type DeploymentWeights,
} from '#attribution/work-model.ts';
import type { PoolFacts } from '#domain/pool-facts.ts';

const profile = {
  iterationMs: 7.2,
  prefillTokenMs: 0.022,
  prefillContextMs: 1.2e-6,
  decodeStepMs: 0.03,
  contextTokenMs: 6e-5,
};
const facts: PoolFacts = {
  pool: 'p',
  effectiveFrom: 0,
  active: true,
  gpu: 'H100-SXM',
  gpuMillionths: 1_000_000,
  prices: [],
  provisioned: { kind: 'always' },
  deployments: {
    d: { model: 'm', profile: toProfileFemtos(profile), profileSource: 'declared', profileFitError: null },
  },
};
function weightsFor(n: number[], mode: 'by-flight' | 'by-work' = 'by-work'): DeploymentWeights {
  const weights = parseFrozenWeights(freezeWeights(n, facts, mode)).get('d');
  if (weights === undefined) throw new Error('no weights');
  return weights;
}
const buckets = (max: number) => fc.array(fc.nat(max), { minLength: 10, maxLength: 10 });
const slice = fc
  .record({
    p: fc.nat(16_000_000),
    q: fc.nat(2 ** 49),
    d: fc.nat(5000),
    k: fc.nat(1e9),
    u: buckets(1e5),
    decodeSteps: buckets(500),
    prefillSteps: buckets(20),
    flightMs: fc.nat(1e6),
  })
  .map(({ decodeSteps, ...features }) => ({
    ...features,
    s: decodeSteps.map((count, bucket) => count + (features.prefillSteps[bucket] ?? 0)),
  }));

test('one iteration of a prefill and two decodes is shared 25.00, 2.46 and 2.61 ms of 30.07', () => {
  const work = [prefillMs(profile, 1000, 0), decodeStepMs(profile, 500), decodeStepMs(profile, 3000)];
  expect(
    iterationMs(
      profile,
      work.reduce((sum, ms) => sum + ms, 0),
    ),
  ).toBeCloseTo(30.07, 10);
  expect(work.map((ms) => fairShareMs(profile, ms, 3))).toEqual([
    expect.closeTo(25.0, 10),
    expect.closeTo(2.46, 10),
    expect.closeTo(2.61, 10),
  ]);
});

test('the same iteration weighs the same in integers when three sequences fill the bucket', () => {
  const weights = weightsFor([300, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const step = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const base = createSliceFeatures();
  expect(weightOf({ ...base, p: 1000, q: 1_000_000, s: step }, weights)).toBe(25_000_000_000_000n);
  expect(weightOf({ ...base, d: 1, k: 500, s: step }, weights)).toBe(2_460_000_000_000n);
  expect(weightOf({ ...base, d: 1, k: 3000, s: step }, weights)).toBe(2_610_000_000_000n);
});

test('the weight of a sum of slices is the sum of their weights, by work and by flight', () => {
  fc.assert(
    fc.property(fc.array(slice, { maxLength: 12 }), buckets(30_000), (slices, n) => {
      const sum = createFeatures();
      for (const features of slices) addFeatures(sum, features);
      for (const mode of ['by-work', 'by-flight'] as const) {
        const weights = weightsFor(n, mode);
        expect(weightOf(sum, weights)).toBe(slices.reduce((all, features) => all + weightOf(features, weights), 0n));
      }
    }),
  );
});

test('the phases of a slice add up to its weight', () => {
  fc.assert(
    fc.property(slice, buckets(30_000), fc.boolean(), (features, n, byFlight) => {
      const weights = weightsFor(n, byFlight ? 'by-flight' : 'by-work');
      const phases = phaseWeights(features, weights);
      expect(phases.prefill + phases.decode + phases.other).toBe(weightOf(features, weights));
    }),
  );
});

test('a prefill, its steps and tokenless time stand in their own phase', () => {
  const weights = weightsFor([]);
  const features = { ...createSliceFeatures(), p: 10, q: 100 };
  features.s[3] = 1;
  features.prefillSteps[3] = 1;
  expect(phaseWeights(features, weights)).toMatchObject({ decode: 0n, other: 0n });
  const tokenless = createSliceFeatures();
  tokenless.u[0] = 100;
  expect(phaseWeights(tokenless, weights)).toEqual({ prefill: 0n, decode: 0n, other: 100_000_000_000_000n });
});

test('a deployment without facts weighs nothing', () => {
  const features = { ...createSliceFeatures(), p: 5, flightMs: 7 };
  expect(weightOf(features, undefined)).toBe(0n);
  expect(phaseWeights(features, undefined)).toEqual({ prefill: 0n, decode: 0n, other: 0n });
});

test('a bucket with less than one sequence counts as one', () => {
  const weights = freezeWeights([0, 99, 100, 200, 300], facts, 'by-work');
  expect(weights.deployments['d']?.r.slice(0, 5)).toEqual([
    '7200000000000',
    '7200000000000',
    '7200000000000',
    '3600000000000',
    '2400000000000',
  ]);
  expect(weights.e.slice(0, 5)).toEqual([
    '1000000000000',
    '1000000000000',
    '1000000000000',
    '500000000000',
    '333333333333',
  ]);
});

test('a weight is the same integer whether floats can hold it or not', () => {
  const weights = weightsFor([300, 0, 700, 0, 0, 12, 0, 0, 0, 100_000]);
  fc.assert(
    fc.property(slice, fc.constantFrom(1, 100, 1e5), (features, parts) => {
      const part = (value: number): number => Math.floor(value / parts);
      const smaller = {
        ...features,
        p: part(features.p),
        q: part(features.q),
        d: part(features.d),
        k: part(features.k),
        u: features.u.map(part),
      };
      const total = (counts: readonly number[], perCount: readonly bigint[]): bigint =>
        counts.reduce((sum, count, bucket) => sum + BigInt(count) * (perCount[bucket] ?? 0n), 0n);
      expect(weightOf(smaller, weights)).toBe(
        weights.a * BigInt(smaller.p) +
          weights.halfQ * BigInt(smaller.q) +
          weights.d * BigInt(smaller.d) +
          weights.k * BigInt(smaller.k) +
          total(smaller.s, weights.r) +
          total(smaller.u, weights.e),
      );
    }),
  );
});

test('every phase is the integer of its definition at the edges of what floats hold, below zero and with steps of prefill alone', () => {
  const femtos = fc.oneof(
    fc.constantFrom(0n, 1n, 2n ** 26n, 2n ** 52n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 10n ** 30n, 10n ** 400n),
    fc.bigInt({ min: 0n, max: 2n ** 50n }),
    fc.bigInt({ min: 0n, max: 2n ** 30n }),
  );
  const list = fc.array(femtos, { minLength: 10, maxLength: 10 });
  // Nearly all are 0, so that single terms reach the edges alone.
  const count = fc.oneof(
    { weight: 30, arbitrary: fc.constant(0) },
    { weight: 6, arbitrary: fc.constantFrom(1, 2, 300) },
    { weight: 1, arbitrary: fc.constantFrom(-1, 2 ** 31) },
  );
  const counts = fc.array(count, { minLength: 10, maxLength: 10 });
  const frozen = fc.record({ a: femtos, halfQ: femtos, d: femtos, k: femtos, r: list, e: list });
  const features = fc.record({
    p: count,
    q: count,
    d: count,
    k: count,
    s: counts,
    u: counts,
    prefillSteps: counts,
    flightMs: fc.nat(),
  });
  const total = (of: readonly number[], perCount: readonly bigint[]): bigint =>
    of.reduce((sum, each, bucket) => sum + BigInt(each) * (perCount[bucket] ?? 0n), 0n);
  fc.assert(
    fc.property(frozen, features, (terms, x) => {
      const text = {
        a: `${terms.a}`,
        halfQ: `${terms.halfQ}`,
        d: `${terms.d}`,
        k: `${terms.k}`,
        r: terms.r.map(String),
        profileSource: 'declared' as const,
      };
      const weights = parseFrozenWeights({ deployments: { d: text }, e: terms.e.map(String), byFlight: false }).get(
        'd',
      );
      const ownSteps = total(x.prefillSteps, terms.r);
      const prefill = terms.a * BigInt(x.p) + terms.halfQ * BigInt(x.q) + ownSteps;
      const decode = terms.d * BigInt(x.d) + terms.k * BigInt(x.k) + total(x.s, terms.r) - ownSteps;
      const other = total(x.u, terms.e);
      expect(phaseWeights(x, weights)).toEqual({ prefill, decode, other });
      expect(weightOf(x, weights)).toBe(prefill + decode + other);
    }),
    { numRuns: 3000 },
  );
});

test('features below zero, as old journals may hold them, weigh what they say', () => {
  const weights = weightsFor([300, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const features = { ...createSliceFeatures(), p: -2, s: [-1, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
  expect(weightOf(features, weights)).toBe(-2n * weights.a - (weights.r[0] ?? 0n));
  expect(phaseWeights(features, weights).prefill).toBe(-2n * weights.a);
});

test('a window has as many buckets as every list of features', () => {
  const { s, u, prefillSteps } = createSliceFeatures();
  expect([s, u, prefillSteps].map(({ length }) => length)).toEqual([10, 10, 10]);
});
