// Requests whose prompts are computed on other GPUs than their answers, from metering to the store: charged on both, exactly, through kills too.
import { describe, expect, it } from 'vitest';
import type { SettledRecordJson } from '#domain/settlement.ts';
import {
  type AccountingBench,
  createEnd,
  createStart,
  sendContent,
  startBench,
  sumMetric,
} from '#test/support/accounting-bench.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const PREFILL = { pool: 'pool-p', deployment: 'ctx' };
const PRICES = { own: '2500000000', ctx: '3000000000' };

function startPair(horizonMs = 30_000): Promise<AccountingBench> {
  const { effectiveFrom: _, ...own } = createPoolFacts();
  const { effectiveFrom: __, ...ctx } = createPoolFacts({
    pool: PREFILL.pool,
    gpuMillionths: 2_000_000,
    prices: [{ name: 'h200', from: 0, nanoUsdPerGpuHour: PRICES.ctx, source: 'test' }],
    deployments: { ctx: DEPLOYMENT_FACTS },
  });
  return startBench({ horizonMs, pools: [own, ctx] });
}

interface Pace {
  readonly requests: number;
  /** Steps of 100 ms from dispatch to the first token, and from there to the end. */
  readonly prefillSteps: number;
  readonly decodeSteps: number;
  /** After each request: a moment later the next begins. */
  readonly between?: (bench: AccountingBench) => Promise<void>;
  /** In the middle of each answer. */
  readonly midway?: (bench: AccountingBench) => Promise<void>;
}

async function run(bench: AccountingBench, pace: Pace): Promise<readonly SettledRecordJson[]> {
  for (let index = 0; index < pace.requests; index += 1) {
    const isStream = index % 2 === 0;
    const start = createStart(bench.time, `r${index}`, {
      team: index % 3 === 0 ? 'search' : 'support',
      stream: isStream,
      prefillBy: PREFILL,
    });
    const meter = bench.accounting.metering.begin(start);
    for (let step = 0; step < pace.prefillSteps + pace.decodeSteps; step += 1) {
      bench.time.advance(100);
      if (step >= pace.prefillSteps && isStream) sendContent(bench.time, meter);
      if (step % 10 === 9) await bench.accounting.syncNow();
      if (step === pace.prefillSteps + Math.floor(pace.decodeSteps / 2)) await pace.midway?.(bench);
    }
    const outcome = index % 4 === 3 ? 'client_aborted' : 'completed';
    void meter.finish(createEnd(bench.time, start, { prompt: 900, output: pace.decodeSteps, outcome }));
    await bench.pass(1000);
    await pace.between?.(bench);
  }
  await bench.pass(40_000, 1000);
  const { records } = await bench.store.readRecords({ limit: 100 });
  bench.accounting.stop();
  return records.toSorted((a, b) => (a.recordId < b.recordId ? -1 : 1));
}

type Charge = SettledRecordJson['charges'][number];

function sumCharges(records: readonly SettledRecordJson[], isMeant: (charge: Charge) => boolean): bigint {
  return records
    .flatMap(({ charges }) => charges.filter(isMeant))
    .reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd), 0n);
}

