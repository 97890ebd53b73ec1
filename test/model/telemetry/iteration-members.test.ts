// Iterations whose members are known, against engines whose truth is known: whatever is lost on the way, no iteration is ever taken for another.
import { describe, expect, test } from 'vitest';
import { toTerms } from '#attribution/learn-fit.ts';
import { weighWork } from '#attribution/learn-statistics.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import { blockTokens } from '#simulator/pseudo-text.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';
import { costOfRoofline } from '#test/bench/attribution/roofline-cost.ts';
import { watchEngine, type WatchedEngine, type WatchOptions } from '#test/support/watched-engine.ts';

const TRUTH: EngineProfile = {
  iterationMs: 6.1,
  prefillTokenMs: 0.021,
  prefillContextMs: 9e-7,
  decodeStepMs: 0.041,
  contextTokenMs: 8.5e-5,
};
/** What a built-in profile may be off by. */
const FAR: EngineProfile = {
  iterationMs: 12,
  prefillTokenMs: 0.03,
  prefillContextMs: 4e-7,
  decodeStepMs: 0.1,
  contextTokenMs: 3e-5,
};

const watch = (options: Partial<WatchOptions>): WatchedEngine => watchEngine({ coefficients: TRUTH, ...options });

/** Entries or rows of polls that somebody else made. */
const lose = (part: number) => {
  const random = createSeededRandom(3);
  return <Item>(items: readonly Item[]): readonly Item[] => (random.uniform() < part ? [] : items);
};

type Perf = { readonly first_iter: number; readonly last_iter: number };
/** An engine that writes an entry's numbers later than its row's. */
const shift = (by: number) => (entries: readonly Record<string, unknown>[]) =>
  entries.map((entry) => {
    const perf = entry['perf_metrics'] as Perf;
    return { ...entry, perf_metrics: { ...perf, first_iter: perf.first_iter + by, last_iter: perf.last_iter + by } };
  });

/** Part of the iterations that are known, all of which must be true: batch and time to the bit, prompts’ lengths to a block, chunks to five. */
function checkTruth({ exact, truth }: WatchedEngine): number {
  const wrong = exact.filter(({ iteration, work, members, gpuMs }) => {
    const known = truth.get(iteration);
    if (known === undefined) return true;
    const [, prefilled, squares, steps, context] = known.work;
    const isBatch =
      work[1] === prefilled && work[3] === steps && members === known.members && gpuMs === known.durationMs;
    const isContext = Math.abs(work[4] - context) <= steps * blockTokens;
    // p(2c + p) where p or c is off by five blocks.
    const isSquares = Math.abs(work[2] - squares) <= 10 * blockTokens * known.chunkEnds;
    return !(isBatch && isContext && isSquares);
  });
  expect(wrong).toEqual([]);
  expect(new Set(exact.map(({ iteration }) => iteration)).size).toBe(exact.length);
  return exact.length / truth.size;
}

/** Mean of |predicted − true| ÷ true over all iterations. */
function missOf(profile: EngineProfile | undefined, { truth }: WatchedEngine): number {
  const terms = toTerms(profile ?? TRUTH);
  const misses = [...truth.values()].map(({ work, durationMs }) => Math.abs(weighWork(work, terms) / durationMs - 1));
  return misses.reduce((sum, miss) => sum + miss, 0) / misses.length;
}

