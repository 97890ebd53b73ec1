// The horizon: one long request must not hold the books, and what was assumed of it is corrected by what it turned out to be.
import { describe, expect, it } from 'vitest';
import type { AttemptMeter, AttemptStart } from '#domain/metering.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import {
  type AccountingBench,
  createEnd,
  createStart,
  sendContent,
  startBench,
} from '#test/support/accounting-bench.ts';

interface Pair {
  readonly start: AttemptStart;
  readonly meter: AttemptMeter;
}

function begin(bench: AccountingBench, id: string, stream: boolean): Pair {
  const start = createStart(bench.time, id, { stream, team: id, promptBytes: 4000 });
  return { start, meter: bench.accounting.metering.begin(start) };
}

/** A stream at 20 tokens/s and an answer that does not stream at the same rate, for `seconds`; then the frontier is read. */
async function runPair(horizonMs: number, seconds: number) {
  const bench = await startBench({ horizonMs });
  const stream = begin(bench, 'stream', true);
  const whole = begin(bench, 'whole', false);
  for (let step = 0; step < seconds * 20; step += 1) {
    bench.time.advance(50);
    sendContent(bench.time, stream.meter);
    if (step % 20 === 19) await bench.accounting.syncNow();
  }
  const lagSeconds = bench.accounting.status().settlementLagSeconds;
  for (const { start, meter } of [stream, whole]) {
    meter.upstreamBytes(bench.time.monotonicMs());
    void meter.finish(createEnd(bench.time, start, { prompt: 1000, output: seconds * 20 }));
  }
  await bench.pass(6000);
  const { records } = await bench.store.readRecords({ limit: 10 });
  bench.accounting.stop();
  return {
    lagSeconds,
    costs: new Map(records.map((record) => [record.team, costOf(record)])),
    status: bench.accounting.status(),
  };
}

function costOf(record: SettledRecordJson): number {
  return record.charges.reduce((sum, charge) => sum + Number(charge.costNanoUsd), 0);
}

describe('sealing', () => {
  it('an open request holds the frontier no longer than the horizon', async () => {
    const { lagSeconds } = await runPair(10_000, 40);
    expect(lagSeconds).toBeGreaterThanOrEqual(10);
    expect(lagSeconds).toBeLessThanOrEqual(12);
  });

  it('within the horizon the frontier waits for the facts of an open request', async () => {
    const { lagSeconds } = await runPair(30_000, 20);
    expect(lagSeconds).toBeGreaterThanOrEqual(20);
  });

  it('estimates at the horizon and later corrections charge an unstreamed answer what waiting for it would have', async () => {
    const patient = await runPair(600_000, 40);
    const hasty = await runPair(5000, 40);
    expect(hasty.status).toMatchObject({ overEstimates: 0, underEstimates: 0, lateCount: 0 });
    for (const team of ['stream', 'whole']) {
      const waited = patient.costs.get(team) ?? 0;
      expect(waited).toBeGreaterThan(0);
      expect(Math.abs((hasty.costs.get(team) ?? 0) - waited) / waited, team).toBeLessThan(0.03);
    }
  });
});
