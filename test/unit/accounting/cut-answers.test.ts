// Answers that were cut, by a hang-up or by our own death: what they truly did, as far as the engine's pace and queue tell.
import { describe, expect, test } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { FirstTokenTimes } from '#accounting/first-token-times.ts';
import { StepClock } from '#accounting/step-clock.ts';
import { trackAttempt } from '#accounting/tracked-attempt.ts';
import { sliceOf, totalsOf, windowsOf } from '#accounting/window-slices.ts';
import { type AttemptShape, finalTimeline } from '#accounting/work-timeline.ts';
import { createStart, PROFILE } from '#test/support/accounting-bench.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

const START_MS = 1_790_000_000_000;
const WHOLE: AttemptShape = {
  work: 'tokens',
  prefillOnly: false,
  stream: false,
  promptBytes: 4000,
  maxTokens: null,
  sequences: 1,
};
const STREAM = { ...WHOLE, stream: true };

/** 100 steps a second and sequence for half a minute. */
const clock = new StepClock();
for (let bucket = 0; bucket < 300; bucket += 1) clock.put(START_MS / 100 + bucket, 10, 100);

const cut = (output: number | null) => ({
  tokens: { input: null, cachedInput: null, output, reasoning: null },
  worked: true,
  whole: false,
  estimatedPromptTokens: 1000,
  estimatedStepsPerSecond: 0,
});

function features(endAfterMs: number, events: readonly number[] = []): AttemptFeatures {
  const wire = new AttemptFeatures(START_MS, false);
  for (const afterMs of events) wire.content(START_MS + afterMs, 1);
  wire.end(START_MS + endAfterMs);
  return wire;
}

const every = (stepMs: number, fromMs: number, untilMs: number): number[] =>
  Array.from({ length: Math.floor((untilMs - fromMs) / stepMs) }, (_, index) => fromMs + index * stepMs);

describe('an answer that does not stream and was cut', () => {
  test('has the tokens that the engine’s pace says it made by then', () => {
    const timeline = finalTimeline(WHOLE, features(10_000), { profile: PROFILE, clock }, cut(null));
    expect(timeline.outputTokens).toBeGreaterThan(980);
    expect(timeline.outputTokens).toBeLessThanOrEqual(1001);
    expect(totalsOf(timeline)).toMatchObject({ p: 1000, prefillSteps: 1 });
  });

  test('has no more than it was allowed, and as many times more as it had sequences', () => {
    const limited = { ...WHOLE, maxTokens: 64 };
    expect(finalTimeline(limited, features(10_000), { profile: PROFILE, clock }, cut(null)).outputTokens).toBe(64);
    const four = { ...WHOLE, sequences: 4 };
    const timeline = finalTimeline(four, features(10_000), { profile: PROFILE, clock }, cut(null));
    expect(timeline.outputTokens).toBeGreaterThan(3900);
  });

  test('has none where nobody shows a pace, rather than a guess', () => {
    const timeline = finalTimeline(WHOLE, features(10_000), { profile: PROFILE, clock: null }, cut(null));
    expect(timeline.outputTokens).toBeLessThanOrEqual(1);
  });

  test('did nothing where it was still behind others in the queue, and a part of its prompt where its turn had just come', () => {
    const behind = { beginsAfterMs: START_MS + 10_000, firstTokenByMs: Number.POSITIVE_INFINITY };
    const waited = finalTimeline(WHOLE, features(10_000), { profile: PROFILE, clock, queue: behind }, cut(null));
    expect(totalsOf(waited)).toEqual({ p: 0, q: 0, d: 0, k: 0, prefillSteps: 0 });
    const turn = { ...behind, beginsAfterMs: START_MS + 9_990 };
    const begun = finalTimeline(WHOLE, features(10_000), { profile: PROFILE, clock, queue: turn }, cut(null));
    expect(begun.prefill?.tokens).toBeGreaterThan(0);
    expect(begun.prefill?.tokens).toBeLessThan(1000);
    expect(begun.prefill?.ended).toBe(false);
    expect(begun.outputTokens).toBeLessThanOrEqual(1);
  });
});

describe('a stream that was cut before it said its count', () => {
  test('is charged for the tokens of the pace where its chunks held several', () => {
    // One event in 50 ms, at a pace of five steps in 50 ms.
    const wire = features(10_000, every(50, 100, 10_000));
    const timeline = finalTimeline(STREAM, wire, { profile: PROFILE, clock }, cut(wire.events));
    expect(wire.events).toBe(198);
    expect(timeline.outputTokens).toBeGreaterThan(960);
    expect(timeline.outputTokens).toBeLessThan(1010);
    expect(timeline.outputBefore(START_MS + 5000)).toBeCloseTo(timeline.outputTokens / 2, -2);
  });

  test('keeps its events where they are its tokens, whatever a pace next to it says in between', () => {
    const wire = features(10_000, every(10, 100, 10_000));
    expect(finalTimeline(STREAM, wire, { profile: PROFILE, clock }, cut(wire.events)).outputTokens).toBe(wire.events);
  });

  test('keeps a count that is not that of its events: the engine or a tokenizer said it', () => {
    const wire = features(10_000, every(50, 100, 10_000));
    expect(finalTimeline(STREAM, wire, { profile: PROFILE, clock }, cut(321)).outputTokens).toBe(321);
  });

  test('did nothing, and never less, where its client left before its turn in the queue came', () => {
    for (const output of [0, null, 3]) {
      for (const behindMs of [10_000, 10_001, 60_000]) {
        const queue = { beginsAfterMs: START_MS + behindMs, firstTokenByMs: Number.POSITIVE_INFINITY };
        const timeline = finalTimeline(STREAM, features(10_000), { profile: PROFILE, clock, queue }, cut(output));
        const { p, q, d, k } = totalsOf(timeline);
        expect(Math.min(p, q, d, k)).toBeGreaterThanOrEqual(0);
        expect(p).toBe(0);
      }
    }
  });

  test('its windows add up to its whole work', () => {
    const wire = features(7321, every(50, 100, 7321));
    const timeline = finalTimeline(STREAM, wire, { profile: PROFILE, clock }, cut(wire.events));
    const { first, last } = windowsOf(timeline);
    let decoded = 0;
    for (let window = first; window <= last; window += 1) decoded += sliceOf(timeline, window).d;
    expect(decoded).toBe(totalsOf(timeline).d);
  });
});

test('nobody behind a stream that was cut in the queue was served before it was gone', () => {
  const time = createVirtualClock(START_MS);
  const { identity, pool, deployment } = createStart(time, 'a');
  const track = (id: string, startMs: number, endMs: number | null) => {
    const wire = new AttemptFeatures(startMs, false);
    if (endMs !== null) wire.end(endMs);
    const start = { recordId: id, pool, deployment, startMs, shape: STREAM, identity, profileSource: 'declared' };
    return trackAttempt(start, wire, 1);
  };
  const times = new FirstTokenTimes();
  times.observe([track('a', START_MS, START_MS + 5000)]);
  expect(times.bounds({ pool, deployment }, START_MS + 1000)?.beginsAfterMs).toBe(START_MS + 5000);
  expect(times.bounds({ pool, deployment }, START_MS - 1000)?.beginsAfterMs).toBe(START_MS - 1000);
  expect(times.bounds({ pool, deployment }, START_MS + 9000)?.beginsAfterMs).toBe(START_MS + 9000);
});
