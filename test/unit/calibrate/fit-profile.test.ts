// The fit alone, on measurements made up from known coefficients.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { fitProfile, type ProfileFit } from '#src/calibrate/fit-profile.ts';
import {
  describeDecode,
  describePrefill,
  FITTED_NAMES,
  type Observation,
  predictMs,
} from '#src/calibrate/observation.ts';
import { createCalibrationRandom } from '#src/calibrate/seeded-random.ts';

const PRIOR: EngineProfile = {
  iterationMs: 7.2,
  prefillTokenMs: 0.022,
  prefillContextMs: 1.2e-6,
  decodeStepMs: 0.03,
  contextTokenMs: 6e-5,
};

const LENGTHS = [100, 400, 900, 1800, 3600, 7200, 14_000];
const BATCHES: readonly (readonly [number, number])[] = [
  [1, 150],
  [8, 150],
  [32, 150],
  [8, 7300],
];

interface MadeUp {
  readonly truth: EngineProfile;
  readonly overheadMs: number;
  readonly noise: number;
  readonly seed: number;
  readonly lengths?: readonly number[];
  readonly batches?: readonly (readonly [number, number])[];
}

function makeUp({ truth, overheadMs, noise, seed, lengths = LENGTHS, batches = BATCHES }: MadeUp): Observation[] {
  const random = createCalibrationRandom(seed);
  const values = { ...truth, overheadMs };
  const observe = (phase: Observation['phase'], cell: string, factors: Observation['factors']): Observation => ({
    phase,
    cell,
    factors,
    measuredMs: predictMs(factors, values) * (1 + (phase === 'decode' ? noise / 8 : noise) * random.normal()),
  });
  const repeats = [0, 1, 2, 3];
  return [
    ...lengths.flatMap((computedTokens) =>
      repeats.map(() =>
        observe(
          'prefill',
          `prefill ${computedTokens}`,
          describePrefill({ computedTokens, cachedTokens: 0, chunkTokens: 2048 }),
        ),
      ),
    ),
    ...batches.flatMap(([batch, context]) =>
      repeats.map(() => observe('decode', `decode ${batch} × ${context}`, describeDecode(batch, batch * context))),
    ),
  ];
}

function fit(observations: readonly Observation[], draws = 0): ProfileFit {
  return fitProfile({ observations, prior: PRIOR, overheadPriorMs: 5, seed: 1, draws });
}

/** Relative error of what the fit predicts for such an iteration. */
function errorOf(found: ProfileFit, truth: EngineProfile, factors: Observation['factors']): number {
  const values = Object.fromEntries(FITTED_NAMES.map((name) => [name, found.terms[name].value]));
  const expected = predictMs({ ...factors, overheadMs: 0 }, { ...truth, overheadMs: 0 });
  return Math.abs(predictMs({ ...factors, overheadMs: 0 }, values as never) / expected - 1);
}

const scaled = (low: number, high: number) => fc.double({ min: low, max: high, noNaN: true });
const truths = fc
  .record({ t: scaled(0.4, 4), a: scaled(0.3, 4), q: scaled(0.3, 3), d: scaled(0.4, 4), k: scaled(0.3, 3) })
  .map(({ t, a, q, d, k }): EngineProfile => ({
    iterationMs: PRIOR.iterationMs * t,
    prefillTokenMs: PRIOR.prefillTokenMs * a,
    prefillContextMs: PRIOR.prefillContextMs * q,
    decodeStepMs: PRIOR.decodeStepMs * d,
    contextTokenMs: PRIOR.contextTokenMs * k,
  }));

