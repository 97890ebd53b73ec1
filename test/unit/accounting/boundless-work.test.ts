// Work without measure, as a client may ask for or an engine may say: it never takes the books of a window away from the others in it.
import { rmSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createEnd, createStart, startBench, sumMetric } from '#test/support/accounting-bench.ts';

/** What a team pays for one request of a second, and what is charged in all, beside another request of 100 ms. */
async function chargeBeside(
  other: { readonly sequences: number; readonly prompt: number | null; readonly output: number | null } | null,
): Promise<{ readonly neighbour: bigint; readonly all: bigint }> {
  const bench = await startBench();
  const { time, accounting } = bench;
  await bench.pass(3000);
  const start = createStart(time, 'neighbour', { team: 'support', stream: false });
  const meter = accounting.metering.begin(start);
  time.advance(300);
  const odd = createStart(time, 'odd', { stream: false, sequences: other?.sequences ?? 1 });
  const oddMeter = other === null ? null : accounting.metering.begin(odd);
  time.advance(100);
  if (other !== null) {
    const outcome = other.prompt === null ? 'upstream_error' : 'completed';
    void oddMeter?.finish(createEnd(time, odd, { prompt: other.prompt, output: other.output, outcome }));
  }
  time.advance(600);
  meter.upstreamBytes(time.monotonicMs());
  void meter.finish(createEnd(time, start, { prompt: 1000, output: 50 }));
  await bench.pass(40_000);
  accounting.stop();
  rmSync(bench.dir, { recursive: true });
  const own = bench.claims.filter(({ team }) => team === 'support');
  return { neighbour: sumMetric(own, 'costNanoUsd'), all: sumMetric(bench.claims, 'costNanoUsd') };
}

const HUGE = Number.MAX_SAFE_INTEGER;

it('a refused request that asked for any number of sequences changes nothing for the others of its second', async () => {
  const alone = await chargeBeside(null);
  const beside = await chargeBeside({ sequences: HUGE, prompt: null, output: null });
  expect(alone.neighbour).toBeGreaterThan(0n);
  expect(beside).toEqual(alone);
});

it.each([
  ['ran any number of sequences', { sequences: HUGE, prompt: 10, output: 5 }],
  ['read more than any model can', { sequences: 1, prompt: HUGE, output: 5 }],
  ['wrote more than any model can', { sequences: 1, prompt: 10, output: HUGE }],
])('an engine that says a request %s leaves no second uncharged', async (_what, other) => {
  const alone = await chargeBeside(null);
  const beside = await chargeBeside(other);
  expect(beside.all).toBeGreaterThanOrEqual(alone.all);
});

it('hundreds of answers without measure in one second leave it charged, and the books whole', async () => {
  const bench = await startBench();
  const { time, accounting } = bench;
  await bench.pass(3000);
  const starts = Array.from({ length: 700 }, (_, index) => createStart(time, `odd-${index}`, { stream: false }));
  const meters = starts.map((start) => accounting.metering.begin(start));
  time.advance(100);
  for (const [index, start] of starts.entries()) {
    void meters[index]?.finish(createEnd(time, start, { prompt: 2 ** 31 - 1, output: 1 }));
  }
  await bench.pass(10_000);
  accounting.stop();
  rmSync(bench.dir, { recursive: true });
  const charged = sumMetric(bench.claims, 'costNanoUsd');
  expect(charged).toBeGreaterThan(0n);
  expect(charged).toBe(sumMetric(bench.books, 'chargedNanoUsd'));
});
