// The lease contract on SQLite and on a real Redis.
import { silentLog } from '#domain/log.ts';
import { openStore } from '#store/open-store.ts';
import { SqliteStore } from '#store/sqlite/sqlite-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { describeLeaseStore } from './lease-store.case.ts';

const DAY_MS = 86_400_000;
const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
const places = new StorePlaces('leases');
let nowMs = Date.now();

describeLeaseStore({
  name: 'sqlite',
  openClients: async () => {
    const { path } = places.newPlace('sqlite');
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
    const { url, prefix } = places.newPlace('redis');
    const options = { url, prefix, timeoutMs: 5000, retention, log: silentLog };
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
