// The drift alarm: raised by what lasts, not by what passes, and taken back only when the engine is really back.
import { expect, test } from 'vitest';
import { createDrift, driftOf, type DriftState, parseDrift, watchDrift } from '#attribution/drift.ts';

function watch(state: DriftState, ratio: number, windows: number): DriftState {
  let next = state;
  for (let window = 0; window < windows; window += 1) {
    next = watchDrift(next, { busyMs: 1000 * ratio, modelledMs: 1000, windows: 1 });
  }
  return next;
}

test('an engine that runs as its profile says raises no alarm, nor one that is 12 % off for hours', () => {
  expect(watch(createDrift('p'), 1, 5000).alarmed).toBe(false);
  const slow = watch(createDrift('p'), 1.12, 5000);
  expect(slow.alarmed).toBe(false);
  expect(driftOf(slow)).toBeCloseTo(0.12, 6);
});

test.each([1.2, 0.8])('a departure to %d of the modelled time is told within four minutes of work', (ratio) => {
  const state = watch(watch(createDrift('p'), 1, 1000), ratio, 240);
  expect(state.alarmed).toBe(true);
});

test('half a minute of slow windows is no drift', () => {
  expect(watch(watch(createDrift('p'), 1, 1000), 2, 25).alarmed).toBe(false);
});

test('the alarm goes when the departure is below 10 %, not when it is just below 15 %', () => {
  const alarmed = watch(createDrift('p'), 1.3, 300);
  expect(alarmed.alarmed).toBe(true);
  expect(watch(alarmed, 1.13, 2000).alarmed).toBe(true);
  expect(watch(alarmed, 1.05, 2000).alarmed).toBe(false);
});

test('nothing is said of the first minute', () => {
  expect(driftOf(watch(createDrift('p'), 3, 59))).toBeNull();
  expect(driftOf(watch(createDrift('p'), 3, 60))).toBeCloseTo(2, 6);
});

test('windows told at once and one by one come to nearly the same', () => {
  const together = watchDrift(watch(createDrift('p'), 1, 300), { busyMs: 12_000, modelledMs: 10_000, windows: 10 });
  expect(driftOf(together)).toBeCloseTo(driftOf(watch(watch(createDrift('p'), 1, 300), 1.2, 10)) ?? 0, 2);
});

test('a state comes back from JSON, and what is none is none', () => {
  const state = watch(createDrift('p'), 1.3, 90);
  expect(parseDrift(JSON.parse(JSON.stringify(state)))).toEqual(state);
  for (const json of [null, 3, {}, { ...state, busyMs: -1 }, { ...state, windows: 'x' }, { ...state, alarmed: 1 }]) {
    expect(parseDrift(json)).toBeNull();
  }
});
