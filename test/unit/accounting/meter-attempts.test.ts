// When the journal holds what the data plane reports: at once, or before anything of it leaves.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createEnd, createStart, startBench } from '#test/support/accounting-bench.ts';

async function begin(leavesByTurn: boolean) {
  const bench = await startBench();
  const start = { ...createStart(bench.time, 'one'), leavesByTurn };
  const { metering } = bench.accounting;
  const meter = metering.begin(start);
  const readKinds = () =>
    readdirSync(bench.dir)
      .filter((name) => name.endsWith('.ndjson'))
      .flatMap((name) => readFileSync(join(bench.dir, name), 'utf8').match(/"t":"(?:dispatch|end)"/g) ?? []);
  const end = () => {
    meter.upstreamBytes(bench.time.monotonicMs());
    void meter.finish(createEnd(bench.time, start, { prompt: 10, output: 1 }));
  };
  return { bench, metering, readKinds, end };
}

const [DISPATCH, END] = ['"t":"dispatch"', '"t":"end"'];

test('what leaves at once is in the journal before begin and finish return', async () => {
  const { bench, readKinds, end } = await begin(false);
  expect(readKinds()).toEqual([DISPATCH]);
  end();
  expect(readKinds()).toEqual([DISPATCH, END]);
  bench.accounting.stop();
});

test('what leaves with its turn is in the journal after commit', async () => {
  const { bench, metering, readKinds, end } = await begin(true);
  expect(readKinds()).toEqual([]);
  metering.commit();
  expect(readKinds()).toEqual([DISPATCH]);
  end();
  expect(readKinds()).toEqual([DISPATCH]);
  metering.commit();
  expect(readKinds()).toEqual([DISPATCH, END]);
  bench.accounting.stop();
});
