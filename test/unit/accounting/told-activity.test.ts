// What one process is told of the GPUs holds for the work of all: through publications alone, on the real accounting plane and virtual time.
import { rmSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { DeviceActivity } from '#accounting/device-activity.ts';
import { type AccountingBench, createEnd, createStart, startBench } from '#test/support/accounting-bench.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

const HOUR_MS = 3_600_000;
/** The pool's hour: one GPU at 2.50 dollars. */
const HOUR_NANO_USD = 2_500_000_000n;
const everything = { from: 0, to: Number.MAX_SAFE_INTEGER };

let benches: AccountingBench[] = [];
afterEach(() => {
  for (const { accounting, dir } of benches) {
    accounting.stop();
    rmSync(dir, { recursive: true, force: true });
  }
  benches = [];
});

/** Two processes on one store: the first works, the second is told of the GPUs. They begin ten minutes into an hour. */
async function startTwo() {
  const time = createVirtualClock(Math.ceil(1_790_000_000_000 / HOUR_MS) * HOUR_MS + 600_000);
  const memory = new MemorySettlementStore({ now: () => time.epochMs() });
  const activity = new DeviceActivity();
  const worker = await startBench({ time, memory });
  const teller = await startBench({ time, memory, activity });
  benches = [worker, teller];
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 500) {
      time.advance(500);
      for (const { accounting } of benches) await accounting.syncNow();
    }
  };
  return { time, memory, activity, worker, pass };
}

/** Sums of the books, checked against each other. */
async function sumBooks(memory: MemorySettlementStore) {
  const books = await memory.readBooks(everything);
  const sum = (metric: keyof (typeof books)[number]['metrics']) =>
    books.reduce((total, { metrics }) => total + metrics[metric], 0n);
  expect(sum('capacityNanoUsd') - sum('chargedNanoUsd') - sum('idleNanoUsd') - sum('unmeteredNanoUsd')).toBe(0n);
  return sum;
}

describe('busy time', () => {
  test('of a process that only works is what the other was told by the engine', async () => {
    const { time, memory, activity, worker, pass } = await startTwo();
    await pass(2000);
    const start = createStart(time, 'r1');
    const meter = worker.accounting.metering.begin(start);
    for (let second = 0; second < 6; second += 1) {
      const fromMs = time.epochMs();
      meter.content(time.monotonicMs(), 1);
      await pass(1000);
      // Of each second the engine worked 400 ms.
      activity.cover({ pool: 'pool-a', source: 'engine', fromMs, toMs: fromMs + 1000, busyMs: 400 });
    }
    meter.content(time.monotonicMs(), 1);
    await meter.finish(createEnd(time, start, { prompt: 900, output: 7 }));
    await pass(20_000);
    const sum = await sumBooks(memory);
    expect(sum('inFlightMs')).toBe(6000n);
    expect(sum('busyMs')).toBe(2400n);
    expect([sum('engineWindows'), sum('inFlightWindows')]).toEqual([6n, 0n]);
    expect(sum('claimedNanoUsd')).toBe(sum('chargedNanoUsd'));
    const { records } = await memory.readRecords({ limit: 10 });
    const charged = records.flatMap(({ charges }) => charges.map(({ costNanoUsd }) => BigInt(costNanoUsd)));
    expect(charged.reduce((total, cost) => total + cost, 0n)).toBe(sum('chargedNanoUsd'));
  });

  test('is read from requests again once nobody is told any more', async () => {
    const { time, memory, worker, pass } = await startTwo();
    const start = createStart(time, 'r1');
    const meter = worker.accounting.metering.begin(start);
    await pass(1000);
    meter.content(time.monotonicMs(), 1);
    await meter.finish(createEnd(time, start, { prompt: 900, output: 1 }));
    await pass(20_000);
    const sum = await sumBooks(memory);
    expect([sum('busyMs'), sum('engineWindows')]).toEqual([sum('inFlightMs'), 0n]);
  });
});

describe('activity that bypasses the gateway', () => {
  test('leaves idle for unmetered when its hour closes, to the nanodollar, and only once', async () => {
    const { time, memory, activity, pass } = await startTwo();
    await pass(60_000);
    // Half a minute at 50 %, collected every ten seconds.
    for (let sample = 0; sample < 3; sample += 1) {
      const fromMs = time.epochMs();
      await pass(10_000);
      activity.addActive('pool-a', { fromMs, toMs: fromMs + 10_000, activeMs: 5000 });
    }
    await pass(10_000);
    expect((await sumBooks(memory))('unmeteredNanoUsd')).toBe(0n);
    time.advance(HOUR_MS - 720_000);
    await pass(60_000);
    time.advance(HOUR_MS);
    await pass(60_000);
    const sum = await sumBooks(memory);
    expect(sum('deviceActiveMs')).toBe(15_000n);
    // 15 s of the hour's capacity, by its provisioned part; a nanodollar may be lost to rounding down.
    const fair = (HOUR_NANO_USD * 15n) / 3600n;
    expect(fair - sum('unmeteredNanoUsd')).toBeGreaterThanOrEqual(-1n);
    expect(fair - sum('unmeteredNanoUsd')).toBeLessThanOrEqual(1n);
    expect(sum('chargedNanoUsd')).toBe(0n);
  });

  test('is none where our own requests were in flight as long', async () => {
    const { time, memory, activity, worker, pass } = await startTwo();
    const start = createStart(time, 'r1');
    const meter = worker.accounting.metering.begin(start);
    for (let second = 0; second < 20; second += 1) {
      const fromMs = time.epochMs();
      meter.content(time.monotonicMs(), 1);
      await pass(1000);
      activity.addActive('pool-a', { fromMs, toMs: fromMs + 1000, activeMs: 990 });
    }
    await meter.finish(createEnd(time, start, { prompt: 900, output: 20 }));
    await pass(10_000);
    time.advance(HOUR_MS);
    await pass(60_000);
    const sum = await sumBooks(memory);
    expect(sum('deviceActiveMs')).toBe(19_800n);
    expect(sum('unmeteredNanoUsd')).toBe(0n);
  });
});