describe('iterations of a simulated engine', () => {
  test.each<[string, number, Partial<WatchOptions>]>([
    ['of plain traffic', 0.95, {}],
    ['whose prompts share prefixes', 0.95, { repeatPart: 0.5 }],
    ['that is busy without a pause', 0.4, { repeatPart: 0.5, rate: () => 12 }],
    ['that preempts requests', 0.5, { settings: { kvCapacityTokens: 40_000 } }],
    ['that writes its entries’ numbers one later', 0.95, { passEntries: shift(1) }],
    ['that writes them two earlier', 0.95, { passEntries: shift(-2) }],
  ])('%s: each that is known is true, and nearly all of them are', (_what, least, options) => {
    expect(checkTruth(watch(options))).toBeGreaterThan(least);
  });

  test.each<[string, number, Partial<WatchOptions>]>([
    ['requests are cut off, which get no entry', 0.9, { abortPart: 0.02 }],
    ['a second consumer reads half of the entries', 0.3, { passEntries: lose(0.5) }],
    ['a second consumer reads a tenth of the rows', 0.8, { passRows: lose(0.1) }],
    ['both are read by others', 0.3, { passEntries: lose(0.5), passRows: lose(0.2) }],
  ])('%s: fewer are known, and none is wrong', (_what, most, options) => {
    const part = checkTruth(watch({ repeatPart: 0.5, ...options }));
    expect(part).toBeLessThan(most);
    expect(part).toBeGreaterThan(0.02);
  });

  test.each<[string, Partial<WatchOptions>]>([
    [
      'entries without step times',
      { passEntries: (all) => all.map((one) => ({ ...one, time_breakdown_metrics: null })) },
    ],
    ['entries whose numbers are another engine’s', { passEntries: shift(40) }],
    ['no entries', { passEntries: () => [] }],
  ])('%s: none is known, and no row waits', (_what, options) => {
    const watched = watch(options);
    expect([watched.exact.length, watched.end.waiting, watched.profile.basis]).toEqual([0, 0, 'estimated']);
  });

  test('rows that wait and entries that are kept are bounded', () => {
    const { most, end } = watch({ passEntries: lose(0.3) });
    // Two minutes of iterations, and what is looked up.
    expect(most.waiting).toBeLessThan(15_000);
    expect(most.rows).toBeLessThanOrEqual(20_000);
    expect(most.memberships).toBeLessThanOrEqual(400_000);
    expect(end.waiting).toBe(0);
  });
});

describe('the profile', () => {
  test('has the terms of the engine, where rows alone miss them by half', () => {
    const watched = watch({ repeatPart: 0.5, abortPart: 0.02 });
    const [known, guessed] = [watched.profile.fit(FAR)?.profile, watched.fromRows.fit(FAR)?.profile];
    expect(watched.profile.basis).toBe('exact');
    const missed = (profile: EngineProfile | undefined, term: keyof EngineProfile): number =>
      Math.abs((profile?.[term] ?? 0) / TRUTH[term] - 1);
    for (const term of ['iterationMs', 'prefillTokenMs', 'decodeStepMs', 'contextTokenMs'] as const) {
      expect(missed(known, term), term).toBeLessThan(0.03);
    }
    expect(missed(known, 'prefillContextMs')).toBeLessThan(0.25);
    expect(missed(guessed, 'decodeStepMs')).toBeGreaterThan(0.3);
    expect(missed(guessed, 'prefillContextMs')).toBeGreaterThan(0.5);
  });

  test.each<[string, Partial<WatchOptions>]>([
    ['a linear engine', {}],
    ['a linear engine that is busy without a pause', { rate: () => 12 }],
    ['a roofline engine', { settings: { costOf: costOfRoofline } }],
  ])('of %s predicts its iterations within 1 % of their noise, and better than rows alone', (_what, options) => {
    const watched = watch({ repeatPart: 0.5, ...options });
    const known = missOf(watched.profile.fit(FAR)?.profile, watched);
    // Durations vary by 4 %: E|noise| is 3.2 %.
    expect(known).toBeLessThan(0.042);
    expect(known).toBeLessThan(missOf(watched.fromRows.fit(FAR)?.profile, watched));
  });

  test('where too much is lost rests on rows alone, as if there were no entries', () => {
    const watched = watch({ repeatPart: 0.5, passEntries: lose(0.5) });
    expect(watched.profile.basis).toBe('estimated');
    expect(watched.profile.fit(FAR)).toEqual(watched.fromRows.fit(FAR));
  });
});
