// What settlement asks of Redis per second, by gateways, active tenants and requests: real accounting planes and a real server, requests made up.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { type Accounting, createAccounting } from '#accounting/create-accounting.ts';
import { createWindowClock, machineClock, type WindowClock } from '#accounting/window-clock.ts';
import { silentLog } from '#domain/log.ts';
import { openStore, type OpenedStore } from '#store/open-store.ts';
import { createEnd, createStart, PROFILE } from '#test/support/accounting-bench.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { createPoolFacts } from '#test/support/settlement-facts.ts';

export interface OperationsLoad {
  readonly gateways: number;
  readonly tenants: number;
  /** Of all gateways together. */
  readonly requestsPerSecond: number;
  readonly seconds: number;
}

export interface OperationsResult extends OperationsLoad {
  /** Calls that gateways sent, per second. */
  readonly callsPerSecond: number;
  /** Commands that Redis ran for them, those inside scripts included, per second. */
  readonly commandsPerSecond: number;
  readonly requests: number;
  /** Bytes that Redis holds more than before, per request. */
  readonly bytesPerRequest: number;
}

const DAY_MS = 86_400_000;
const RETENTION = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
/** Rounds until the books run steadily: joined, frontier moving, first claims made. */
const WARM_UP_MS = 6000;

/** Runs the load for its time on a Redis of its own. */
export async function measureOperations(load: OperationsLoad): Promise<OperationsResult> {
  const server = await startRedis();
  const admin = new Redis(server.url);
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-operations-'));
  const planes: Plane[] = [];
  try {
    for (let index = 0; index < load.gateways; index += 1) planes.push(await startPlane(server.url, folder, index));
    const traffic = startTraffic(planes, load);
    await sleep(WARM_UP_MS);
    const before = await readCounters(admin);
    const requestsBefore = traffic.count();
    await sleep(load.seconds * 1000);
    const after = await readCounters(admin);
    const requests = traffic.count() - requestsBefore;
    traffic.stop();
    return {
      ...load,
      requests,
      callsPerSecond: (after.calls - before.calls) / load.seconds,
      commandsPerSecond: (after.commands - before.commands) / load.seconds,
      bytesPerRequest: (after.bytes - before.bytes) / Math.max(1, requests),
    };
  } finally {
    for (const plane of planes) await plane.close();
    admin.disconnect();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Plane {
  readonly accounting: Accounting;
  readonly clock: WindowClock;
  readonly store: OpenedStore;
  close(): Promise<void>;
}

async function startPlane(url: string, folder: string, index: number): Promise<Plane> {
  const clock = createWindowClock(machineClock);
  const store = openStore({ url, prefix: 'operations', timeoutMs: 1000, retention: RETENTION, log: silentLog });
  const { effectiveFrom: _, ...facts } = createPoolFacts();
  const accounting = createAccounting({
    store: store.settlement,
    journalDir: join(folder, `journal-${index}`),
    fsync: 'grouped',
    horizonMs: 30_000,
    silenceMs: 900_000,
    clock,
    log: silentLog,
    wantedFacts: () => new Map([[facts.pool, facts]]),
    listener: { claimApplied() {}, booksCommitted() {} },
    profileOf: () => ({ profile: PROFILE, source: 'declared' }),
  });
  await accounting.start();
  await accounting.ready;
  return {
    accounting,
    clock,
    store,
    async close() {
      accounting.stop();
      await store.settlement.close();
    },
  };
}

/** Short streams at a fixed rate, tenants and gateways in turn. */
function startTraffic(planes: readonly Plane[], { tenants, requestsPerSecond }: OperationsLoad) {
  let count = 0;
  const startedAtMs = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAtMs) / 1000) * requestsPerSecond;
    while (count < due) {
      const plane = planes[count % planes.length];
      if (plane !== undefined) void askOnce(plane, `${count}-${startedAtMs}`, `team-${count % tenants}`);
      count += 1;
    }
  }, 20);
  return { count: () => count, stop: () => clearInterval(timer) };
}

async function askOnce({ accounting, clock }: Plane, id: string, team: string): Promise<void> {
  const time = { ...clock, monotonicMs: () => clock.monotonicMs(), epochMs: () => clock.epochMs() };
  const start = createStart({ ...time, advance() {}, stepEpoch() {} }, id, { team });
  const meter = accounting.metering.begin(start);
  await sleep(40);
  meter.upstreamBytes(clock.monotonicMs());
  meter.content(clock.monotonicMs(), 5);
  await sleep(40);
  await meter.finish(createEnd({ ...time, advance() {}, stepEpoch() {} }, start, { prompt: 400, output: 40 }));
}

async function readCounters(admin: Redis): Promise<{ calls: number; commands: number; bytes: number }> {
  const statistics = await admin.info('commandstats');
  const memory = await admin.info('memory');
  let calls = 0;
  let commands = 0;
  for (const [, name = '', times] of statistics.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    if (name === 'info') continue;
    commands += Number(times);
    // Everything but the health of a connection goes through scripts.
    if (name === 'evalsha' || name === 'eval') calls += Number(times);
  }
  return { calls, commands, bytes: Number(/^used_memory:(\d+)/m.exec(memory)?.[1] ?? 0) };
}
