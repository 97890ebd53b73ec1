// Sequences that a client asked for and its engine did not run: what is paid follows the answer, not the wish.
import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createEnd, createStart, sendContent, startBench, sumMetric } from '#test/support/accounting-bench.ts';

const OUTPUT = 40;

/** What each of two teams pays for the same answer, where one asked for `sequences` and the answer held `answered`. */
async function chargeBoth(
  asked: { readonly sequences: number; readonly answered?: number; readonly promptCount?: number },
  stream: boolean,
): Promise<{ readonly modest: bigint; readonly greedy: bigint }> {
  const bench = await startBench();
  const { time, accounting } = bench;
  await bench.pass(3000);
  const starts = [
    createStart(time, 'modest', { team: 'support', stream }),
    createStart(time, 'greedy', { stream, sequences: asked.sequences, promptCount: asked.promptCount ?? 1 }),
  ];
  const meters = starts.map((start) => accounting.metering.begin(start));
  for (let step = 0; step < OUTPUT; step += 1) {
    time.advance(10);
    if (stream) for (const meter of meters) sendContent(time, meter);
  }
  for (const [index, start] of starts.entries()) {
    const end = createEnd(time, start, { prompt: 100, output: OUTPUT });
    const isGreedy = index === 1 && asked.answered !== undefined;
    void meters[index]?.finish(isGreedy ? { ...end, sequences: asked.answered } : end);
  }
  await bench.pass(10_000);
  accounting.stop();
  rmSync(bench.dir, { recursive: true });
  const paid = (name: string): bigint =>
    sumMetric(
      bench.claims.filter(({ team }) => team === name),
      'costNanoUsd',
    );
  return { modest: paid('support'), greedy: paid('search') };
}

it.each([true, false])(
  'of two equal answers none is cheaper because more was asked for (stream: %s)',
  async (stream) => {
    const { modest, greedy } = await chargeBoth({ sequences: 1000, answered: 1 }, stream);
    expect(modest + greedy).toBeGreaterThan(0n);
    expect(Number(greedy) / Number(modest)).toBeCloseTo(1, 1);
  },
);

it('answers that were given count as they were asked for', async () => {
  const told = await chargeBoth({ sequences: 4, answered: 4 }, true);
  expect(told).toEqual(await chargeBoth({ sequences: 4 }, true));
  expect(told.greedy).not.toBe((await chargeBoth({ sequences: 4, answered: 1 }, true)).greedy);
});

it('of a list of prompts each runs, even where the answer shows fewer', async () => {
  const told = await chargeBoth({ sequences: 3, promptCount: 3, answered: 1 }, true);
  expect(told).toEqual(await chargeBoth({ sequences: 3, promptCount: 3 }, true));
});

/** What is paid for two seconds of work by time beside a stream of tokens. */
async function chargeByTime(sequences: number): Promise<bigint> {
  const bench = await startBench();
  const { time, accounting } = bench;
  await bench.pass(3000);
  const open = createStart(time, 'open', { work: 'duration', sequences });
  const streaming = createStart(time, 'streaming', { team: 'support' });
  const meters = [open, streaming].map((start) => accounting.metering.begin(start));
  for (let step = 0; step < 100; step += 1) {
    time.advance(20);
    for (const meter of meters) sendContent(time, meter);
  }
  void meters[1]?.finish(createEnd(time, streaming, { prompt: 100, output: 100 }));
  await bench.pass(6000);
  accounting.stop();
  rmSync(bench.dir, { recursive: true });
  const own = bench.claims.filter(({ team }) => team === 'search');
  return sumMetric(own, 'costNanoUsd');
}

it('work by time that is still open weighs as one, whatever its request asked for', async () => {
  const one = await chargeByTime(1);
  expect(one).toBeGreaterThan(0n);
  expect(await chargeByTime(1000)).toBe(one);
});
