// What streams show of an engine's pace and queue, and how the tokens of answers that do not stream are dated by it.
import { assert, double, integer, property, tuple, array } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AttemptFeatures } from '#accounting/attempt-features.ts';
import { FirstTokenTimes } from '#accounting/first-token-times.ts';
import { StepClock, StepClocks } from '#accounting/step-clock.ts';
import { trackAttempt, type TrackedAttempt } from '#accounting/tracked-attempt.ts';
import { sliceOf, totalsOf, windowsOf } from '#accounting/window-slices.ts';
import { type AttemptShape, finalTimeline, openTimeline } from '#accounting/work-timeline.ts';
import { createStart, PROFILE } from '#test/support/accounting-bench.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

const START_MS = 1_790_000_000_000;
const WHOLE: AttemptShape = {
  work: 'tokens',
  prefillOnly: false,
  stream: false,
  promptBytes: 400,
  maxTokens: null,
  sequences: 1,
};

/** A tracked attempt that streams one event every `everyMs` from `firstAfterMs` on; its count of tokens, where it has ended. */
function stream(
  id: string,
  wire: { readonly startMs: number; readonly firstAfterMs: number; readonly everyMs: number; readonly events: number },
  output: number | null = null,
): TrackedAttempt {
  const time = createVirtualClock(wire.startMs);
  const { identity, pool, deployment } = createStart(time, id);
  const features = new AttemptFeatures(wire.startMs, false);
  for (let event = 0; event < wire.events; event += 1) {
    features.content(wire.startMs + wire.firstAfterMs + event * wire.everyMs, 1);
  }
  const shape = { ...WHOLE, stream: true };
  const attempt = trackAttempt(
    { recordId: id, pool, deployment, startMs: wire.startMs, shape, identity, profileSource: 'declared' },
    features,
    1,
  );
  if (output === null) return attempt;
  features.end(wire.startMs + wire.firstAfterMs + (wire.events - 1) * wire.everyMs);
  attempt.final = {
    tokens: { input: 100, cachedInput: 0, output, reasoning: null },
    worked: true,
    whole: true,
    estimatedPromptTokens: 100,
    estimatedStepsPerSecond: 0,
  };
  return attempt;
}

/** One that waits for an answer that does not stream: what makes a clock needed. */
function whole(id: string, startMs: number): TrackedAttempt {
  const time = createVirtualClock(startMs);
  const { identity, pool, deployment } = createStart(time, id, { stream: false });
  return trackAttempt(
    { recordId: id, pool, deployment, startMs, shape: WHOLE, identity, profileSource: 'declared' },
    new AttemptFeatures(startMs, false),
    1,
  );
}

describe('the pace of an engine', () => {
  const sealing = { sealedThrough: START_MS / 1000 - 1, to: START_MS / 1000 + 1 };

  test('is the steps its streams made per ms, each chunk holding as many tokens as the engine counted', () => {
    const clocks = new StepClocks();
    const streams = [
      stream('a', { startMs: START_MS, firstAfterMs: 5, everyMs: 40, events: 51 }, 201),
      stream('b', { startMs: START_MS, firstAfterMs: 5, everyMs: 10, events: 201 }, 201),
      whole('w', START_MS),
    ];
    clocks.observe(streams, sealing);
    const curve = clocks.find('pool-a', 'llama-8b')?.curve(START_MS + 500, START_MS + 1500);
    expect(curve?.stepsBefore(START_MS + 1500)).toBeCloseTo(100, -0.5);
    expect(curve?.stepsBefore(START_MS + 1000)).toBeCloseTo(50, -0.5);
  });

  test('is not kept where every answer streams', () => {
    const clocks = new StepClocks();
    clocks.observe([stream('a', { startMs: START_MS, firstAfterMs: 5, everyMs: 10, events: 100 }, 100)], sealing);
    expect(clocks.find('pool-a', 'llama-8b')).toBeNull();
  });

  test('goes on where nobody streamed, and is null where nobody ever did', () => {
    const clock = new StepClock();
    expect(clock.curve(START_MS, START_MS + 1000)).toBeNull();
    clock.put(START_MS / 100, 10, 100);
    expect(clock.curve(START_MS, START_MS + 1000)?.stepsBefore(START_MS + 1000)).toBeCloseTo(100, 9);
    expect(clock.curve(START_MS + 100_000, START_MS + 101_000)).toBeNull();
    expect(clock.curve(START_MS, START_MS)).toBeNull();
  });

  test('instants and steps are each other’s inverse, and the curve never falls', () => {
    assert(
      property(
        array(tuple(double({ min: 1, max: 50, noNaN: true }), integer({ min: 30, max: 400 })), {
          minLength: 1,
          maxLength: 40,
        }),
        double({ min: 0, max: 1, noNaN: true }),
        (buckets, part) => {
          const clock = new StepClock();
          for (const [index, [steps, ms]] of buckets.entries()) clock.put(START_MS / 100 + index, steps, ms);
          const toMs = START_MS + buckets.length * 100 - 13;
          const curve = clock.curve(START_MS + 7, toMs);
          if (curve === null) throw new Error('a pace is known');
          const total = curve.stepsBefore(toMs);
          const instant = curve.instantBefore(part * total);
          expect(total - curve.stepsBefore(instant)).toBeCloseTo(part * total, 3);
          for (let atMs = START_MS; atMs < toMs; atMs += 37) {
            expect(curve.stepsBefore(atMs + 37)).toBeGreaterThanOrEqual(curve.stepsBefore(atMs));
          }
        },
      ),
    );
  });
});

