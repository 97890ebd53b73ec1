// Slices of an attempt: whatever it did, its windows add up to its whole work.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { addBusyBits, addSequenceMs, sliceOf, totalsOf, windowsOf } from '#accounting/window-slices.ts';
import { type AttemptShape, finalTimeline, openTimeline } from '#accounting/work-timeline.ts';
import type { SliceFeatures } from '#attribution/work-model.ts';
import { PROFILE } from '#test/support/accounting-bench.ts';

const SHAPE: AttemptShape = {
  work: 'tokens',
  prefillOnly: false,
  stream: true,
  promptBytes: 4000,
  maxTokens: null,
  sequences: 1,
};

const START_MS = 1_790_000_000_250;

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function finish(
  shape: AttemptShape,
  wire: { readonly contents: readonly (readonly [afterMs: number, steps: number])[]; readonly endMs: number },
  tokens: { readonly input: number | null; readonly cached: number | null; readonly output: number | null },
) {
  const features = new AttemptFeatures(START_MS, shape.work === 'duration');
  for (const [afterMs, steps] of wire.contents) features.content(START_MS + afterMs, steps);
  features.end(START_MS + wire.endMs);
  return finalTimeline(
    shape,
    features,
    { profile: PROFILE, clock: null },
    {
      tokens: { input: tokens.input, cachedInput: tokens.cached, output: tokens.output, reasoning: null },
      worked: true,
      whole: true,
      estimatedPromptTokens: 1000,
      estimatedStepsPerSecond: 0,
    },
  );
}

function slicesOf(timeline: ReturnType<typeof finish>): SliceFeatures[] {
  const { first, last } = windowsOf(timeline);
  return Array.from({ length: last - first + 1 }, (_, index) => sliceOf(timeline, first + index));
}

const arbitraryAttempt = fc.record({
  stream: fc.boolean(),
  prefillOnly: fc.boolean(),
  sequences: fc.integer({ min: 1, max: 4 }),
  gaps: fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 9 })), { maxLength: 40 }),
  tailMs: fc.integer({ min: 0, max: 5000 }),
  input: fc.option(fc.integer({ min: 0, max: 200_000 }), { nil: null }),
  cached: fc.option(fc.integer({ min: 0, max: 50_000 }), { nil: null }),
  output: fc.option(fc.integer({ min: 0, max: 4000 }), { nil: null }),
});

describe('window slices', () => {
  it('add up to the true totals of every feature for any attempt', () => {
    fc.assert(
      fc.property(arbitraryAttempt, ({ gaps, tailMs, input, cached, output, ...shape }) => {
        let afterMs = 0;
        const contents = gaps.map(([gapMs, steps]) => [(afterMs += gapMs), steps] as const);
        const timeline = finish(
          { ...SHAPE, ...shape },
          { contents, endMs: afterMs + tailMs },
          { input, cached, output },
        );
        const slices = slicesOf(timeline);
        const totals = totalsOf(timeline);
        for (const feature of ['p', 'q', 'd', 'k'] as const) {
          expect(sum(slices.map((slice) => slice[feature])), feature).toBe(totals[feature]);
        }
        expect(sum(slices.flatMap((slice) => slice.s))).toBe(totals.d + totals.prefillSteps);
        expect(sum(slices.flatMap((slice) => slice.prefillSteps))).toBe(totals.prefillSteps);
        for (const slice of slices) {
          for (const value of [slice.p, slice.q, slice.d, slice.k, slice.flightMs, ...slice.s]) {
            expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
          }
          for (const [bucket, steps] of slice.prefillSteps.entries()) {
            expect(steps).toBeLessThanOrEqual(slice.s[bucket] ?? 0);
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('reproduce the work of a stream by hand: prompt 1000 on 200 cached, four tokens', () => {
    const contents = [100, 200, 900, 1000].map((afterMs) => [afterMs, 1] as const);
    const timeline = finish(SHAPE, { contents, endMs: 1000 }, { input: 1000, cached: 200, output: 4 });
    const totals = totalsOf(timeline);
    expect(totals).toEqual({ p: 1000, q: 1000 * (400 + 1000), d: 3, k: 3 * 1200 + 1 + 2 + 3, prefillSteps: 1 });
    const [first, second] = slicesOf(timeline);
    expect(first?.s).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 0, 0]);
    expect(first?.prefillSteps).toEqual([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    expect(second?.s).toEqual([0, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    expect(second?.k).toBe(1202 + 1203);
  });

  it('of an attempt without tokens hold its milliseconds in flight and nothing else', () => {
    const timeline = finish(
      { ...SHAPE, work: 'duration' },
      { contents: [], endMs: 1000 },
      { input: null, cached: null, output: null },
    );
    const [first, second] = slicesOf(timeline);
    expect(sum(first?.u ?? [])).toBe(750);
    expect(sum(second?.u ?? [])).toBe(250);
    expect(first).toMatchObject({ p: 0, d: 0, k: 0, flightMs: 750 });
  });

  it('a client that stops reading keeps the GPUs busy for two seconds at most', () => {
    const timeline = finish(
      SHAPE,
      {
        contents: [
          [500, 1],
          [10_000, 1],
        ],
        endMs: 10_000,
      },
      { input: 10, cached: 0, output: 2 },
    );
    const flightMs = sum(slicesOf(timeline).map((slice) => slice.flightMs));
    expect(flightMs).toBe(2500);
    const { first } = windowsOf(timeline);
    const busy = new Uint8Array(125);
    addBusyBits(busy, timeline, first + 5);
    expect(busy.some((byte) => byte !== 0)).toBe(false);
  });

  it('a waiting stream is busy but no member of the batch until its first token', () => {
    const features = new AttemptFeatures(START_MS, false);
    const window = Math.floor(START_MS / 1000) + 1;
    const facts = { estimatedPromptTokens: 1000, outputSealed: 0, estimatedStepsPerSecond: 0, fromMs: window * 1000 };
    const timeline = openTimeline(SHAPE, features, PROFILE, { ...facts, queue: null, untilMs: (window + 1) * 1000 });
    const slice = sliceOf(timeline, window);
    expect(slice).toMatchObject({ p: 0, d: 0, flightMs: 1000 });
    const n = Array.from({ length: 10 }, () => 0);
    addSequenceMs(n, timeline, window);
    expect(sum(n)).toBe(0);
  });

  it('a stream that waited for more than an hour has its tokens in the windows in which they came', () => {
    const features = new AttemptFeatures(START_MS, false);
    const window = Math.floor(START_MS / 1000) + 3700;
    for (let sealed = window - 3699; sealed < window; sealed += 1) features.dropBefore(sealed * 1000);
    for (const second of [0, 1, 2]) features.content((window + second) * 1000 + 50, 10);
    const facts = { estimatedPromptTokens: 10, outputSealed: 0, estimatedStepsPerSecond: 0, queue: null };
    const steps = [0, 1, 2].map((second) => {
      const [fromMs, untilMs] = [(window + second) * 1000, (window + second + 1) * 1000];
      return sliceOf(openTimeline(SHAPE, features, PROFILE, { ...facts, fromMs, untilMs }), window + second).d;
    });
    expect(steps).toEqual([9, 10, 10]);
  });

  it('count every millisecond an attempt touched, so that the shortest one is still busy', () => {
    const timeline = finish(SHAPE, { contents: [], endMs: 0.3 }, { input: 5, cached: 0, output: 1 });
    const busy = new Uint8Array(125);
    addBusyBits(busy, timeline, windowsOf(timeline).first);
    expect(busy.reduce((count, byte) => count + byte.toString(2).replaceAll('0', '').length, 0)).toBe(1);
  });
});
