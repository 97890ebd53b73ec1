// The lease contract on SQLite and on a real Redis.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, inject } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { openStore } from '#store/open-store.ts';
import { SqliteStore } from '#store/sqlite/sqlite-store.ts';
import { describeLeaseStore } from './lease-store.case.ts';

const DAY_MS = 86_400_000;
const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
const folder = mkdtempSync(join(tmpdir(), 'inferometer-leases-'));
const prefix = `test-${randomUUID()}`;
const url = inject('redisUrl');
let nowMs = Date.now();
let count = 0;

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  const admin = new Redis(url);
  const keys = await admin.keys(`${prefix}-*`);
  if (keys.length > 0) await admin.del(...keys);
  admin.disconnect();
});

describeLeaseStore({
  name: 'sqlite',
  openClients: async () => {
    const path = join(folder, `store-${(count += 1)}.db`);
    const times = { timeoutMs: 10_000, readTimeoutMs: 10_000 };
    const create = () => new SqliteStore({ path, prefix: '', ...times, retention, log: silentLog, now: () => nowMs });
    const [left, right] = [create(), create()];
    await left.open();
    await right.open();
    return { left, right, close: async () => void (await Promise.all([left.close(), right.close()])) };
  },
  passMs: async (ms) => void (nowMs += ms),
});

describeLeaseStore({
  name: 'redis',
  openClients: async () => {
    const options = { url, prefix: `${prefix}-${(count += 1)}`, timeoutMs: 5000, retention, log: silentLog };
    const [left, right] = [openStore(options), openStore(options)];
    await left.settlement.open();
    await right.settlement.open();
    const close = async () => void (await Promise.all([left.settlement.close(), right.settlement.close()]));
    return { left: left.leases, right: right.leases, close };
  },
  // Only the server's own clock ends a lease there.
  passMs: (ms) =>
    new Promise((resolve) => {
      setTimeout(resolve, ms);
    }),
});
