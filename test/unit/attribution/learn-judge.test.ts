// When a measured part of prefill becomes a version of the facts: surely hidden, worth it, and seldom.
import { describe, expect, test } from 'vitest';
import { choosePrefillFactor } from '#attribution/learn-judge.ts';
import type { PrefillFit } from '#attribution/learn-prefill.ts';
import { addSample, createGrid, type LearningGrid } from '#attribution/learn-statistics.ts';

const declared = {
  iterationMs: 5,
  prefillTokenMs: 0.02,
  prefillContextMs: 0,
  decodeStepMs: 0.025,
  contextTokenMs: 6e-5,
};

/** Windows in which prefill takes this part of the modelled time. */
function gridWith(share: number): LearningGrid {
  const grid = createGrid();
  for (let window = 0; window < 100; window += 1) {
    const work = [((1 - share) * 1000) / 5, (share * 1000) / 0.02, 0, 0, 0] as const;
    addSample(grid, { work, busyMs: 1000, sequenceMs: 20_000 });
  }
  return grid;
}

const busy = { declared, grid: gridWith(0.2), samplesEver: 100 };
const sure: PrefillFit = { factor: 0.8, error: 0.02, samples: 100 };
const never = { factor: 1, appliedAtSamples: 0 };

describe('a first part', () => {
  test('is applied at once where it is sure', () => {
    expect(choosePrefillFactor(sure, never, busy)).toBe(0.8);
  });

  test.each([
    ['fewer than 30 windows tell it', { samples: 29 }],
    ['it is within two standard errors of the whole', { error: 0.11 }],
    ['so little is hidden that misdated windows could say so', { factor: 0.95, error: 0.001 }],
  ])('is not applied where %s', (_why, but) => {
    expect(choosePrefillFactor({ ...sure, ...but }, never, busy)).toBeNull();
  });

  test('is not applied where prefill is so little of the time that nobody would pay another price', () => {
    expect(choosePrefillFactor(sure, never, { ...busy, grid: gridWith(0.03) })).toBeNull();
  });
});

describe('a part in force', () => {
  const inForce = { factor: 0.8, appliedAtSamples: 100 };

  test('stays while nothing sure says otherwise, such as after much was forgotten', () => {
    expect(choosePrefillFactor(sure, inForce, { ...busy, samplesEver: 9000 })).toBeNull();
    expect(
      choosePrefillFactor({ ...sure, factor: 1, error: 0.12 }, inForce, { ...busy, samplesEver: 9000 }),
    ).toBeNull();
  });

  test('is changed after half as many windows again as there had been', () => {
    const fit = { ...sure, factor: 0.7 };
    expect(choosePrefillFactor(fit, inForce, { ...busy, samplesEver: 149 })).toBeNull();
    expect(choosePrefillFactor(fit, inForce, { ...busy, samplesEver: 150 })).toBe(0.7);
  });

  test('is taken back where nothing is hidden any more, and not where a little is', () => {
    const later = { ...busy, grid: gridWith(0.5), samplesEver: 9000 };
    expect(choosePrefillFactor({ ...sure, factor: 0.99 }, inForce, later)).toBe(1);
    expect(choosePrefillFactor({ ...sure, factor: 0.95 }, inForce, later)).toBe(0.95);
  });
});
