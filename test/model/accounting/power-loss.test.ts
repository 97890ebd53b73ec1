// The order of fsync: what a power cut at any moment leaves on the disk is enough. The disk is power-loss-disk.ts in the place of node:fs.
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { FsyncMode } from '#accounting/group-sync.ts';
import type { Log } from '#domain/log.ts';
import type { AttemptMeter, AttemptStart } from '#domain/metering.ts';
import type { SyncMessage } from '#domain/settlement.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { createSeededRandom, mixSeed } from '#simulator/seeded-random.ts';
import {
  type AccountingBench,
  createEnd,
  createStart,
  sendContent,
  startBench,
} from '#test/support/accounting-bench.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { durableSegments, type PowerLossDisk } from '#test/support/power-loss-disk.ts';
import { createVirtualClock } from '#test/support/virtual-clock.ts';

const { disks } = vi.hoisted(() => ({ disks: [] as PowerLossDisk[] }));
vi.mock('node:fs', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs')>();
  const { PowerLossDisk: Disk } = await import('#test/support/power-loss-disk.ts');
  const disk = new Disk(real);
  disks.push(disk);
  return { ...disk.fs, default: disk.fs };
});

let disk: PowerLossDisk;
beforeEach(() => {
  const [first] = disks;
  if (first === undefined) throw new Error('node:fs is not the watched one');
  disk = first;
});

function readDurableText(dir: string): string {
  return durableSegments(disk, dir)
    .map((path) => disk.readDurable(path)?.toString('utf8') ?? '')
    .join('');
}

/** Looks at the disk in the moment in which a message leaves. */
function createWatched(memory: MemorySettlementStore, onSync: (message: SyncMessage) => void): SettlementStore {
  return new Proxy<SettlementStore>(memory, {
    get(target, property: keyof SettlementStore) {
      return (...args: never[]) => {
        if (property === 'sync') onSync((args as unknown[])[0] as SyncMessage);
        return Reflect.apply(target[property] as (...args: never[]) => unknown, target, args);
      };
    },
  });
}

interface Run {
  readonly bench: AccountingBench;
  readonly begun: Set<string>;
  /** Records whose last bytes were let go. */
  readonly released: Set<string>;
  readonly errors: string[];
  readonly sent: number;
}

/** 40 s of load with power cuts and kills at random moments; looks at the disk at every message. */
async function runWithCuts(seed: number, fsync: FsyncMode): Promise<Run> {
  const random = createSeededRandom(mixSeed(seed, 5));
  const draw = () => random.uniform();
  const time = createVirtualClock();
  const memory = new MemorySettlementStore({ now: () => time.epochMs() });
  const errors: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (_: object, words: string) => void errors.push(words),
  } satisfies Log;
  let sent = 0;
  let dir = '';
  const store = createWatched(memory, ({ seq, hash, journal, incarnation }) => {
    sent += 1;
    if (!readDurableText(dir).includes(`"hash":"${hash}"`)) errors.push(`message ${seq} left before it was durable`);
    const identity = JSON.parse(String(disk.readDurable(join(dir, 'identity.json')))) as {
      journal: string;
      incarnation: number;
    };
    if (identity.journal !== journal || identity.incarnation < incarnation)
      errors.push(`start ${incarnation} is not durable`);
  });
  const bench = await startBench({ time, memory, store, fsync, log, horizonMs: 4000 });
  dir = bench.dir;
  const begun = new Set<string>();
  const released = new Set<string>();
  let live: { readonly start: AttemptStart; readonly meter: AttemptMeter; readonly untilStep: number }[] = [];
  for (let step = 0; step < 160; step += 1) {
    time.advance(250);
    if (draw() < 0.5) {
      const id = `p${seed}r${step}`;
      const start = createStart(time, id, { stream: draw() < 0.6, promptBytes: 2000 });
      live.push({ start, meter: bench.accounting.metering.begin(start), untilStep: step + Math.floor(draw() * 20) });
      begun.add(`${id}.1`);
    }
    for (const { start, meter, untilStep } of live) {
      if (start.identity.stream) sendContent(time, meter, 2);
      if (step < untilStep) continue;
      await meter.finish(createEnd(time, start, { prompt: 400 + step, output: 40 }));
      released.add(start.recordId);
    }
    live = live.filter(({ untilStep }) => step < untilStep);
    if (step % 4 === 0) bench.accounting.writeProgress();
    if (draw() < 0.6) await bench.accounting.syncNow();
    const luck = draw();
    if (luck < 0.1) {
      bench.accounting.stop();
      // Otherwise a kill: what was written is there, but not yet for certain.
      if (luck < 0.06) disk.cut(draw);
      await bench.restart(Math.floor(draw() * 3000));
      live = [];
    }
  }
  for (const { start, meter } of live) await meter.finish(createEnd(time, start, { prompt: 400, output: 40 }));
  await bench.pass(15_000);
  return { bench, begun, released, errors, sent };
}

async function expectBalance({ bench, begun, errors, sent }: Run): Promise<void> {
  expect(errors).toEqual([]);
  expect(sent).toBeGreaterThan(40);
  const { records } = await bench.store.readRecords({ limit: 1000 });
  const ids = records.map(({ recordId }) => recordId);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.filter((id) => !begun.has(id))).toEqual([]);
  const books = await bench.store.readBooks({ from: 0, to: 4_000_000_800 });
  const sum = (metric: 'capacityNanoUsd' | 'chargedNanoUsd' | 'idleNanoUsd' | 'claimedNanoUsd') =>
    books.reduce((total, cell) => total + cell.metrics[metric], 0n);
  expect(sum('capacityNanoUsd')).toBe(sum('chargedNanoUsd') + sum('idleNanoUsd'));
  expect(sum('claimedNanoUsd')).toBe(sum('chargedNanoUsd'));
  expect(bench.accounting.status()).toMatchObject({ stoppedBecause: null, journalPending: 0, unsettledRecords: 0 });
}

const SEEDS = Array.from({ length: 4 }, (_, index) => index + 1);

describe('power cuts', () => {
  it.each(SEEDS)(
    'schedule %i, grouped: no message leaves before it is durable, and the books balance whatever is lost',
    async (seed) => {
      const run = await runWithCuts(seed, 'grouped');
      await expectBalance(run);
      run.bench.accounting.stop();
    },
  );

  it.each(SEEDS)(
    'schedule %i, strict: a record whose last bytes were let go survives every power cut, complete',
    async (seed) => {
      const run = await runWithCuts(seed, 'strict');
      await expectBalance(run);
      const { records } = await run.bench.store.readRecords({ limit: 1000 });
      const completed = new Set(
        records.flatMap(({ recordId, outcome }) => (outcome === 'completed' ? [recordId] : [])),
      );
      expect([...run.released].filter((id) => !completed.has(id))).toEqual([]);
      run.bench.accounting.stop();
    },
  );

  it('the watched disk itself forgets: with fsync off, messages leave before they are durable', async () => {
    const { bench, errors } = await runWithCuts(1, 'off');
    expect(errors.some((words) => words.includes('before it was durable'))).toBe(true);
    bench.accounting.stop();
  });
});
