// Work in slices: the same result as at once, with turns of the event loop in between.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachInSteps, joinInSteps, runSliced, runWhole, stringifyInSteps } from '#accounting/sliced-work.ts';

test('the parts of an object join to exactly its JSON', () => {
  const value = fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.array(fc.jsonValue(), { maxLength: 60 }));
  fc.assert(
    fc.property(fc.dictionary(fc.string(), value, { noNullPrototype: true }), (object) => {
      expect(runWhole(joinInSteps(stringifyInSteps(object)))).toBe(JSON.stringify(object));
    }),
  );
});

test('every item is visited once and in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { maxLength: 100 }), (items) => {
      const seen: number[] = [];
      runWhole(eachInSteps(items, (item) => seen.push(item)));
      expect(seen).toEqual(items);
    }),
  );
});

test('others have their turn after each slice of a millisecond', async () => {
  let nowMs = 0;
  let turns = 0;
  const count = (): void => {
    turns += 1;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  function* work(): Generator<undefined, string, undefined> {
    for (let step = 0; step < 30; step += 1) {
      nowMs += 0.1;
      yield;
    }
    return 'done';
  }
  await expect(runSliced(work(), { monotonicMs: () => nowMs })).resolves.toBe('done');
  clearImmediate(immediate);
  expect(turns).toBeGreaterThanOrEqual(2);
  expect(turns).toBeLessThanOrEqual(4);
});

test('an error inside the work is the caller’s', async () => {
  function* work(): Generator<undefined, never, undefined> {
    yield;
    throw new RangeError('no');
  }
  await expect(runSliced(work(), { monotonicMs: () => 0 })).rejects.toThrow(RangeError);
});
