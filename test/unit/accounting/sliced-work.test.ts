// Work in slices: the same result as at once, with turns of the event loop in between.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { eachInSteps, gatherInSteps, runSliced, runWhole, stringifyInSteps } from '#accounting/sliced-work.ts';

test('the parts of an object join to exactly its JSON', () => {
  const value = fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.array(fc.jsonValue(), { maxLength: 60 }));
  fc.assert(
    fc.property(fc.dictionary(fc.string(), value, { noNullPrototype: true }), (object) => {
      expect(runWhole(gatherInSteps(stringifyInSteps(object))).join('')).toBe(JSON.stringify(object));
    }),
  );
});

test('short parts are gathered to a few, of which none is much longer than the longest', () => {
  const parts = fc.array(
    fc.integer({ min: 0, max: 9000 }).map((length) => 'x'.repeat(length)),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(parts, (list) => {
      const gathered = runWhole(gatherInSteps(list));
      expect(gathered.join('')).toBe(list.join(''));
      expect(gathered.every(({ length }) => length < 32 * 1024 + 9000)).toBe(true);
      expect(gathered.slice(0, -1).every(({ length }) => length >= 32 * 1024)).toBe(true);
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

/** Work of so many steps. */
function* workOf(steps: number, doStep: () => void): Generator<undefined, string, undefined> {
  for (let step = 0; step < steps; step += 1) {
    doStep();
    yield;
  }
  return 'done';
}

/** The turns that others have meanwhile, each of `turnMs`. */
async function countTurns(options: { steps: number; stepMs: number; turnMs: number }): Promise<number> {
  let nowMs = 0;
  let turns = 0;
  const count = (): void => {
    turns += 1;
    nowMs += options.turnMs;
    immediate = setImmediate(count);
  };
  let immediate = setImmediate(count);
  const work = workOf(options.steps, () => (nowMs += options.stepMs));
  await expect(runSliced(work, { monotonicMs: () => nowMs })).resolves.toBe('done');
  clearImmediate(immediate);
  return turns;
}

test('others have their turn after each quarter of a millisecond', async () => {
  const turns = await countTurns({ steps: 40, stepMs: 0.05, turnMs: 0.01 });
  expect(turns).toBeGreaterThanOrEqual(7);
  expect(turns).toBeLessThanOrEqual(10);
});

test('where the others take long, the work takes a quarter of the time, so that it does not fall behind', async () => {
  // 30 ms of work beside turns of 9 ms: slices of 3 ms.
  const turns = await countTurns({ steps: 60, stepMs: 0.5, turnMs: 9 });
  expect(turns).toBeGreaterThanOrEqual(8);
  expect(turns).toBeLessThanOrEqual(11);
});

test('a long pause of the process, or other work in slices, earns it four milliseconds at most', async () => {
  const turns = await countTurns({ steps: 40, stepMs: 1, turnMs: 60_000 });
  expect(turns).toBeGreaterThanOrEqual(9);
  expect(turns).toBeLessThanOrEqual(12);
});

test('an error inside the work is the caller’s', async () => {
  function* work(): Generator<undefined, never, undefined> {
    yield;
    throw new RangeError('no');
  }
  await expect(runSliced(work(), { monotonicMs: () => 0 })).rejects.toThrow(RangeError);
});
