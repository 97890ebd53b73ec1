// The accounting plane as a whole on virtual time: what goes in through metering comes out of the store, to the nanodollar.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type AccountingBench,
  createEnd,
  createStart,
  sendContent,
  startBench,
  sumMetric,
} from '#test/support/accounting-bench.ts';
import { decodeEntry, LineEncoder } from '#accounting/journal-entry.ts';
import { lockJournal } from '#accounting/journal-lock.ts';
import { silentLog } from '#domain/log.ts';
import type { AttemptMeter, AttemptStart } from '#domain/metering.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { type SettlementStore, StoreSchemaError, StoreUnavailableError } from '#domain/settlement-store.ts';
import { createMemoryState, MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

interface Running {
  readonly start: AttemptStart;
  readonly meter: AttemptMeter;
  readonly prompt: number;
  readonly output: number;
  readonly endStep: number;
  sent: number;
}

/** Deterministic pseudo-random numbers in [0, 1). */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Runs a mixed load for `seconds`, 10 steps of 100 ms each; `onSecond` may restart the plane. */
async function runLoad(
  bench: AccountingBench,
  seconds: number,
  onSecond: (second: number) => Promise<void> = async () => {},
): Promise<number> {
  const random = createRandom(7);
  const teams = ['search', 'support', 'batch'];
  let running: Running[] = [];
  let count = 0;
  for (let step = 0; step < seconds * 10; step += 1) {
    bench.time.advance(100);
    if (random() < 0.4 && step < seconds * 10 - 20) {
      const stream = random() < 0.6;
      const team = teams[count % 3] ?? 'search';
      const prompt = 100 + Math.floor(random() * 4000);
      const output = 5 + Math.floor(random() * 150);
      const start = createStart(bench.time, `r${count}`, { team, stream, promptBytes: prompt * 4 });
      const endStep = Math.min(seconds * 10 - 1, step + 3 + Math.floor(random() * 60));
      running.push({ start, meter: bench.accounting.metering.begin(start), prompt, output, endStep, sent: 0 });
      count += 1;
    }
    for (const request of running) {
      const { start, meter, prompt, output } = request;
      const due = step >= request.endStep ? output - request.sent : Math.min(2, output - request.sent);
      if (start.identity.stream && due > 0 && random() < 0.9) {
        sendContent(bench.time, meter, due);
        request.sent += due;
      }
      if (step >= request.endStep) {
        const cut = random() < 0.1;
        void meter.finish(
          createEnd(bench.time, start, { prompt, output, outcome: cut ? 'client_aborted' : 'completed' }),
        );
      }
    }
    running = running.filter((request) => step < request.endStep);
    if (step % 10 === 9) {
      await bench.accounting.syncNow();
      await onSecond((step + 1) / 10);
    }
  }
  return count;
}

/** A store in front of another one that can be unavailable, or apply a call and lose its reply. */
function createOutage(inner: SettlementStore): {
  readonly store: SettlementStore;
  set(down: boolean): void;
  loseNextReply(): void;
} {
  let down = false;
  let loses = false;
  const store = new Proxy(inner, {
    get(target, property: keyof SettlementStore) {
      return async (...args: never[]) => {
        if (down) throw new StoreUnavailableError('the test took the store away');
        const answer: unknown = await Reflect.apply(target[property] as (...args: never[]) => unknown, target, args);
        if (loses && property === 'sync') {
          loses = false;
          throw new StoreUnavailableError('the test lost the reply');
        }
        return answer;
      };
    },
  });
  return { store, set: (value) => void (down = value), loseNextReply: () => void (loses = true) };
}

/** Leaves of a segment only what a fresh head would still say: where the numbering stands. */
function dropMessages(path: string): void {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  const entries = lines.flatMap((line) => decodeEntry(line) ?? []);
  const messages = entries.flatMap((entry) => (entry.t === 'message' ? [entry.message] : []));
  const last = messages.at(-1);
  if (last === undefined) return;
  const { journal, seq, hash, sealedThrough, epoch } = last;
  const head = { t: 'head', atMs: sealedThrough * 1000, head: { journal, seq, hash, sealedThrough, epoch } } as const;
  writeFileSync(
    path,
    [head, { t: 'ack', atMs: head.atMs, seq, claimApplied: null } as const]
      .map((entry) => new LineEncoder().encode(JSON.stringify(entry)).toString())
      .join(''),
  );
}

async function readRecords(bench: AccountingBench): Promise<readonly SettledRecordJson[]> {
  const { records } = await bench.store.readRecords({ limit: 1000 });
  return records;
}

function costOf(record: SettledRecordJson): bigint {
  return record.charges.reduce((sum, charge) => sum + BigInt(charge.costNanoUsd), 0n);
}

describe('accounting', () => {
  it('charges every busy nanodollar to a record, and capacity = charged + idle', async () => {
    const bench = await startBench();
    const count = await runLoad(bench, 40);
    await bench.pass(8000);
    const records = await readRecords(bench);
    expect(records.length).toBe(count);
    const charged = sumMetric(bench.books, 'chargedNanoUsd');
    expect(charged).toBeGreaterThan(1_000_000n);
    expect(sumMetric(bench.books, 'capacityNanoUsd')).toBe(charged + sumMetric(bench.books, 'idleNanoUsd'));
    expect(records.reduce((sum, record) => sum + costOf(record), 0n)).toBe(charged);
    expect(sumMetric(bench.claims, 'costNanoUsd')).toBe(charged);
    expect(sumMetric(bench.claims, 'gpuMicros')).toBe(sumMetric(bench.books, 'chargedGpuMicros'));
    const phases = ['prefillNanoUsd', 'decodeNanoUsd', 'otherNanoUsd'].map((metric) => sumMetric(bench.claims, metric));
    expect(phases.reduce((sum, phase) => sum + phase, 0n)).toBe(charged);
    expect(sumMetric(bench.claims, 'requests')).toBe(BigInt(count));
    expect(bench.accounting.unsettled()).toEqual([]);
    expect(bench.accounting.status()).toMatchObject({
      storeUp: true,
      journalPending: 0,
      lateCount: 0,
      overEstimates: 0,
    });
    bench.accounting.stop();
  });

  it('charges the same money when the process dies and is replayed in the middle', async () => {
    const plain = await startBench();
    await runLoad(plain, 30, (second) => (second === 15 ? plain.pass(4000) : Promise.resolve()));
    await plain.pass(8000);
    const killed = await startBench();
    // Between two requests' ends everything in the air is progress and slices: replay must bring all of it back.
    await runLoad(killed, 30, async (second) => {
      if (second === 15) await killed.pass(4000);
      if (second === 30) await killed.restart(0);
    });
    await killed.pass(8000);
    const before = new Map((await readRecords(plain)).map((record) => [record.recordId, costOf(record)]));
    const after = new Map((await readRecords(killed)).map((record) => [record.recordId, costOf(record)]));
    expect(after).toEqual(before);
    expect(sumMetric(killed.claims, 'costNanoUsd')).toBe(sumMetric(plain.claims, 'costNanoUsd'));
    plain.accounting.stop();
    killed.accounting.stop();
  });

  it('an attempt cut by the death of the process leaves one interrupted record with the tokens seen so far', async () => {
    const bench = await startBench();
    const start = createStart(bench.time, 'cut');
    const meter = bench.accounting.metering.begin(start);
    for (let second = 0; second < 5; second += 1) {
      for (let chunk = 0; chunk < 10; chunk += 1) {
        bench.time.advance(100);
        sendContent(bench.time, meter);
      }
      bench.accounting.writeProgress();
      await bench.accounting.syncNow();
    }
    await bench.restart(2000);
    await bench.pass(8000);
    const [record, ...others] = await readRecords(bench);
    expect(others).toEqual([]);
    expect(record).toMatchObject({ recordId: 'cut.1', outcome: 'interrupted', status: 200, tokenSource: 'estimated' });
    expect(record?.tokens.output).toBe(50);
    expect(record?.endedAtMs).toBe(start.identity.startedAtMs + 5000);
    const charged = sumMetric(bench.books, 'chargedNanoUsd');
    expect(record === undefined ? 0n : costOf(record)).toBe(charged);
    expect(sumMetric(bench.claims, 'wastedNanoUsd')).toBe(charged);
    bench.accounting.stop();
  });

  it('of an answer of hours a kill forgets no token', async () => {
    const bench = await startBench();
    const meter = bench.accounting.metering.begin(createStart(bench.time, 'long'));
    for (let second = 1; second <= 3700; second += 1) {
      bench.time.advance(1000);
      sendContent(bench.time, meter, 10);
      bench.accounting.writeProgress();
      if (second % 5 === 0) await bench.accounting.syncNow();
    }
    await bench.restart(2000);
    await bench.pass(40_000, 1000);
    const [record] = await readRecords(bench);
    expect(record).toMatchObject({ outcome: 'interrupted', tokens: { output: 37_000 } });
    expect(bench.accounting.status()).toMatchObject({ overEstimates: 0, unsettledRecords: 0 });
    bench.accounting.stop();
  });

  it('no text of a prompt or an answer can reach the journal: it holds identities and counts', async () => {
    const bench = await startBench();
    await runLoad(bench, 10);
    bench.accounting.stop();
    const files = readdirSync(bench.dir).filter((name) => name.endsWith('.ndjson'));
    const lines = files.flatMap((name) => readFileSync(join(bench.dir, name), 'utf8').trim().split('\n'));
    expect(lines.length).toBeGreaterThan(50);
    const keys = new Set<string>();
    const collect = (value: unknown): void => {
      if (Array.isArray(value)) for (const part of value) collect(part);
      else if (typeof value === 'object' && value !== null) {
        for (const [key, part] of Object.entries(value)) {
          keys.add(key);
          collect(part);
        }
      }
    };
    for (const line of lines) collect(JSON.parse(line.slice(9)));
    for (const key of ['prompt', 'messages', 'content', 'completion', 'text', 'body', 'authorization']) {
      expect(keys.has(key), key).toBe(false);
    }
  });

  it('an outage of the store delays the money and changes none of it', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    const outage = createOutage(memory);
    const bench = await startBench({ time, memory, store: outage.store });
    const count = await runLoad(bench, 60, async (second) => {
      outage.set(second >= 10 && second < 45);
    });
    expect(bench.accounting.status().storeUp).toBe(true);
    await bench.pass(40_000);
    const records = await readRecords(bench);
    expect(records.length).toBe(count);
    const charged = sumMetric(bench.books, 'chargedNanoUsd');
    expect(records.reduce((sum, record) => sum + costOf(record), 0n)).toBe(charged);
    expect(sumMetric(bench.books, 'unobservedNanoUsd')).toBe(0n);
    expect(bench.accounting.status()).toMatchObject({ lateCount: 0, journalPending: 0, skippedClaims: 0 });
    bench.accounting.stop();
  });

  it('a lost reply is healed by sending again, and nothing is charged twice', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    const outage = createOutage(memory);
    const bench = await startBench({ time, memory, store: outage.store });
    const count = await runLoad(bench, 40, async (second) => {
      if (second % 3 === 0) outage.loseNextReply();
    });
    await bench.pass(12_000);
    const records = await readRecords(bench);
    expect(new Set(records.map((record) => record.recordId)).size).toBe(count);
    expect(records.length).toBe(count);
    const charged = sumMetric(bench.books, 'chargedNanoUsd');
    expect(charged).toBeGreaterThan(0n);
    expect(sumMetric(bench.claims, 'costNanoUsd')).toBe(charged);
    bench.accounting.stop();
  });

  it('a store that loses acknowledged writes is healed from the journal, and each record keeps its money', async () => {
    const bench = await startBench();
    let snapshot = bench.store.snapshot();
    const count = await runLoad(bench, 60, async (second) => {
      if (second % 10 === 4) snapshot = bench.store.snapshot();
      if (second % 10 === 9) bench.store.restore(snapshot);
    });
    await bench.pass(12_000);
    const records = await readRecords(bench);
    expect(records.length).toBe(count);
    const { from, to } = { from: 0, to: 4_000_000_800 };
    const books = await bench.store.readBooks({ from, to });
    const charged = books.reduce((sum, cell) => sum + cell.metrics.chargedNanoUsd, 0n);
    const capacity = books.reduce((sum, cell) => sum + cell.metrics.capacityNanoUsd, 0n);
    const idle = books.reduce((sum, cell) => sum + cell.metrics.idleNanoUsd, 0n);
    expect(capacity).toBe(charged + idle);
    expect(records.reduce((sum, record) => sum + costOf(record), 0n)).toBe(charged);
    expect(bench.accounting.status()).toMatchObject({ stoppedBecause: null, journalPending: 0 });
    bench.accounting.stop();
  });

  it('draining settles everything that ended and leaves', async () => {
    const bench = await startBench();
    await runLoad(bench, 20);
    await bench.pass(6000);
    expect(await bench.accounting.drain()).toEqual({ unsettledRecords: 0, unsentMessages: 0 });
    expect((await bench.store.readStatus()).members).toEqual([]);
  });

  it('drains, and gives its journal back, though the store turned out to be one it must not write to', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    let isNewer = false;
    const store = new Proxy<SettlementStore>(memory, {
      get:
        (target, property: keyof SettlementStore) =>
        async (...args: never[]) => {
          if (property === 'open' && isNewer) throw new StoreSchemaError('schema 99');
          if (!isNewer) throw new StoreUnavailableError('not there yet');
          return Reflect.apply(target[property] as (...args: never[]) => unknown, target, args);
        },
    });
    const bench = await startBench({ time, memory, store });
    bench.accounting.metering.begin(createStart(time, 'waits'));
    isNewer = true;
    time.advance(5000);
    await expect(bench.accounting.syncNow()).rejects.toThrow(StoreSchemaError);
    expect(await bench.accounting.drain(0)).toEqual({ unsettledRecords: 1, unsentMessages: 0 });
    lockJournal(bench.dir).release();
  });

  it('a goodbye that the store did not hear is said at the next start, and the process is a member before it works', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    const outage = createOutage(memory);
    const bench = await startBench({ time, memory, store: outage.store });
    await bench.pass(3000);
    outage.set(true);
    expect((await bench.accounting.drain(0)).unsentMessages).toBeGreaterThan(0);
    outage.set(false);
    await bench.restart(5000);
    expect(bench.accounting.status()).toMatchObject({ journalPending: 0, stoppedBecause: null });
    expect((await memory.readFreezeInput()).members).toHaveLength(1);
    bench.accounting.stop();
  });

  it('a store that is away when the process drains, and comes back in time, hears all it has to say', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    const outage = createOutage(memory);
    const bench = await startBench({ time, memory, store: outage.store });
    await bench.pass(3000);
    outage.set(true);
    setTimeout(() => outage.set(false), 500);
    const ticking = setInterval(() => time.advance(200), 50);
    const left = await bench.accounting.drain().finally(() => clearInterval(ticking));
    expect(left).toEqual({ unsettledRecords: 0, unsentMessages: 0 });
    expect((await memory.readStatus()).members).toEqual([]);
  });

  it('requests that never reached an engine settle at no cost', async () => {
    const bench = await startBench();
    const start = createStart(bench.time, 'rejected');
    const { record } = createEnd(bench.time, start, { prompt: null, output: null });
    bench.accounting.metering.recordUnsent({
      ...record,
      outcome: 'rejected',
      status: 404,
      pool: null,
      profileSource: null,
    });
    await bench.pass(4000);
    const [settled] = await readRecords(bench);
    expect(settled).toMatchObject({ recordId: 'rejected.1', charges: [] });
    expect(sumMetric(bench.claims, 'rejectedRequests')).toBe(1n);
    expect(sumMetric(bench.claims, 'requests')).toBe(0n);
    bench.accounting.stop();
  });

  it('a store of another epoch gets no message, and the journal keeps what it was owed', async () => {
    const bench = await startBench();
    await runLoad(bench, 5);
    bench.accounting.stop();
    const time = bench.time;
    const other = new MemorySettlementStore({ now: () => time.epochMs() });
    const moved = await startBench({ time, memory: other, dir: bench.dir });
    await moved.pass(5000);
    expect(moved.accounting.status().stoppedBecause).toContain('epoch');
    expect((await other.readStatus()).frontier).toBe(null);
    expect(moved.accounting.status().unsettledRecords).toBeGreaterThan(0);
    moved.accounting.stop();
  });

  it('a store that lost its books gets nothing until it has them again, then everything of meanwhile', async () => {
    const bench = await startBench();
    const before = await runLoad(bench, 6);
    const books = bench.store.snapshot();
    bench.store.restore(createMemoryState());
    const start = createStart(bench.time, 'late', { stream: false });
    const meter = bench.accounting.metering.begin(start);
    await bench.pass(5000);
    await meter.finish(createEnd(bench.time, start, { prompt: 100, output: 20 }));
    await bench.pass(5000);
    expect(bench.accounting.status().stoppedBecause).toContain('ledger rebuild');
    expect(bench.accounting.status().journalPending).toBeGreaterThan(1);
    expect((await bench.store.readStatus()).frontier).toBe(null);
    bench.store.restore(books);
    await bench.pass(45_000);
    expect(bench.accounting.status()).toMatchObject({ stoppedBecause: null, journalPending: 0, unsettledRecords: 0 });
    expect(await readRecords(bench)).toHaveLength(before + 1);
    bench.accounting.stop();
  });

  it('a new journal that meets a store under rebuild joins once its books are there', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    memory.restore(createMemoryState(''));
    const bench = await startBench({ time, memory });
    await bench.pass(3000);
    expect(bench.accounting.status()).toMatchObject({ awaitsBooks: true, frontier: null });
    memory.restore(createMemoryState('rebuilt'));
    await bench.pass(2000);
    expect(bench.accounting.status()).toMatchObject({ awaitsBooks: false, stoppedBecause: null });
    expect((await memory.readFreezeInput()).members).toHaveLength(1);
    bench.accounting.stop();
  });

  it('starts while the store is away, meters meanwhile, and settles when it comes back', async () => {
    const time = createVirtualClock();
    const memory = new MemorySettlementStore({ now: () => time.epochMs() });
    const outage = createOutage(memory);
    outage.set(true);
    const told: unknown[] = [];
    const log = { ...silentLog, warn: (fields: object, message: string) => void told.push({ ...fields, message }) };
    const bench = await startBench({ time, memory, store: outage.store, log });
    expect(bench.accounting.status()).toMatchObject({ storeUp: false, frontier: null, journalOk: true });
    // Expected, so without a stack trace.
    expect(told).toEqual([
      { reason: expect.any(String), message: 'the store does not answer; settlement waits in the journal' },
    ]);
    const early = createStart(time, 'early');
    const meter = bench.accounting.metering.begin(early);
    time.advance(300);
    void meter.finish(createEnd(time, early, { prompt: 100, output: 10 }));
    expect(bench.accounting.unsettled().map((record) => record.recordId)).toEqual(['early.1']);
    outage.set(false);
    await bench.pass(5000);
    await bench.accounting.ready;
    const count = await runLoad(bench, 10);
    await bench.pass(8000);
    const records = await readRecords(bench);
    expect(records.length).toBe(count + 1);
    expect(records.reduce((sum, record) => sum + costOf(record), 0n)).toBe(sumMetric(bench.books, 'chargedNanoUsd'));
    bench.accounting.stop();
  });

  it('a journal that the store has forgotten joins again under a new name and goes on', async () => {
    const bench = await startBench();
    await runLoad(bench, 10);
    await bench.pass(6000);
    const forgetful = bench.store.snapshot();
    const [before] = forgetful.members.keys();
    forgetful.members.clear();
    bench.accounting.stop();
    bench.store.restore(forgetful);
    // The first messages are long gone from the journal, as after weeks: only then is sending again no way out.
    for (const name of readdirSync(bench.dir)) if (name.endsWith('.ndjson')) dropMessages(join(bench.dir, name));
    const again = await startBench({ time: bench.time, memory: bench.store, dir: bench.dir });
    await again.pass(2000);
    const start = createStart(bench.time, 'after');
    const meter = again.accounting.metering.begin(start);
    bench.time.advance(400);
    void meter.finish(createEnd(bench.time, start, { prompt: 100, output: 10 }));
    await again.pass(5000);
    const [newest] = await readRecords(again);
    expect(newest).toMatchObject({ recordId: 'after.1' });
    expect(newest === undefined ? 0n : costOf(newest)).toBeGreaterThan(0n);
    const members = (await again.store.readStatus()).members.map((member) => member.journal);
    expect(members.length).toBe(1);
    expect(members).not.toContain(before);
    expect(again.accounting.status().stoppedBecause).toBe(null);
    again.accounting.stop();
  });
});
