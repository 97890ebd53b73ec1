// Journals of dead processes on one host: who takes them, when they are at rest, when they go.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Accounting } from '#accounting/create-accounting.ts';
import { createHostAccounting } from '#accounting/host-accounting.ts';
import { JournalLockedError, lockJournal } from '#accounting/journal-lock.ts';
import { markAtRest, readRest, removeAtRest } from '#accounting/journal-rest.ts';
import { listJournals, openFreeJournal } from '#accounting/journal-slots.ts';
import { createWindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { createEnd, createStart, PROFILE, sendContent } from '#test/support/accounting-bench.ts';
import { createMemoryState, MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createPoolFacts } from '#test/support/settlement-facts.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

/** A host with a store on virtual time; each `start` is a process. */
function createHost() {
  const time = createVirtualClock();
  const store = new MemorySettlementStore({ now: () => time.epochMs() });
  const root = mkdtempSync(join(tmpdir(), 'inferometer-host-'));
  const { effectiveFrom: _, ...facts } = createPoolFacts();
  const living: Accounting[] = [];
  const outage = { isOn: false };
  const errors: string[] = [];
  const reachable = new Proxy<SettlementStore>(store, {
    get:
      (target, property: keyof SettlementStore) =>
      async (...args: never[]) => {
        if (outage.isOn) throw new StoreUnavailableError('taken away');
        return Reflect.apply(target[property] as (...args: never[]) => unknown, target, args);
      },
  });
  const start = async (): Promise<Accounting> => {
    const accounting = createHostAccounting({
      store: reachable,
      journalRoot: root,
      fsync: 'off',
      horizonMs: 30_000,
      silenceMs: 900_000,
      clock: createWindowClock(time),
      log: { ...silentLog, error: (_, message) => void errors.push(message) },
      wantedFacts: () => new Map([[facts.pool, facts]]),
      listener: { claimApplied() {}, booksCommitted() {} },
      profileOf: () => ({ profile: PROFILE, source: 'declared' }),
      syncIntervalMs: Number.POSITIVE_INFINITY,
      adoptionIntervalMs: 20,
    });
    living.push(accounting);
    await accounting.start();
    return accounting;
  };
  const pass = async (accounting: Accounting, ms: number) => {
    for (let passed = 0; passed < ms; passed += 500) {
      time.advance(500);
      await accounting.syncNow();
    }
  };
  const close = () => living.forEach((accounting) => accounting.stop());
  return { time, store, outage, errors, root, start, pass, close };
}

/** Records of the store by outcome, and Σ of their charges against the books. */
async function readBooks(store: MemorySettlementStore) {
  const { records } = await store.readRecords({ limit: 100 });
  const books = await store.readBooks({ from: 0, to: 4_000_000_800 });
  const charged = books.reduce((sum, cell) => sum + cell.metrics.chargedNanoUsd, 0n);
  const costs = records
    .flatMap(({ charges }) => charges)
    .reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd), 0n);
  return { outcomes: records.map(({ outcome }) => outcome).toSorted(), difference: charged - costs, charged };
}

describe('journals of one host', () => {
  it('two processes hold two journals, and one that comes back takes up the free one under its name', () => {
    const root = mkdtempSync(join(tmpdir(), 'inferometer-slots-'));
    const open = (dir: string) => {
      const lock = lockJournal(dir);
      writeFileSync(join(dir, 'identity.json'), '{}');
      return { dir, lock };
    };
    const [first, second] = [openFreeJournal(root, open), openFreeJournal(root, open)];
    expect([first.dir, second.dir]).toEqual([join(root, 'process-1'), join(root, 'process-2')]);
    first.lock.release();
    const third = openFreeJournal(root, open);
    expect(third.dir).toBe(first.dir);
    expect(listJournals(root)).toEqual([first.dir, second.dir]);
    second.lock.release();
    third.lock.release();
  });

  it('a journal written by an earlier version in the folder itself is taken up first', () => {
    const root = mkdtempSync(join(tmpdir(), 'inferometer-slots-'));
    writeFileSync(join(root, 'identity.json'), '{}');
    expect(openFreeJournal(root, (dir) => dir)).toBe(root);
  });

  it('an error other than the lock is not taken for a journal in use', () => {
    const root = mkdtempSync(join(tmpdir(), 'inferometer-slots-'));
    const fail = () => {
      throw new Error('disk full');
    };
    expect(() => openFreeJournal(root, fail)).toThrow('disk full');
  });

  it('a journal at rest is removed only while nobody holds it, and only with its mark', () => {
    const root = mkdtempSync(join(tmpdir(), 'inferometer-slots-'));
    const dir = join(root, 'process-1');
    mkdirSync(dir);
    expect(removeAtRest(dir)).toBe(false);
    markAtRest(dir, 5, silentLog);
    const lock = lockJournal(dir);
    expect(() => removeAtRest(dir)).toThrow(JournalLockedError);
    lock.release();
    expect(removeAtRest(dir)).toBe(true);
    expect(readdirSync(root)).toEqual([]);
  });
});

