// Prompts computed on GPUs of their own: nothing of an attempt is lost or doubled between the two pools, whatever it did.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { addSealed, createSealedSums } from '#accounting/late-facts.ts';
import { divideSlice, handOverMs, placeLateBySide } from '#accounting/prefill-side.ts';
import type { AttemptIdentity } from '#accounting/tracked-attempt.ts';
import { addBusyBits, addSequenceMs, sliceOf, totalsOf, windowsOf } from '#accounting/window-slices.ts';
import { type AttemptShape, finalTimeline, openTimeline, type WorkTimeline } from '#accounting/work-timeline.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';
import { createStart, PROFILE } from '#test/support/accounting-bench.ts';

const START_MS = 1_790_000_000_250;
const PREFILL = { pool: 'pool-p', deployment: 'ctx' };

function identify(shape: Partial<AttemptShape>): AttemptIdentity {
  const { identity, pool, deployment } = createStart(createVirtualClock(), 'r');
  const whole: AttemptShape = {
    work: 'tokens',
    prefillOnly: false,
    stream: true,
    promptBytes: 4000,
    maxTokens: null,
    sequences: 1,
    ...shape,
  };
  const known = { recordId: 'r.1', pool, deployment, prefillBy: PREFILL, startMs: START_MS };
  return { ...known, shape: whole, identity, profileSource: 'declared' };
}

interface Wire {
  readonly contents: readonly (readonly [afterMs: number, steps: number])[];
  readonly endMs: number;
  readonly input: number | null;
  readonly output: number | null;
  readonly whole: boolean;
}

function observe({ shape }: AttemptIdentity, { contents, endMs }: Pick<Wire, 'contents' | 'endMs'>): AttemptFeatures {
  const features = new AttemptFeatures(START_MS, shape.work === 'duration');
  for (const [afterMs, steps] of contents) features.content(START_MS + afterMs, steps);
  features.end(START_MS + endMs);
  return features;
}

function finish(start: AttemptIdentity, wire: Wire): WorkTimeline {
  const tokens = { input: wire.input, cachedInput: null, output: wire.output, reasoning: null };
  const facts = { tokens, worked: true, whole: wire.whole, estimatedPromptTokens: 1000, estimatedStepsPerSecond: 0 };
  return finalTimeline(start.shape, observe(start, wire), { profile: PROFILE, clock: null }, facts);
}

const arbitraryWire = fc
  .record({
    stream: fc.boolean(),
    prefillOnly: fc.boolean(),
    sequences: fc.integer({ min: 1, max: 4 }),
    gaps: fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 9 })), { maxLength: 30 }),
    tailMs: fc.double({ min: 0, max: 5000, noNaN: true }),
    input: fc.option(fc.integer({ min: 0, max: 200_000 }), { nil: null }),
    output: fc.option(fc.integer({ min: 0, max: 4000 }), { nil: null }),
    whole: fc.boolean(),
  })
  .map(({ gaps, tailMs, stream, prefillOnly, sequences, ...wire }) => {
    let afterMs = 0;
    const contents = gaps.map(([gapMs, steps]) => [(afterMs += gapMs), steps] as const);
    return {
      start: identify({ stream, prefillOnly, sequences }),
      wire: { ...wire, contents, endMs: afterMs + tailMs },
    };
  });

/** Every figure of one window that the books are made of, as the given parts publish it. */
function publish(parts: ReturnType<typeof divideSlice>) {
  const n = Array.from({ length: 10 }, () => 0);
  const busy = parts.map(({ timeline, window, within }) => {
    const map = new Uint8Array(125);
    addSequenceMs(n, timeline, window, within);
    addBusyBits(map, timeline, window, within);
    return map;
  });
  const sum = (read: (part: (typeof parts)[number]) => number) => parts.reduce((total, part) => total + read(part), 0);
  const buckets = (name: 's' | 'u' | 'prefillSteps') => n.map((_, b) => sum(({ features }) => features[name][b] ?? 0));
  return {
    n,
    busy,
    scalars: (['p', 'q', 'd', 'k', 'flightMs'] as const).map((name) => sum(({ features }) => features[name])),
    buckets: [buckets('s'), buckets('u'), buckets('prefillSteps')],
  };
}

/** The same attempt with its prompt computed where its answer is. */
function onOnePool(start: AttemptIdentity): AttemptIdentity {
  const { recordId, pool, deployment, startMs, shape, identity, profileSource } = start;
  return { recordId, pool, deployment, startMs, shape, identity, profileSource };
}

