// Learning a profile from windows: what can be told is told, what cannot stays with the prior, nothing is ever negative.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitProfile, toTerms } from '#attribution/learn-fit.ts';
import { sampleWindow } from '#attribution/learn-sample.ts';
import {
  addSample,
  COUNT_MAX,
  countOf,
  createGrid,
  type LearningGrid,
  mergeGrid,
  parseGrid,
  renderGrid,
} from '#attribution/learn-statistics.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { createEngineWindows } from '#test/support/engine-windows.ts';
import { createPoolFacts, createPublication } from '#test/support/settlement-facts.ts';

const TRUE: EngineProfile = {
  iterationMs: 9,
  prefillTokenMs: 0.03,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.05,
  contextTokenMs: 4e-5,
};
/** Wrong by two against each other, and by three as a whole. */
const STARTING: EngineProfile = {
  iterationMs: 6 * 9,
  prefillTokenMs: 0.03 * 1.5,
  prefillContextMs: 9e-7 * 1.5,
  decodeStepMs: 0.05 * 6,
  contextTokenMs: 4e-5 * 1.5,
};
const facts = createPoolFacts();

function learn(batches: readonly number[], count: number, profile = TRUE, seed = 1): LearningGrid {
  const grid = createGrid();
  for (const batch of batches) {
    for (const { publication } of createEngineWindows({ profile, batch, count, firstWindow: 0, seed: seed + batch })) {
      const sample = sampleWindow([publication], facts);
      if (sample !== null) addSample(grid, sample);
    }
  }
  return grid;
}

/** What one request kind costs of a window's work: prompts, steps, context. */
function priceKinds(profile: EngineProfile, batch: number): number[] {
  const [t0 = 0, a = 0, halfQ = 0, d = 0, k = 0] = toTerms(profile);
  const kinds = [a * 1000 + halfQ * 1000 * 3000, 100 * (d + t0 / batch), 100 * k * 1500];
  const sum = kinds.reduce((total, kind) => total + kind, 0);
  return kinds.map((kind) => kind / sum);
}

describe('a profile learned over several loads', () => {
  const fit = fitProfile(learn([1, 6, 24, 90], 300), STARTING);

  test('prices each kind of work within 4 % of the whole at every load, from a start that is 2× off', () => {
    for (const batch of [1, 4, 16, 64, 128]) {
      const learned = priceKinds(fit?.profile ?? STARTING, batch);
      const started = priceKinds(STARTING, batch);
      for (const [kind, truth] of priceKinds(TRUE, batch).entries()) {
        expect(Math.abs((learned[kind] ?? 0) - truth)).toBeLessThan(0.04);
      }
      if (batch >= 16) expect(Math.abs((started[0] ?? 0) - (priceKinds(TRUE, batch)[0] ?? 0))).toBeGreaterThan(0.1);
    }
  });

  test('knows the scale of time, how many windows it rests on, and its own error', () => {
    expect(fit?.profile.iterationMs).toBeGreaterThan(9 * 0.95);
    expect(fit?.profile.iterationMs).toBeLessThan(9 * 1.05);
    expect(fit?.samples).toBe(1200);
    expect(fit?.fitError).toBeGreaterThan(0.001);
    expect(fit?.fitError).toBeLessThan(0.05);
  });

  test('remembers the loads that are gone: light traffic afterwards does not blur what heavy traffic showed', () => {
    const grid = learn([1, 24, 90], 200);
    for (const { publication } of createEngineWindows({
      profile: TRUE,
      batch: 1,
      count: 5000,
      firstWindow: 0,
      seed: 9,
    })) {
      const sample = sampleWindow([publication], facts);
      if (sample !== null) addSample(grid, sample);
    }
    const later = fitProfile(grid, STARTING);
    for (const [kind, truth] of priceKinds(TRUE, 64).entries()) {
      expect(Math.abs((priceKinds(later?.profile ?? STARTING, 64)[kind] ?? 0) - truth)).toBeLessThan(0.06);
    }
  });
});

test('at one load only, terms that it cannot tell apart keep the ratio of the start', () => {
  const fit = fitProfile(learn([24], 200), {
    ...TRUE,
    iterationMs: 18,
    prefillTokenMs: 0.06,
    prefillContextMs: 1.8e-6,
    decodeStepMs: 0.1,
    contextTokenMs: 8e-5,
  });
  expect((fit?.profile.iterationMs ?? 0) / (fit?.profile.decodeStepMs ?? 1)).toBeGreaterThan(100);
  expect((fit?.profile.iterationMs ?? 0) / (fit?.profile.decodeStepMs ?? 1)).toBeLessThan(320);
});