describe('adoption', () => {
  it('a living process settles what a dead one had begun and ended, and takes its member out of the store', async () => {
    const { time, store, root, start, pass, close } = createHost();
    const [living, dead] = [await start(), await start()];
    const [done, cut] = [createStart(time, 'done'), createStart(time, 'cut')];
    const meters = [dead.metering.begin(done), dead.metering.begin(cut)];
    for (let step = 0; step < 8; step += 1) {
      time.advance(250);
      for (const meter of meters) sendContent(time, meter, 3);
    }
    void meters[0]?.finish(createEnd(time, done, { prompt: 400, output: 24 }));
    dead.writeProgress();
    dead.stop();
    await expect
      .poll(async () => {
        await pass(living, 1000);
        return (await readBooks(store)).outcomes;
      })
      .toEqual(['completed', 'interrupted']);
    await expect.poll(() => living.status().adoptedJournals).toBe(0);
    expect(await readBooks(store)).toMatchObject({ difference: 0n });
    expect((await readBooks(store)).charged).toBeGreaterThan(0n);
    expect((await store.readFreezeInput()).members).toHaveLength(1);
    expect(readRest(join(root, 'process-2'))).not.toBeNull();
    close();
  });

  it('records of an adopted journal stand among those that wait, until the store answers', async () => {
    const { time, store, outage, start, pass, close } = createHost();
    const [living, dead] = [await start(), await start()];
    const request = createStart(time, 'late');
    const meter = dead.metering.begin(request);
    time.advance(500);
    sendContent(time, meter);
    void meter.finish(createEnd(time, request, { prompt: 400, output: 1 }));
    outage.isOn = true;
    dead.stop();
    await expect.poll(() => living.unsettled().map(({ requestId }) => requestId)).toEqual(['late']);
    expect(living.status()).toMatchObject({ adoptedJournals: 1, unsettledRecords: 1 });
    outage.isOn = false;
    await expect
      .poll(async () => {
        await pass(living, 3000);
        return living.status().unsettledRecords;
      })
      .toBe(0);
    expect((await readBooks(store)).outcomes).toEqual(['completed']);
    close();
  });

  it('a journal at rest is left alone, asked again after the store lost writes, and removed after 15 minutes', async () => {
    const { time, store, root, start, pass, close } = createHost();
    const [living, left] = [await start(), await start()];
    const before = store.snapshot();
    await pass(left, 1000);
    expect(await left.drain(0)).toEqual({ unsettledRecords: 0, unsentMessages: 0 });
    const dir = join(root, 'process-2');
    const restMs = readRest(dir);
    expect(restMs).not.toBeNull();
    await pass(living, 3000);
    expect(readRest(dir)).toBe(restMs);
    store.restore(before);
    await pass(living, 1000);
    await expect
      .poll(async () => {
        await pass(living, 500);
        return (readRest(dir) ?? 0) > (restMs ?? 0);
      })
      .toBe(true);
    time.advance(16 * 60_000);
    await expect
      .poll(async () => {
        await pass(living, 500);
        return existsSync(dir);
      })
      .toBe(false);
    expect((await store.readFreezeInput()).members).toHaveLength(1);
    close();
  });
});

describe('books that are lost', () => {
  it('a process with a new journal begins no others beside those of its host, and joins them once they are back', async () => {
    const { store, start, pass, close } = createHost();
    const first = await start();
    await pass(first, 3000);
    const books = store.snapshot();
    store.restore(createMemoryState());
    const second = await start();
    await pass(second, 3000);
    expect(second.status().stoppedBecause).toContain('ledger rebuild');
    expect((await store.readFreezeInput()).members).toEqual([]);
    store.restore(books);
    await pass(second, 3000);
    expect(second.status().stoppedBecause).toBe(null);
    expect((await store.readFreezeInput()).members).toHaveLength(2);
    close();
  });

  it('what a dead process left is settled as soon as they are back', async () => {
    const { time, store, errors, start, pass, close } = createHost();
    const [living, dead] = [await start(), await start()];
    const request = createStart(time, 'orphan');
    const meter = dead.metering.begin(request);
    await pass(living, 1000);
    sendContent(time, meter);
    void meter.finish(createEnd(time, request, { prompt: 400, output: 1 }));
    const books = store.snapshot();
    store.restore(createMemoryState());
    await pass(living, 3000);
    expect(living.status().awaitsBooks).toBe(true);
    dead.stop();
    await expect.poll(() => errors).toContain('an adopted journal could not be settled; tried again in a minute');
    store.restore(books);
    const fromMs = time.epochMs();
    await expect
      .poll(async () => {
        await pass(living, 500);
        return (await readBooks(store)).outcomes;
      })
      .toEqual(['completed']);
    // Sooner than it would have been tried again.
    expect(time.epochMs() - fromMs).toBeLessThan(60_000);
    close();
  });
});
