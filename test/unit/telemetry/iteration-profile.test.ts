// The profile of an engine from its own iteration rows, against simulated engines whose coefficients are known.
import { describe, expect, test } from 'vitest';
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { EngineCore } from '#simulator/engine-core.ts';
import { createRequestAccount } from '#simulator/engine-sequence.ts';
import { IterationLog } from '#simulator/iteration-log.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';
import { IterationProfile, RowReader } from '#telemetry/iteration-profile.ts';
import { parseIterationRows } from '#telemetry/iteration-rows.ts';

const TRUTH: EngineProfile = {
  iterationMs: 6.1,
  prefillTokenMs: 0.021,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.041,
  contextTokenMs: 8.5e-5,
};

/** Drains the rows of an engine under changing load, as a poller would. */
function watch(coefficients: EngineProfile, noiseCv: number): IterationProfile {
  const settings = {
    coefficients,
    noiseCv,
    maxSequences: 128,
    tokenBudget: 2048,
    kvCapacityTokens: 400_000,
    prefixCache: false,
    maxQueued: 1e6,
    seed: 5,
  };
  const log = new IterationLog(settings);
  const core: EngineCore = new EngineCore(settings, (iteration) => log.append(iteration, core));
  const random = createSeededRandom(9);
  const profile = new IterationProfile();
  const listener = { onToken: () => {}, onFinish: () => {} };
  for (let atMs = 0; atMs < 300_000; atMs += 500) {
    // One request in three seconds up to seven a second.
    const rate = 0.15 + 3.5 * (1 + Math.sin(atMs / 40_000));
    for (let chance = rate * 0.5; chance > 0; chance -= 1) {
      if (random.uniform() > chance) continue;
      core.submit({
        promptTokens: 20 + Math.floor(6000 * random.uniform() ** 3),
        promptBlocks: [],
        outputTokens: 20 + Math.floor(500 * random.uniform()),
        arrivedAtMs: atMs,
        account: createRequestAccount(),
        listener,
      });
    }
    core.step(atMs + 500);
    profile.take(parseIterationRows(JSON.stringify(log.drainRows())) ?? []);
  }
  return profile;
}

describe('the fit', () => {
  test('finds the terms that traffic shows, from a built-in profile far off', () => {
    const starting = createBuiltinProfile({ gpu: 'H100-SXM', gpus: 4, modelNames: ['llama-3.1-70b'] });
    const fit = watch(TRUTH, 0.04).fit(starting);
    expect(fit).not.toBeNull();
    const { profile } = fit ?? { profile: starting };
    expect(Math.abs(profile.iterationMs / TRUTH.iterationMs - 1)).toBeLessThan(0.05);
    expect(Math.abs(profile.prefillTokenMs / TRUTH.prefillTokenMs - 1)).toBeLessThan(0.1);
    // Contexts of one traffic resemble each other, so that only the two terms of a step together are told exactly.
    const stepMs = (terms: EngineProfile) => terms.decodeStepMs + 1000 * terms.contextTokenMs;
    expect(Math.abs(stepMs(profile) / stepMs(TRUTH) - 1)).toBeLessThan(0.05);
    expect(Math.abs(profile.contextTokenMs / TRUTH.contextTokenMs - 1)).toBeLessThan(0.15);
    expect(fit?.fitError).toBeLessThan(0.08);
  });

  test('is stable: twice the noise does not move it by a tenth', () => {
    const [quiet, noisy] = [0.02, 0.08].map((noise) => watch(TRUTH, noise).fit(TRUTH)?.profile ?? TRUTH);
    for (const term of ['iterationMs', 'prefillTokenMs', 'contextTokenMs'] as const) {
      expect(Math.abs((noisy?.[term] ?? 0) / (quiet?.[term] ?? 1) - 1)).toBeLessThan(0.1);
    }
  });

  test.each([
    ['of a year', 3e10, 2000],
    ['that never ended', 1e300, 2000],
    ['on more tokens than any engine holds', 10, 1e12],
    ['on tokens without number', 10, Number.POSITIVE_INFINITY],
  ])('is not moved by one iteration %s', (_what, absurdMs, context) => {
    const profile = new IterationProfile();
    const work = (iteration: number) => {
      const counts = [1, 0, 0, 4, 4 * (500 + (iteration % 10_000))] as const;
      const gpuMs = TRUTH.iterationMs + 4 * TRUTH.decodeStepMs + counts[4] * TRUTH.contextTokenMs;
      profile.takeExact([{ iteration, work: counts, members: 4, gpuMs }]);
    };
    for (let iteration = 0; iteration < 10_000; iteration += 1) work(iteration);
    expect([profile.basis, profile.fit(TRUTH)?.fitError]).toEqual(['exact', 0]);
    profile.takeExact([{ iteration: 10_000, work: [1, 0, 0, 4, context], members: 4, gpuMs: absurdMs }]);
    for (let iteration = 10_001; iteration < 10_050; iteration += 1) work(iteration);
    expect(profile.fit(TRUTH)).toMatchObject({ profile: TRUTH, fitError: 0 });
  });

  test('a row of more tokens than any engine prefills at once does not hide which chunks are full', () => {
    const reader = new RowReader();
    const row = (iteration: number, prefillTokens: number) => {
      const times = { writtenMs: null, gpuMs: 9, forwardMs: 9, cachedTokens: null, blockTokens: null };
      return reader.read({ iteration, prefillTokens, prefilling: 1, decoding: 0, ...times });
    };
    expect([row(1, 1e12), row(2, 1e300)]).toEqual([null, null]);
    expect([row(3, 2000)?.work[2], row(4, 1000)?.work[2]]).toEqual([2000 ** 2, 1000 * (2 * 2000 + 1000)]);
  });

  test('without rows there is none, and rows without GPU time or batch are no rows', () => {
    const profile = new IterationProfile();
    expect(profile.fit(TRUTH)).toBeNull();
    profile.take(parseIterationRows('[{"iter":1},{"iter":2,"gpuForwardTimeMS":5}]') ?? []);
    expect([profile.fit(TRUTH), profile.samplesEver]).toEqual([null, 0]);
  });
});
