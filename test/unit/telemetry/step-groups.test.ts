// Steps of several requests with one forward start are one iteration; what is not sure of it says so.
import { describe, expect, test } from 'vitest';
import type { RequestStep, RequestTiming } from '#telemetry/request-timings.ts';
import { StepGroups } from '#telemetry/step-groups.ts';

const step = (startedAt: number, more: Partial<RequestStep> = {}): RequestStep => ({
  startedAt,
  forwardMs: 5,
  sampleMs: 0.3,
  iteration: null,
  tokens: null,
  batch: null,
  ...more,
});
/** A request that prefilled at the first instant and decoded at the others, counted to `last`. */
const timing = (id: string, startedAt: readonly number[], last: number, more: Partial<RequestTiming> = {}) => {
  const [chunk, ...steps] = startedAt.map((instant) => step(instant));
  const numbers = { firstIteration: last - steps.length, lastIteration: last };
  const rest = { reusedBlocks: 0, missedBlocks: 1, isSpeculative: false };
  return { id, chunks: chunk === undefined ? [] : [chunk], steps, ...numbers, ...rest, ...more };
};

test('members of one batch meet by their forward start, and its time is theirs, once', () => {
  const groups = new StepGroups();
  groups.add(timing('a', [1, 2, 3], 12), 0);
  groups.add(timing('b', [2, 3, 4], 13), 0);
  const group = groups.find(11);
  expect(group).toMatchObject({ startedAt: 2, forwardMs: 5, sampleMs: 0.3, iteration: 11, isNumberSure: true });
  expect([group?.chunks.length, group?.decoders.length, group?.generatedTokens]).toEqual([1, 1, 1]);
  expect(groups.find(12)).toMatchObject({ generatedTokens: 3, isContradictory: false });
});

test('an entry that is answered twice is one member', () => {
  const groups = new StepGroups();
  for (let time = 0; time < 2; time += 1) groups.add(timing('a', [1, 2], 11), 0);
  expect(groups.find(11)?.decoders).toHaveLength(1);
});

describe('numbers', () => {
  test('a request that was paused cannot be counted through, and takes its number from its batch', () => {
    const groups = new StepGroups();
    groups.add(timing('paused', [1, 2, 5], 14, { firstIteration: 10 }), 0);
    expect(groups.find(14)).toBeNull();
    groups.add(timing('other', [5, 6], 15), 0);
    expect(groups.find(14)?.decoders).toHaveLength(1);
    expect(groups.find(14)?.chunks).toHaveLength(1);
  });

  test('chunks before the first token have likely numbers, which give way to sure ones', () => {
    const groups = new StepGroups();
    const chunks = [step(1), step(3), step(4)];
    groups.add(timing('long', [], 21, { chunks, steps: [step(5)], firstIteration: 20, lastIteration: 21 }), 0);
    expect(groups.find(20)).toMatchObject({ startedAt: 4, isNumberSure: true });
    expect(groups.find(18)).toMatchObject({ startedAt: 1, isNumberSure: false });
    // In truth it was left out at instant 2.
    groups.add(timing('other', [1, 2, 3, 4], 20), 0);
    expect(groups.find(17)).toMatchObject({ startedAt: 1, isNumberSure: true, isContradictory: false });
    expect(groups.find(18)).toMatchObject({ startedAt: 2 });
  });

  test('an engine that counts from the first chunk makes them all sure', () => {
    const groups = new StepGroups();
    groups.add(timing('long', [], 21, { chunks: [step(1), step(3)], steps: [step(5)], firstIteration: 19 }), 0);
    expect(groups.find(19)).toMatchObject({ startedAt: 1, isNumberSure: true });
  });

  test('a number that two batches claim is neither’s', () => {
    const groups = new StepGroups();
    groups.add(timing('a', [1, 2], 11), 0);
    groups.add(timing('b', [1.5, 2.5], 11), 0);
    expect([groups.find(10), groups.find(11)]).toEqual([null, null]);
  });

  test('members that disagree on the number, the time or the batch are found out', () => {
    const contradictory = (other: RequestTiming): boolean | undefined => {
      const groups = new StepGroups();
      groups.add(timing('a', [1, 2], 11), 0);
      return groups.add(other, 0).at(-1)?.isContradictory;
    };
    const withStep = (more: Partial<RequestStep>) =>
      timing('b', [0.5], 11, { steps: [step(2, more)], firstIteration: 10 });
    expect(contradictory(withStep({}))).toBe(false);
    expect(contradictory(withStep({ forwardMs: 6 }))).toBe(true);
    expect(contradictory(timing('b', [0.5, 2], 12))).toBe(true);
    const batch = { prefilling: 0, decoding: 2 };
    const groups = new StepGroups();
    groups.add(timing('a', [0.5], 11, { steps: [step(2, { batch })] }), 0);
    const other = { batch: { prefilling: 0, decoding: 3 } };
    const [group] = groups.add(timing('b', [], 11, { steps: [step(2, other)] }), 0);
    expect(group?.isContradictory).toBe(true);
  });
});

describe('bounds', () => {
  test('the oldest groups go, by number of members and by age', () => {
    const groups = new StepGroups();
    for (let request = 0; request < 500; request += 1) {
      const instants = Array.from({ length: 1000 }, (_, index) => 1 + request + index / 1000);
      groups.add(timing(String(request), instants, 1000 * (request + 1)), request);
    }
    expect(groups.size.memberships).toBeLessThanOrEqual(400_000);
    expect(groups.size.memberships).toBeGreaterThan(390_000);
    expect(groups.size.numbers).toBeLessThanOrEqual(400_000);
    groups.add(timing('late', [9999], 1e6), 2e6);
    expect(groups.size).toEqual({ groups: 1, memberships: 1, numbers: 1 });
  });

  test('what was used is gone', () => {
    const groups = new StepGroups();
    const [group] = groups.add(timing('a', [1], 10), 0);
    if (group !== undefined) groups.remove(group);
    expect([groups.find(10), groups.size]).toEqual([null, { groups: 0, memberships: 0, numbers: 0 }]);
  });
});
