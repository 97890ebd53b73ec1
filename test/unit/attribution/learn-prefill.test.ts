// How much of declared prefill lengthens iterations: told from windows where they tell it, and never taken for an engine that is faster as a whole.
import { describe, expect, test } from 'vitest';
import { fitPrefill } from '#attribution/learn-prefill.ts';
import { sampleWindow } from '#attribution/learn-sample.ts';
import { addSample, createGrid, type LearningGrid } from '#attribution/learn-statistics.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { createEngineWindows } from '#test/support/engine-windows.ts';
import { createPoolFacts } from '#test/support/settlement-facts.ts';

const DECLARED: EngineProfile = {
  iterationMs: 9,
  prefillTokenMs: 0.03,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.05,
  contextTokenMs: 4e-5,
};
const facts = createPoolFacts();

function scaled(profile: EngineProfile, by: { readonly all?: number; readonly prefill?: number }): EngineProfile {
  const { all = 1, prefill = 1 } = by;
  return {
    iterationMs: profile.iterationMs * all,
    prefillTokenMs: profile.prefillTokenMs * all * prefill,
    prefillContextMs: profile.prefillContextMs * all * prefill,
    decodeStepMs: profile.decodeStepMs * all,
    contextTokenMs: profile.contextTokenMs * all,
  };
}

/** Windows of an engine that is so, at these mean batches. */
function learn(
  engine: EngineProfile,
  batches: readonly number[] = [12, 24, 48],
  count = 300,
  noise = 0.02,
): LearningGrid {
  const grid = createGrid();
  for (const batch of batches) {
    for (const { publication } of createEngineWindows({
      profile: engine,
      batch,
      count,
      firstWindow: 0,
      seed: 1 + batch,
      noise,
    })) {
      const sample = sampleWindow([publication], facts);
      if (sample !== null) addSample(grid, sample);
    }
  }
  return grid;
}

/** Part of the hidden time that is prefill's own, by what weights and context take to read at a batch with 1800 tokens each. */
function ownPart(batch: number): number {
  const contextMs = batch * 1800 * DECLARED.contextTokenMs;
  return (DECLARED.iterationMs + contextMs / 2) / (DECLARED.iterationMs + contextMs);
}

describe('an engine that hides a third of its prefill', () => {
  test.each([12, 24, 48])(
    'is found out at a batch of %d, and half of what context hides is left to context',
    (batch) => {
      const fit = fitPrefill(learn(scaled(DECLARED, { prefill: 2 / 3 }), [batch], 600, 0.003), DECLARED);
      expect(Math.abs((fit?.factor ?? 0) - (1 - ownPart(batch) / 3))).toBeLessThan(0.06);
      expect(fit?.error).toBeLessThan(0.1);
    },
  );

  test('is found out as well where the declared profile is wrong by a common factor', () => {
    const engine = scaled(DECLARED, { prefill: 2 / 3 });
    const right = fitPrefill(learn(engine), DECLARED);
    for (const all of [0.5, 1.7]) {
      const wrong = fitPrefill(learn(engine), scaled(DECLARED, { all }));
      expect(Math.abs((wrong?.factor ?? 0) - (right?.factor ?? 0))).toBeLessThanOrEqual(0.02);
    }
  });
});

describe('all of prefill counts', () => {
  test.each([0.4, 0.8, 1, 1.25, 1.7])('where the engine takes %d times the declared time in all terms', (all) => {
    const fit = fitPrefill(learn(scaled(DECLARED, { all })), DECLARED);
    expect(fit?.factor ?? 1).toBeGreaterThanOrEqual(0.97);
  });

  test('where prefill takes longer than declared: it is never more than declared', () => {
    expect(fitPrefill(learn(scaled(DECLARED, { prefill: 1.5 })), DECLARED)?.factor).toBe(1);
  });

  test('where one of the other terms is declared wrong, but for what windows of one load tell of it', () => {
    for (const wrong of [{ iterationMs: 18 }, { decodeStepMs: 0.15 }, { contextTokenMs: 8e-5 }]) {
      const fit = fitPrefill(learn(DECLARED), { ...DECLARED, ...wrong });
      expect(fit?.factor ?? 1).toBeGreaterThanOrEqual(0.97);
    }
  });
});

describe('nothing is told', () => {
  test('by no windows, and by few', () => {
    expect(fitPrefill(createGrid(), DECLARED)).toBeNull();
    expect(fitPrefill(learn(scaled(DECLARED, { prefill: 0.5 }), [24], 15), DECLARED)).toBeNull();
  });

  test('by any number of windows with one mix: a faster prefill and a faster engine are the same there', () => {
    const grid = createGrid();
    const work = [60, 3000, 6_000_000, 1440, 2_500_000] as const;
    for (let window = 0; window < 2000; window += 1) {
      const busyMs = 0.9 * (9 * 60 + 0.03 * 3000 + 4.5e-7 * 6_000_000 + 0.05 * 1440 + 4e-5 * 2_500_000);
      addSample(grid, { work, busyMs, sequenceMs: 24 * busyMs });
    }
    expect(fitPrefill(grid, DECLARED)).toBeNull();
  });

  test('by one mix without any noise, where nothing at all varies', () => {
    const grid = createGrid();
    for (let window = 0; window < 64; window += 1)
      addSample(grid, { work: [64, 2048, 0, 0, 0], busyMs: 512, sequenceMs: 8192 });
    const powers = { iterationMs: 8, prefillTokenMs: 0.125, prefillContextMs: 0, decodeStepMs: 0, contextTokenMs: 0 };
    expect(fitPrefill(grid, powers)).toBeNull();
  });

  test('of a profile without prefill terms', () => {
    const none = { ...DECLARED, prefillTokenMs: 0, prefillContextMs: 0 };
    expect(fitPrefill(learn(DECLARED), none)).toBeNull();
  });
});
