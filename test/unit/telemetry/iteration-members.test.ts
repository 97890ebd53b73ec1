// When an iteration's members are known, and what it then amounts to; engines as a whole: test/model/telemetry.
import { describe, expect, test } from 'vitest';
import { IterationMembers } from '#telemetry/iteration-members.ts';
import type { IterationRow } from '#telemetry/iteration-rows.ts';
import type { RequestStep, RequestTiming } from '#telemetry/request-timings.ts';

const FORWARD_MS = [5, 9, 13, 5.1, 5.3, 5.2, 5.05, 5.15, 5.25];
/** One request after another, each of two, three or four iterations, the first of which prefills. */
const REQUESTS = Array.from({ length: 21 }, (_, index) => ({
  first: 3 + 9 * Math.floor(index / 3) + (([0, 2, 5] as const)[index % 3] ?? 0),
  steps: 1 + (index % 3),
}));
const rowOf = (iteration: number): IterationRow => {
  const prefills = REQUESTS.some(({ first }) => first === iteration);
  return {
    iteration,
    writtenMs: null,
    gpuMs: null,
    forwardMs: FORWARD_MS[iteration % FORWARD_MS.length] ?? 5,
    prefillTokens: prefills ? 40 : 0,
    prefilling: prefills ? 1 : 0,
    decoding: prefills ? 0 : 1,
    cachedTokens: null,
    blockTokens: 32,
  };
};
const stepOf = (iteration: number, more: Partial<RequestStep>): RequestStep => ({
  startedAt: 5000 + iteration / 100,
  forwardMs: rowOf(iteration).forwardMs,
  sampleMs: 0.3,
  iteration: null,
  tokens: null,
  batch: null,
  ...more,
});
type Request = (typeof REQUESTS)[number];
const timingOf = (
  { first, steps }: Request,
  more: Partial<RequestTiming> = {},
  step: Partial<RequestStep> = {},
): RequestTiming => ({
  id: String(first),
  chunks: [stepOf(first, step)],
  steps: Array.from({ length: steps }, (_, index) => stepOf(first + 1 + index, step)),
  firstIteration: first,
  lastIteration: first + steps,
  reusedBlocks: 2,
  missedBlocks: 2,
  isSpeculative: false,
  ...more,
});
const ROWS = Array.from({ length: 70 }, (_, index) => rowOf(index));
/** Rows and entries at once, and what is known when no row waits any more. */
const learn = (change: (request: Request) => RequestTiming, rows: readonly IterationRow[] = ROWS) => {
  const members = new IterationMembers();
  const known = [...members.take(rows, REQUESTS.map(change), 0), ...members.take([], [], 130_000)];
  return { members, known };
};

describe('one iteration', () => {
  test('takes forward plus sampling, once; its prompt lies on what was cached and its step on both', () => {
    const { known } = learn((request) => timingOf(request));
    const find = (number: number) => known.find(({ iteration }) => iteration === number);
    // 40 tokens on two blocks of 32, then 104 and those generated.
    expect(find(8)).toMatchObject({ work: [1, 40, 40 * (2 * 64 + 40), 0, 0], members: 1 });
    expect(find(9)).toMatchObject({ work: [1, 0, 0, 1, 105], members: 1, gpuMs: 5 + 0.3 });
    expect(find(11)).toMatchObject({ work: [1, 0, 0, 1, 107], members: 1, gpuMs: 13 + 0.3 });
    expect(known).toHaveLength(63);
  });

  test('is known without the row’s time: it is the entry’s', () => {
    const rows = ROWS.map((row) => ({ ...row, forwardMs: null }));
    expect(learn((request) => timingOf(request), rows).known).toHaveLength(63);
  });

  test.each<[string, (request: Request) => RequestTiming]>([
    ['nobody measured', (request) => timingOf(request, {}, { forwardMs: null })],
    ['whose step may have made several tokens', (request) => timingOf(request, { isSpeculative: true })],
    ['of a prompt prefilled elsewhere', (request) => timingOf(request, { chunks: [] })],
    ['of a prompt whose cached blocks nobody tells', (request) => timingOf(request, { reusedBlocks: null })],
    ['whose time is not the row’s', (request) => timingOf(request, {}, { forwardMs: 7.7 })],
    ['whose stated batch is larger', (request) => timingOf(request, {}, { batch: { prefilling: 1, decoding: 1 } })],
    ['whose chunk states other tokens', (request) => timingOf(request, {}, { tokens: 39 })],
  ])('%s is not known', (_what, change) => {
    expect(learn(change).known.filter(({ work }) => work[3] === 1)).toEqual([]);
  });

  test('with a member that nobody names, as a health probe that was cut off, is not known', () => {
    const rows = ROWS.map((row) => ({ ...row, decoding: row.decoding + 1 }));
    expect(learn((request) => timingOf(request), rows).known).toEqual([]);
  });

  test('that several rows number is not known: ranks or micro-batches', () => {
    expect(
      learn(
        (request) => timingOf(request),
        ROWS.flatMap((row) => [row, row]),
      ).known,
    ).toEqual([]);
  });

  test('of an engine that was started again is not taken for one of before', () => {
    const { members } = learn((request) => timingOf(request));
    const again = { id: 'again', steps: [] };
    const before = timingOf({ first: 66, steps: 1 }, again);
    expect(members.take(ROWS.slice(0, 10), [before], 131_000)).toEqual([]);
    expect(members.take([], [], 300_000)).toEqual([]);
    expect(members.size.rows).toBe(10);
  });
});
