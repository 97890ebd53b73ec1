// Seeded schedules of kills, outages, lost replies and stores that lose acknowledged writes, over the real process side of settlement.
// Whatever happens: each request has one record, and their money is the charged part of the books. (Several processes: settlement-model.test.ts.)
import { describe, expect, it } from 'vitest';
import type { AttemptMeter, AttemptStart } from '#domain/metering.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import {
  type AccountingBench,
  createEnd,
  createStart,
  sendContent,
  startBench,
} from '#test/support/accounting-bench.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Trouble {
  down: boolean;
  losesReply: boolean;
}

function createTroubled(inner: SettlementStore, trouble: Trouble): SettlementStore {
  return new Proxy(inner, {
    get(target, property: keyof SettlementStore) {
      return async (...args: never[]) => {
        if (trouble.down) throw new StoreUnavailableError('the schedule took the store away');
        const answer: unknown = await Reflect.apply(target[property] as (...args: never[]) => unknown, target, args);
        if (trouble.losesReply && property !== 'readFreezeInput') {
          trouble.losesReply = false;
          throw new StoreUnavailableError('the schedule lost the reply');
        }
        return answer;
      };
    },
  });
}

interface Live {
  readonly start: AttemptStart;
  readonly meter: AttemptMeter;
  readonly untilStep: number;
}

/** 60 s of load under a schedule, then quiet until everything had time to settle. */
async function runSchedule(seed: number): Promise<{ bench: AccountingBench; begun: Set<string>; events: string[] }> {
  const random = createRandom(seed);
  const time = createVirtualClock();
  const memory = new MemorySettlementStore({ now: () => time.epochMs() });
  const trouble: Trouble = { down: false, losesReply: false };
  const bench = await startBench({ time, memory, store: createTroubled(memory, trouble), horizonMs: 8000 });
  const snapshots = [memory.snapshot()];
  const begun = new Set<string>();
  const events: string[] = [];
  let live: Live[] = [];
  let downUntil = 0;
  for (let step = 0; step < 240; step += 1) {
    time.advance(250);
    if (random() < 0.5) {
      const id = `s${seed}r${step}`;
      const start = createStart(time, id, { stream: random() < 0.6, team: `team-${step % 3}`, promptBytes: 2000 });
      live.push({ start, meter: bench.accounting.metering.begin(start), untilStep: step + Math.floor(random() * 60) });
      begun.add(`${id}.1`);
    }
    for (const { start, meter, untilStep } of live) {
      if (start.identity.stream) sendContent(time, meter, 1 + Math.floor(random() * 5));
      if (step >= untilStep) void meter.finish(createEnd(time, start, { prompt: 400 + step, output: 40 }));
    }
    live = live.filter(({ untilStep }) => step < untilStep);
    if (step % 4 === 0) bench.accounting.writeProgress();
    if (random() < 0.7) await bench.accounting.syncNow();
    snapshots.push(memory.snapshot());
    trouble.down = step < downUntil;
    const luck = random();
    if (luck < 0.02) {
      events.push('kill');
      await bench.restart(Math.floor(random() * 5000));
      live = [];
    } else if (luck < 0.04) {
      events.push('outage');
      downUntil = step + Math.floor(random() * 40);
    } else if (luck < 0.08) {
      events.push('lost reply');
      trouble.losesReply = true;
    } else if (luck < 0.1) {
      events.push('rollback');
      // What came after the snapshot never happened: no later schedule may return to it.
      snapshots.length = Math.max(1, snapshots.length - Math.floor(random() * 12));
      memory.restore(snapshots.at(-1) ?? memory.snapshot());
    }
  }
  trouble.down = false;
  for (const { start, meter } of live) void meter.finish(createEnd(time, start, { prompt: 400, output: 40 }));
  await bench.pass(25_000);
  return { bench, begun, events };
}

describe('accounting under trouble', () => {
  it.each(Array.from({ length: 24 }, (_, index) => index + 1))(
    'schedule %i: one record for each request, and their money is what the books charged',
    async (seed) => {
      const { bench, begun, events } = await runSchedule(seed);
      const { records } = await bench.store.readRecords({ limit: 1000 });
      const state = JSON.stringify({ events, status: bench.accounting.status() });
      expect(new Set(records.map((record) => record.recordId)), state).toEqual(begun);
      expect(records.length).toBe(begun.size);
      const books = await bench.store.readBooks({ from: 0, to: 4_000_000_800 });
      const sum = (metric: 'capacityNanoUsd' | 'chargedNanoUsd' | 'idleNanoUsd' | 'claimedNanoUsd') =>
        books.reduce((total, cell) => total + cell.metrics[metric], 0n);
      const charged = records
        .flatMap((record) => record.charges)
        .reduce((total, charge) => total + BigInt(charge.costNanoUsd), 0n);
      expect(sum('capacityNanoUsd')).toBe(sum('chargedNanoUsd') + sum('idleNanoUsd'));
      expect(charged, state).toBe(sum('chargedNanoUsd'));
      expect(sum('claimedNanoUsd')).toBe(sum('chargedNanoUsd'));
      expect(bench.accounting.status(), state).toMatchObject({
        stoppedBecause: null,
        journalPending: 0,
        unsettledRecords: 0,
      });
      bench.accounting.stop();
    },
  );
});