test('an engine without some cost is learned as one: the term goes towards zero and never below', () => {
  const fit = fitProfile(learn([1, 8, 40], 300, { ...TRUE, contextTokenMs: 0 }), TRUE);
  expect(fit?.profile.contextTokenMs).toBeGreaterThanOrEqual(0);
  expect(fit?.profile.contextTokenMs).toBeLessThan(TRUE.contextTokenMs * 0.25);
});

test('whatever the windows hold, every term is finite, not negative, and bounded by the start', () => {
  const count = fc.integer({ min: 0, max: 1_000_000 });
  const work = fc.tuple(count, count, count, count, count);
  const sample = fc.record({ work, busyMs: fc.integer({ min: 1, max: 1000 }), sequenceMs: count });
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 40 }), (samples) => {
      const grid = createGrid();
      for (const each of samples) addSample(grid, each);
      const fit = fitProfile(grid, TRUE);
      if (fit === null) return;
      for (const term of Object.values(fit.profile)) expect(Number.isFinite(term) && term >= 0).toBe(true);
      expect(fit.fitError).toBeGreaterThanOrEqual(0);
    }),
    { numRuns: 300 },
  );
});

test('without windows, or with a start that gives them no time, there is nothing to fit', () => {
  expect(fitProfile(createGrid(), TRUE)).toBeNull();
  const none = { iterationMs: 0, prefillTokenMs: 0, prefillContextMs: 0, decodeStepMs: 0, contextTokenMs: 0 };
  expect(fitProfile(learn([4], 50), none)).toBeNull();
});

describe('sums over windows', () => {
  test('of two processes are the sums of one that saw all their windows', () => {
    const [one, other, both] = [learn([1, 8], 50, TRUE, 1), learn([8, 40], 60, TRUE, 50), createGrid()];
    mergeGrid(both, one);
    mergeGrid(both, other);
    const fit = fitProfile(both, STARTING);
    const grid = learn([1, 8], 50, TRUE, 1);
    for (const batch of [8, 40]) {
      for (const { publication } of createEngineWindows({
        profile: TRUE,
        batch,
        count: 60,
        firstWindow: 0,
        seed: 50 + batch,
      })) {
        const sample = sampleWindow([publication], facts);
        if (sample !== null) addSample(grid, sample);
      }
    }
    expect(fit).toEqual(fitProfile(grid, STARTING));
  });

  test('come back from JSON as they were, to ten digits', () => {
    const grid = learn([1, 8, 40], 30);
    const back = parseGrid(JSON.parse(JSON.stringify(renderGrid(grid))));
    expect(back).not.toBeNull();
    expect(renderGrid(back ?? createGrid())).toEqual(renderGrid(grid));
    expect(fitProfile(back ?? createGrid(), STARTING)?.profile).toEqual(fitProfile(grid, STARTING)?.profile);
  });

  test.each([null, 7, [], [1, 2], Array.from({ length: 10 }, () => [1]), Array.from({ length: 10 }, () => 'x')])(
    'that are none are refused: %j',
    (json) => expect(parseGrid(json)).toBeNull(),
  );

  test('never hold more than an hour of one load: what is older fades', () => {
    const grid = learn([8], COUNT_MAX + 500);
    expect(countOf(grid)).toBeCloseTo(COUNT_MAX, 6);
  });
});

describe('a window tells nothing', () => {
  test.each([
    ['without decode steps or prompts', createPublication({ features: { p: 0, q: 0 } })],
    ['of hardly any work', createPublication({ busyMs: 60, features: { s: [1, 0, 0, 0, 0, 0, 0, 0, 0, 0] } })],
    ['with work without tokens', createPublication({ features: { s: Array(10).fill(1), u: Array(10).fill(5) } })],
    ['of a deployment without facts', createPublication({ deployment: 'unknown', features: { s: Array(10).fill(1) } })],
    ['that is not sound', { ...createPublication({ features: { s: Array(10).fill(1) } }), busy: 'x' }],
    ['of negative steps', createPublication({ features: { s: Array(10).fill(-1) } })],
  ])('%s', (_name, publication) => expect(sampleWindow([publication], facts)).toBeNull());

  test('where two deployments with different profiles shared the GPUs, and everything where their profile is one', () => {
    const llama = facts.deployments['llama-8b'];
    if (llama === undefined) throw new Error('no facts');
    const other = { ...llama, profile: { ...llama.profile, d: '1' } };
    const busy = (deployment: string) => createPublication({ deployment, features: { s: Array(10).fill(1) } });
    const shared = [busy('llama-8b'), busy('lora')];
    expect(sampleWindow(shared, createPoolFacts({ deployments: { 'llama-8b': llama, lora: other } }))).toBeNull();
    const adapters = createPoolFacts({ deployments: { 'llama-8b': llama, lora: llama } });
    expect(sampleWindow(shared, adapters)).toMatchObject({ group: 'llama-8b+lora', busyMs: 500 });
  });
});