describe('the two sides of an attempt', () => {
  it('together are what one pool would have been told, each millisecond on one side, nothing below zero', () => {
    fc.assert(
      fc.property(arbitraryWire, ({ start, wire }) => {
        const timeline = finish(start, wire);
        const { first, last } = windowsOf(timeline);
        for (let window = first; window <= last; window += 1) {
          const part = { window, timeline, features: sliceOf(timeline, window) };
          const sides = divideSlice(start, part);
          const [both, one] = [publish(sides), publish(divideSlice(onOnePool(start), part))];
          expect({ ...both, busy: null }).toEqual({ ...one, busy: null });
          // Of two maps without a common bit the sum of each byte is their union.
          const union = one.busy[0]?.map((_, byte) => both.busy.reduce((sum, map) => sum + (map[byte] ?? 0), 0));
          expect(union).toEqual(one.busy[0]);
          for (const { features, deployment } of sides) {
            const { p, q, d, k, flightMs, s, prefillSteps } = features;
            for (const value of [p, q, d, k, flightMs, ...s]) expect(value).toBeGreaterThanOrEqual(0);
            if (deployment === 'ctx') expect([d, k, s]).toEqual([0, 0, prefillSteps]);
            else expect([p, q, Math.max(...prefillSteps)]).toEqual([0, 0, 0]);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('a stream is on the GPUs of its prefill up to its first token, and on its own from then on', () => {
    const start = identify({});
    const contents = [300, 400, 900].map((afterMs) => [afterMs, 1] as const);
    const timeline = finish(start, { contents, endMs: 1000, input: 1000, output: 3, whole: true });
    expect(handOverMs(start, timeline)).toBe(START_MS + 300);
    const { first } = windowsOf(timeline);
    const sides = divideSlice(start, { window: first, timeline, features: sliceOf(timeline, first) });
    expect(
      sides.map(({ pool, deployment, features: { p, d, flightMs } }) => [pool, deployment, p, d, flightMs]),
    ).toEqual([
      ['pool-p', 'ctx', 1000, 0, 300],
      ['pool-a', 'llama-8b', 0, 1, 450],
    ]);
  });

  it.each([
    ['one cut before its first token', { stream: true }, { contents: [], whole: false, output: null }],
    ['a prompt without an answer', { stream: false, prefillOnly: true }, { contents: [], whole: true, output: 0 }],
  ])('%s is wholly on the GPUs of the prefill', (_name, shape, wire) => {
    const start = identify(shape);
    const timeline = finish(start, { endMs: 600, input: 1000, ...wire });
    const { first } = windowsOf(timeline);
    const sides = divideSlice(start, { window: first, timeline, features: sliceOf(timeline, first) });
    expect(sides.map(({ deployment, features }) => [deployment, features.flightMs])).toEqual([['ctx', 600]]);
  });

  it('before the first token of an open stream everything is on the GPUs of the prefill', () => {
    const start = identify({});
    const features = new AttemptFeatures(START_MS, false);
    const window = Math.floor(START_MS / 1000);
    const timeline = openTimeline(start.shape, features, PROFILE, {
      estimatedPromptTokens: 1000,
      outputSealed: 0,
      estimatedStepsPerSecond: 0,
      queue: null,
      fromMs: window * 1000,
      untilMs: (window + 1) * 1000,
    });
    const sides = divideSlice(start, { window, timeline, features: sliceOf(timeline, window) });
    expect(sides.map(({ deployment, features: { flightMs } }) => [deployment, flightMs])).toEqual([['ctx', 750]]);
  });

  it('an answer that is all there within a millisecond or two has one on each side', () => {
    const start = identify({});
    const timeline = finish(start, { contents: [[1, 9]], endMs: 2, input: 10, output: 9, whole: true });
    const { first } = windowsOf(timeline);
    const sides = divideSlice(start, { window: first, timeline, features: sliceOf(timeline, first) });
    expect(sides.map(({ features }) => features.flightMs)).toEqual([1, 1]);
  });
});

describe('late facts of the two sides', () => {
  it('stay where they were placed, in windows in which nothing else happened too', () => {
    const start = identify({});
    const timeline = finish(start, { contents: [[300, 1]], endMs: 9000, input: 1000, output: 9, whole: true });
    const silent = windowsOf(timeline).first + 5;
    const features = { ...sliceOf(timeline, silent), q: 50, k: 700 };
    expect([features.p, features.d, features.flightMs]).toEqual([0, 0, 0]);
    const sides = divideSlice(start, { window: silent, timeline, features });
    expect(sides.map(({ deployment, features: { q, k } }) => [deployment, q, k])).toEqual([
      ['ctx', 50, 0],
      ['llama-8b', 0, 700],
    ]);
  });

  it('are all placed, those of the answer into windows in which its own GPUs were at work', () => {
    fc.assert(
      fc.property(arbitraryWire, fc.integer({ min: 0, max: 12 }), ({ start, wire }, sealedWindows) => {
        const timeline = finish(start, wire);
        const { first, last } = windowsOf(timeline);
        const from = Math.min(last, first + sealedWindows);
        const sealed = createSealedSums();
        // What was sealed knew nothing of tokens.
        for (let window = first; window < from; window += 1) {
          const slice = sliceOf(timeline, window);
          Object.assign(slice, { p: 0, q: 0, d: 0, k: 0, s: slice.s.map(() => 0), prefillSteps: slice.s.map(() => 0) });
          addSealed(sealed, slice);
        }
        const slices = new Map<number, ReturnType<typeof sliceOf>>();
        for (let window = from; window <= last; window += 1) slices.set(window, sliceOf(timeline, window));
        expect(placeLateBySide(start, timeline, { sealed, slices })).toEqual({ over: false, under: false });
        const placed = createSealedSums();
        for (const slice of slices.values()) addSealed(placed, slice);
        expect(placed).toEqual(totalsOf(timeline));
        const atMs = handOverMs(start, timeline);
        const after = [...slices].filter(([window]) => (window + 1) * 1000 > atMs);
        if (after.length > 0) expect(after.reduce((sum, [, { d }]) => sum + d, 0)).toBe(placed.d);
      }),
      { numRuns: 300 },
    );
  });
});
