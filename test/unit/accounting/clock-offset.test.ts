// Clocks that disagree by fractions of a second: the same real work is the same busy time, whoever saw it (settlement.md, Terms: window).
import { describe, expect, it } from 'vitest';
import type { Accounting } from '#accounting/create-accounting.ts';
import {
  createEnd,
  createStart,
  sendContent,
  startBench,
  type AccountingBench,
} from '#test/support/accounting-bench.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createVirtualClock, type VirtualClock } from '#test/support/virtual-clock.ts';

const STEP_MS = 50;

/** The machine of a process: the same moments as `time`, on a wall clock that is off. */
function createMachine(time: VirtualClock): VirtualClock & { offMs: number } {
  const machine = {
    offMs: 0,
    monotonicMs: () => time.monotonicMs(),
    epochMs: () => time.epochMs() + machine.offMs,
    advance: (ms: number) => time.advance(ms),
    stepEpoch: (ms: number) => time.stepEpoch(ms),
  };
  return machine;
}

interface Rig {
  readonly time: VirtualClock;
  readonly memory: MemorySettlementStore;
  readonly benches: readonly AccountingBench[];
  readonly machines: readonly { offMs: number }[];
  /** Real time passes; both settle once a second. */
  pass(ms: number, each?: () => void): Promise<void>;
}

async function startRig(offsetsMs: readonly number[]): Promise<Rig> {
  const time = createVirtualClock();
  const memory = new MemorySettlementStore({ now: () => time.epochMs() });
  const machines = offsetsMs.map((offMs) => Object.assign(createMachine(time), { offMs }));
  const benches: AccountingBench[] = [];
  for (const machine of machines) benches.push(await startBench({ time: machine, memory }));
  return {
    time,
    memory,
    benches,
    machines,
    async pass(ms, each = () => {}) {
      for (let passed = 0; passed < ms; passed += STEP_MS) {
        time.advance(STEP_MS);
        each();
        if (time.monotonicMs() % 1000 === 0) for (const { accounting } of benches) await accounting.syncNow();
      }
    },
  };
}

/** Process `index` has one stream in flight for `ms`. */
async function work(rig: Rig, index: number, id: string, ms: number): Promise<void> {
  const { accounting } = rig.benches[index] as { accounting: Accounting };
  const start = createStart(rig.time, id);
  const meter = accounting.metering.begin(start);
  await rig.pass(ms, () => sendContent(rig.time, meter));
  void meter.finish(createEnd(rig.time, start, { prompt: 400, output: ms / STEP_MS }));
}

async function readBusyMs({ memory }: Rig): Promise<bigint> {
  const books = await memory.readBooks({ from: 0, to: 4_000_000_800 });
  return books.reduce((sum, cell) => sum + cell.metrics.busyMs, 0n);
}

async function finish(rig: Rig): Promise<void> {
  await rig.pass(40_000);
  for (const { accounting } of rig.benches) {
    expect(accounting.status()).toMatchObject({ unsettledRecords: 0, lateCount: 0, stoppedBecause: null });
    accounting.stop();
  }
}

describe('clocks that are off by fractions of a second', () => {
  it.each([
    [0, 0],
    [400, -300],
    [-900, 900],
  ])(
    'one stream after the other on processes off by %i and %i ms is busy for just as long as it ran',
    async (...off) => {
      const rig = await startRig(off);
      await rig.pass(2000);
      for (let turn = 0; turn < 6; turn += 1) await work(rig, turn % 2, `turn-${turn}`, 1500);
      await finish(rig);
      expect(await readBusyMs(rig)).toBe(9000n);
    },
  );

  it('streams at the same moments on both are busy once', async () => {
    const rig = await startRig([450, -450]);
    await rig.pass(2000);
    const starts = rig.benches.map(({ accounting }, index) => {
      const start = createStart(rig.time, `twin-${index}`);
      return { start, meter: accounting.metering.begin(start) };
    });
    await rig.pass(5000, () => starts.forEach(({ meter }) => sendContent(rig.time, meter)));
    for (const { start, meter } of starts) void meter.finish(createEnd(rig.time, start, { prompt: 400, output: 100 }));
    await finish(rig);
    expect(await readBusyMs(rig)).toBe(5000n);
  });

  it('a wall clock that steps while streams run neither creates nor loses busy time', async () => {
    const rig = await startRig([0, 0]);
    await rig.pass(2000);
    await work(rig, 0, 'before', 2000);
    for (const [index, offMs] of [700, -700].entries()) Object.assign(rig.machines[index] ?? {}, { offMs });
    await work(rig, 0, 'after', 2000);
    await work(rig, 1, 'beside', 2000);
    await finish(rig);
    expect(await readBusyMs(rig)).toBe(6000n);
  });
});