describe('a whole answer dated by the pace', () => {
  const ended = (endAfterMs: number): AttemptFeatures => {
    const features = new AttemptFeatures(START_MS, false);
    features.bytes(START_MS + endAfterMs);
    features.end(START_MS + endAfterMs);
    return features;
  };
  const facts = (output: number) => ({
    tokens: { input: 100, cachedInput: 0, output, reasoning: null },
    worked: true,
    whole: true,
    estimatedPromptTokens: 100,
    estimatedStepsPerSecond: 0,
  });
  const steady = new StepClock();
  for (let bucket = 0; bucket < 300; bucket += 1) steady.put(START_MS / 100 + bucket, 10, 100);

  test('waited in the queue as long as its tokens do not account for', () => {
    const timeline = finalTimeline(WHOLE, ended(20_000), { profile: PROFILE, clock: steady }, facts(1001));
    // 1000 steps at 10 ms take 10 s: the first token came at 10 s, and the wait before it is no work.
    expect(timeline.prefill?.toMs).toBeCloseTo(START_MS + 10_000, 3);
    expect(timeline.outputBefore(START_MS + 9_900)).toBe(0);
    expect(timeline.outputBefore(START_MS + 15_000)).toBeCloseTo(501, -0.5);
    expect(timeline.memberFromMs).toBeGreaterThan(START_MS + 9_900);
  });

  test('has more of its tokens where the engine stepped faster', () => {
    const uneven = new StepClock();
    for (let bucket = 0; bucket < 100; bucket += 1) uneven.put(START_MS / 100 + bucket, bucket < 50 ? 5 : 15, 100);
    const timeline = finalTimeline(WHOLE, ended(10_000), { profile: PROFILE, clock: uneven }, facts(990));
    expect(timeline.outputBefore(START_MS + 5000)).toBeLessThan(260);
  });

  test('is not dated by a moment of pace: where most of its time shows none, its first token is assumed as without neighbours', () => {
    const moment = new StepClock();
    moment.put(START_MS / 100 + 3, 20, 100);
    const alone = finalTimeline(WHOLE, ended(10_000), { profile: PROFILE, clock: null }, facts(500));
    const timeline = finalTimeline(WHOLE, ended(10_000), { profile: PROFILE, clock: moment }, facts(500));
    expect(timeline.prefill?.toMs).toBe(alone.prefill?.toMs);
    // 20 of its steps fall into the bucket that is known, the others evenly into the rest.
    expect(timeline.outputBefore(START_MS + 400) - timeline.outputBefore(START_MS + 300)).toBeCloseTo(20, -0.5);
    expect(timeline.outputBefore(START_MS + 5000)).toBeCloseTo(alone.outputBefore(START_MS + 5000), -1.3);
  });

  test('its windows add up to its whole work, and without a pace it is spread evenly', () => {
    for (const clock of [steady, null]) {
      const timeline = finalTimeline(WHOLE, ended(7321), { profile: PROFILE, clock }, facts(655));
      const { first, last } = windowsOf(timeline);
      const sums = { p: 0, q: 0, d: 0, k: 0, prefillSteps: 0 };
      for (let window = first; window <= last; window += 1) {
        const slice = sliceOf(timeline, window);
        sums.p += slice.p;
        sums.q += slice.q;
        sums.d += slice.d;
        sums.k += slice.k;
        sums.prefillSteps += slice.prefillSteps.reduce((total, count) => total + count, 0);
      }
      expect(sums).toEqual(totalsOf(timeline));
      expect(sums.d).toBe(654);
    }
  });
});

describe('the queue by its neighbours', () => {
  test('a request begins after the stream before it had its first token, and has its own before the stream after it', () => {
    const times = new FirstTokenTimes();
    const before = stream('a', { startMs: START_MS, firstAfterMs: 8000, everyMs: 10, events: 3 });
    const after = stream('b', { startMs: START_MS + 2000, firstAfterMs: 7000, everyMs: 10, events: 3 });
    times.observe([before, after]);
    expect(times.bounds({ pool: 'pool-a', deployment: 'llama-8b' }, START_MS + 1000)).toEqual({
      beginsAfterMs: START_MS + 8000,
      firstTokenByMs: START_MS + 9000,
    });
    expect(times.bounds({ pool: 'pool-b', deployment: 'llama-8b' }, START_MS)).toBeNull();
  });

  test('while a stream before it waits, a request waits too and its windows cost nothing', () => {
    const times = new FirstTokenTimes();
    const served = stream('a', { startMs: START_MS - 5000, firstAfterMs: 100, everyMs: 10, events: 3 });
    const waiting = stream('b', { startMs: START_MS, firstAfterMs: 0, everyMs: 10, events: 0 });
    times.observe([served, waiting]);
    const queue = times.bounds({ pool: 'pool-a', deployment: 'llama-8b' }, START_MS + 500);
    expect(queue).toEqual({ beginsAfterMs: Infinity, firstTokenByMs: Infinity });
    const window = START_MS / 1000 + 3;
    const timeline = openTimeline(WHOLE, new AttemptFeatures(START_MS + 500, false), PROFILE, {
      estimatedPromptTokens: 1000,
      outputSealed: 0,
      estimatedStepsPerSecond: 50,
      queue,
      fromMs: window * 1000,
      untilMs: (window + 1) * 1000,
    });
    expect(sliceOf(timeline, window)).toMatchObject({ p: 0, d: 0, flightMs: 1000 });
  });

  test('first tokens of attempts that were sealed since are remembered', () => {
    const times = new FirstTokenTimes();
    times.observe([stream('a', { startMs: START_MS, firstAfterMs: 3000, everyMs: 10, events: 3 })]);
    times.observe([]);
    expect(times.bounds({ pool: 'pool-a', deployment: 'llama-8b' }, START_MS + 10)?.beginsAfterMs).toBe(
      START_MS + 3000,
    );
  });
});