describe('fitProfile', () => {
  it('without noise it returns the coefficients and the overhead that made the measurements', () => {
    fc.assert(
      fc.property(truths, scaled(0, 30), (truth, overheadMs) => {
        const found = fit(makeUp({ truth, overheadMs, noise: 0, seed: 1 }));
        for (const name of Object.keys(truth) as (keyof EngineProfile)[]) {
          expect(found.terms[name].source).toBe('measured');
          expect(Math.abs(found.terms[name].value / truth[name] - 1)).toBeLessThan(0.01);
        }
        expect(Math.abs(found.terms.overheadMs.value - overheadMs)).toBeLessThan(0.2);
        expect(found.residual).toBeLessThan(0.005);
      }),
      { numRuns: 60 },
    );
  });

  it('under 4 % noise the truth lies in or near each interval, and iterations are predicted within 5 %', () => {
    fc.assert(
      fc.property(truths, fc.integer({ min: 1, max: 1_000_000 }), (truth, seed) => {
        const found = fit(makeUp({ truth, overheadMs: 6, noise: 0.04, seed }), 60);
        for (const name of Object.keys(truth) as (keyof EngineProfile)[]) {
          const { value, low, high } = found.terms[name];
          // Twice the 95 % interval: one in thousands of these checks may miss it by chance, which the margin covers.
          expect(truth[name]).toBeGreaterThan(value - 2 * (value - low) - 0.05 * truth[name]);
          expect(truth[name]).toBeLessThan(value + 2 * (high - value) + 0.05 * truth[name]);
        }
        for (const [batch, context] of BATCHES)
          expect(errorOf(found, truth, describeDecode(batch, batch * context))).toBeLessThan(0.05);
        expect(
          errorOf(found, truth, describePrefill({ computedTokens: 8000, cachedTokens: 0, chunkTokens: null })),
        ).toBeLessThan(0.06);
      }),
      { numRuns: 40, seed: 20_261_123 },
    );
  });

  it('a term that the measurements do not tell apart is the prior, and says so', () => {
    const truth = { ...PRIOR, iterationMs: 14, decodeStepMs: 0.09 };
    // One load level only: a fixed cost and a cost per sequence look alike.
    const found = fit(makeUp({ truth, overheadMs: 5, noise: 0.02, seed: 3, batches: [[1, 150]] }), 60);
    expect(found.terms.decodeStepMs.source).toBe('prior');
    expect(found.terms.contextTokenMs.source).toBe('prior');
    expect(found.terms.iterationMs.source).toBe('measured');
    expect(found.terms.decodeStepMs.value).toBeCloseTo(PRIOR.decodeStepMs, 2);
    expect(found.terms.decodeStepMs.high).toBeGreaterThan(2 * PRIOR.decodeStepMs);
    expect(found.terms.prefillTokenMs.source).toBe('measured');
  });

  it('a few wild measurements change nothing that matters', () => {
    const clean = makeUp({ truth: PRIOR, overheadMs: 5, noise: 0.01, seed: 9 });
    const wild = clean.map((row, index) => (index % 7 === 3 ? { ...row, measuredMs: row.measuredMs * 6 } : row));
    const found = fit(wild);
    expect(found.rejected).toBeGreaterThan(0);
    for (const [batch, context] of BATCHES)
      expect(errorOf(found, PRIOR, describeDecode(batch, batch * context))).toBeLessThan(0.03);
    expect(
      errorOf(found, PRIOR, describePrefill({ computedTokens: 8000, cachedTokens: 0, chunkTokens: null })),
    ).toBeLessThan(0.05);
  });

  it('no term is ever negative, and one that wanted to be is marked', () => {
    const falling = makeUp({ truth: PRIOR, overheadMs: 5, noise: 0.002, seed: 2 }).map((row) => {
      const batch = row.factors.decodeStepMs;
      return row.phase === 'decode' ? { ...row, measuredMs: row.measuredMs - 0.09 * batch } : row;
    });
    const found = fit(falling, 20);
    for (const name of FITTED_NAMES) expect(found.terms[name].low).toBeGreaterThanOrEqual(0);
    expect(found.terms.decodeStepMs).toMatchObject({ value: 0, isNegative: true });
    expect(found.terms.prefillTokenMs.isNegative).toBe(false);
  });

  it('measurements that follow another law have a low share of explained variance', () => {
    const random = createCalibrationRandom(5);
    const noise = makeUp({ truth: PRIOR, overheadMs: 5, noise: 0, seed: 1 }).map((row) => ({
      ...row,
      measuredMs: 20 + 200 * random.uniform(),
    }));
    expect(fit(noise).rSquared.prefill ?? 1).toBeLessThan(0.9);
    const good = fit(makeUp({ truth: PRIOR, overheadMs: 5, noise: 0.02, seed: 1 }));
    expect(good.rSquared.prefill).toBeGreaterThan(0.99);
    expect(good.rSquared.decode).toBeGreaterThan(0.99);
  });

  it('the same measurements and seed give the same numbers', () => {
    const rows = makeUp({ truth: PRIOR, overheadMs: 5, noise: 0.04, seed: 4 });
    expect(fit(rows, 20)).toEqual(fit(rows, 20));
  });
});