async function expectBalanced(bench: AccountingBench, records: readonly SettledRecordJson[]): Promise<void> {
  const books = await bench.store.readBooks({ from: 0, to: 4_000_000_000 });
  for (const [pool, isMeant] of [
    ['pool-a', (charge: Charge) => charge.deployment === undefined],
    ['pool-p', (charge: Charge) => charge.deployment === 'ctx'],
  ] as const) {
    const own = books.filter((book) => book.pool === pool);
    const sum = (metric: 'capacityNanoUsd' | 'chargedNanoUsd' | 'idleNanoUsd' | 'claimedNanoUsd') =>
      own.reduce((total, { metrics }) => total + metrics[metric], 0n);
    expect(sum('chargedNanoUsd'), pool).toBeGreaterThan(0n);
    expect(sum('chargedNanoUsd') + sum('idleNanoUsd'), pool).toBe(sum('capacityNanoUsd'));
    expect(sum('claimedNanoUsd'), pool).toBe(sum('chargedNanoUsd'));
    expect(sumCharges(records, isMeant), pool).toBe(sum('chargedNanoUsd'));
  }
  const cells = await bench.store.readRollups({ from: 0, to: 4_000_000_000 }, 'hour');
  const ctx = cells.filter(({ deployment }) => deployment === 'ctx');
  expect(sumMetric(ctx.map(toText), 'costNanoUsd')).toBe(sumCharges(records, ({ deployment }) => deployment === 'ctx'));
  for (const name of ['requests', 'attempts', 'inputTokens', 'outputTokens'] as const) {
    expect(
      ctx.every(({ metrics }) => metrics[name] === 0n),
      name,
    ).toBe(true);
  }
  const wasted = records.filter(({ outcome }) => outcome !== 'completed');
  expect(sumMetric(ctx.map(toText), 'wastedNanoUsd')).toBe(
    sumCharges(wasted, ({ deployment }) => deployment === 'ctx'),
  );
  expect(sumMetric(cells.map(toText), 'requests')).toBe(BigInt(records.length));
}

function toText({ metrics }: { readonly metrics: Readonly<Record<string, bigint>> }) {
  return { metrics: Object.fromEntries(Object.entries(metrics).map(([name, value]) => [name, String(value)])) };
}

describe('prompts computed on GPUs of their own', () => {
  it('each request is charged on both, in each hour once per deployment at its price, and both pools balance to the nanodollar', async () => {
    const bench = await startPair();
    const records = await run(bench, { requests: 8, prefillSteps: 4, decodeSteps: 30 });
    expect(records).toHaveLength(8);
    for (const { charges, deployment } of records) {
      expect(deployment).toBe('llama-8b');
      const seen = charges.map((charge) => [charge.deployment, charge.nanoUsdPerGpuHour]);
      expect(seen).toEqual([
        [undefined, PRICES.own],
        ['ctx', PRICES.ctx],
      ]);
      expect(
        charges.map(({ prefillNanoUsd, decodeNanoUsd }) => [prefillNanoUsd !== '0', decodeNanoUsd !== '0']),
      ).toEqual([
        [false, true],
        [true, false],
      ]);
    }
    await expectBalanced(bench, records);
  });

  it('a process killed again and again settles finished requests to the nanodollar as one that never was', async () => {
    const pace = { requests: 6, prefillSteps: 3, decodeSteps: 14 };
    const calm = await startPair();
    const expected = await run(calm, pace);
    const bench = await startPair();
    const records = await run(bench, { ...pace, between: (killed) => killed.restart(0) });
    expect(records.map(({ recordId, charges }) => ({ recordId, charges }))).toEqual(
      expected.map(({ recordId, charges }) => ({ recordId, charges })),
    );
    await expectBalanced(bench, records);
  });

  it('work without tokens is wholly on the own GPUs', async () => {
    const bench = await startPair();
    const start = createStart(bench.time, 'r', { work: 'duration', prefillBy: PREFILL });
    const meter = bench.accounting.metering.begin(start);
    bench.time.advance(1500);
    void meter.finish(createEnd(bench.time, start, { prompt: null, output: null }));
    await bench.pass(8000);
    const { records } = await bench.store.readRecords({ limit: 2 });
    bench.accounting.stop();
    expect(records.map(({ charges }) => charges.map(({ deployment }) => deployment))).toEqual([[undefined]]);
  });

  it('answers cut by a kill keep what both sides were charged before it, and the books balance', async () => {
    const bench = await startPair(3000);
    const records = await run(bench, {
      requests: 4,
      prefillSteps: 10,
      decodeSteps: 120,
      midway: (killed) => killed.restart(2000),
    });
    expect(records.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 4 }, () => 'interrupted'));
    for (const { charges } of records) {
      expect(charges.map(({ deployment }) => deployment)).toContain('ctx');
      for (const { deployment, nanoUsdPerGpuHour } of charges) {
        expect(nanoUsdPerGpuHour).toBe(deployment === 'ctx' ? PRICES.ctx : PRICES.own);
      }
    }
    await expectBalanced(bench, records);
  });
});
