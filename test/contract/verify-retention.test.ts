// What `ledger verify` says of books whose older parts have left the store with their retention: what is only gone is not broken.
import { describe, expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import { closeMonth } from '#ledger/close-month.ts';
import { monthAt } from '#ledger/ledger-month.ts';
import { verifyLedger } from '#ledger/verify-ledger.ts';
import { SqliteStore } from '#store/sqlite/sqlite-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { freezeHonestly, writeHonestLedger } from './honest-ledger.ts';

const DAY_MS = 86_400_000;
const START_MS = Date.UTC(2026, 0, 10, 12);
const places = new StorePlaces('verify-retention');

describe('the ledger of one day in a month that was closed adds up', () => {
  test.each([
    { records: 35, rollups: 400, ages: [34, 35, 405] },
    { records: 90, rollups: 400, ages: [60] },
    { records: 35, rollups: 30, ages: [31, 50] },
    { records: 35, rollups: 60, ages: [61] },
  ])('with records of $records and rollups of $rollups days, at the age of $ages days', async (given) => {
    const retention = { recordsMs: given.records * DAY_MS, rollupsMs: given.rollups * DAY_MS };
    let nowMs = START_MS;
    const { path, prefix } = places.newPlace('sqlite');
    const limits = { timeoutMs: 5000, readTimeoutMs: 5000, retention, log: silentLog };
    const store = new SqliteStore({ path, prefix, ...limits, now: () => nowMs });
    const month = monthAt((await writeHonestLedger(store)).hour);
    const settleThrough = async (second: number): Promise<void> => {
      let { frontier } = await store.readFreezeInput();
      while (frontier !== null && frontier < second) {
        frontier = hourOf(frontier + 1) + SECONDS_PER_HOUR - 1;
        await freezeHonestly(store, frontier, {});
      }
    };
    await settleThrough(month.to + SECONDS_PER_HOUR);
    const stores = { vouchers: store, books: store, ledger: store };
    await closeMonth({ ...stores, month, writeOff: true, author: 'finance', config: '{}' });
    for (const age of given.ages) {
      nowMs = START_MS + age * DAY_MS;
      // Freezes that will have left the store need not be there, hour by hour.
      const recent = hourOf(Math.floor(nowMs / 1000) - 10 * 86_400);
      if (((await store.readFreezeInput()).frontier ?? 0) < recent) await freezeHonestly(store, recent, {});
      await settleThrough(Math.floor(nowMs / 1000) - 1);
      const request = { ...retention, period: { from: null, to: null }, onProgress: () => {} };
      const { ok, firstBroken } = await verifyLedger({ ledger: store, books: store, ...request });
      expect({ age, ok, firstBroken }).toEqual({ age, ok: true, firstBroken: null });
    }
    await store.close();
  });
});
