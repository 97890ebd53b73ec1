// Retention on both stores: a day leaves after its export and its time, never before, and what comes late is exported again.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { hourOf } from '#domain/window.ts';
import { checkArchive } from '#ledger/audit-archive.ts';
import { exportDay } from '#ledger/export-day.ts';
import { exportDue, type ExportDueResult } from '#ledger/export-due.ts';
import { dayOf } from '#ledger/scan-entries.ts';
import { verifyLedger } from '#ledger/verify-ledger.ts';
import { openStore, type OpenedStore } from '#store/open-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { freezeHonestly, type HonestLedger, writeHonestLedger } from './honest-ledger.ts';

const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const places = new StorePlaces('archive');

describe.each(['sqlite', 'redis'] as const)('archive on %s', (kind) => {
  let store: OpenedStore;
  let ledger: HonestLedger;
  let folder: string;
  let prefix: string;
  let day: number;
  /** Added to the clock that exportDue goes by. */
  let aheadMs: number;

  beforeEach(async () => {
    const place = places.newPlace(kind);
    prefix = place.prefix;
    folder = join(places.folder, prefix);
    aheadMs = 0;
    const retention = { recordsMs: 2 * DAY_MS, rollupsMs: 400 * DAY_MS, archive: folder };
    store = openStore({ url: place.url, prefix, timeoutMs: 5000, retention, log: silentLog });
    ledger = await writeHonestLedger(store.settlement);
    day = dayOf(ledger.hour + 2 * 3600);
    await ledger.authors[0]?.claim(['last.1'], [(day + 3600) * 1000]);
    const { frontier } = await store.ledger.readHeads();
    for (let edge = hourOf((frontier ?? 0) + 1) + 3599; edge < day + DAY_SECONDS; edge += 3600) {
      await freezeHonestly(store.settlement, edge, {});
    }
    await freezeHonestly(store.settlement, day + DAY_SECONDS + 61, {});
  });
  afterEach(() => store.settlement.close());

  /** The store's ledger some days later. */
  const later = (): LedgerReader => ({
    readHeads: async () => {
      const heads = await store.ledger.readHeads();
      return { ...heads, nowMs: heads.nowMs + aheadMs };
    },
    listEntries: (of) => store.ledger.listEntries(of),
    readEntries: (of, names) => store.ledger.readEntries(of, names),
    readFreezeHour: (hour) => store.ledger.readFreezeHour(hour),
    readUnclaimed: (journal, afterK) => store.ledger.readUnclaimed(journal, afterK),
  });
  const due = (): Promise<ExportDueResult> =>
    exportDue({
      ledger: later(),
      books: store.books,
      marks: store.archiveMarks,
      leases: store.leases,
      folder,
      recordsMs: 2 * DAY_MS,
      format: 'ndjson',
      gzip: true,
      onProgress: () => {},
    });
  const kept = async () => (await store.ledger.listEntries(day)).length;

  test('a day leaves the store only after its export and its retention, whole, and verify still adds up', async () => {
    const entries = await kept();
    expect(entries).toBeGreaterThan(1);
    aheadMs = DAY_MS;
    const first = await due();
    expect(first).toMatchObject({ held: true, dropped: [], waiting: [] });
    expect(first.exported.length).toBeGreaterThan(0);
    expect(readdirSync(folder).some((name) => name.startsWith('manifest-'))).toBe(true);
    expect(await kept()).toBe(entries);
    expect((await due()).exported).toEqual([]);
    const { ledger: reader, books, archiveMarks: marks } = store;
    const check = () => checkArchive({ ledger: reader, books, marks, folder, onProgress: () => {} });
    expect(await check()).toBeNull();
    const records = join(folder, first.exported[0]?.files[0]?.name ?? '');
    const bytes = readFileSync(records);
    writeFileSync(records, 'x');
    expect(await check()).toMatchObject({ kind: 'manifest', id: first.exported[0]?.day });
    writeFileSync(records, bytes);
    const manifest = join(folder, `manifest-${first.exported[0]?.day ?? ''}.json`);
    const said = readFileSync(manifest, 'utf8');
    writeFileSync(manifest, said.replace(/"seq": \d+/, '"seq": 999'));
    expect(await check()).toMatchObject({ kind: 'manifest' });
    writeFileSync(manifest, said);
    expect(await check()).toBeNull();
    aheadMs = 4 * DAY_MS;
    expect((await due()).dropped).toContain(new Date(day * 1000).toISOString().slice(0, 10));
    expect(await kept()).toBe(0);
    expect(await due()).toEqual({ held: true, exported: [], dropped: [], waiting: [] });
    const again = { ledger: reader, books, day, folder, format: 'ndjson', gzip: true, onProgress: () => {} } as const;
    await expect(exportDay({ ...again, partial: true })).rejects.toThrow('they would be lost');
    expect(await check()).toBeNull();
    const period = { fromMs: day * 1000, toMs: (day + DAY_SECONDS) * 1000, limit: 1000 };
    expect((await store.books.readRecords(period)).records).toEqual([]);
    // What is gone is gone with its retention: the rest adds up.
    const verified = await verifyLedger({
      ledger: later(),
      books: store.books,
      period: { from: null, to: null },
      recordsMs: 2 * DAY_MS,
      rollupsMs: 400 * DAY_MS,
      onProgress: () => {},
    });
    expect(verified).toMatchObject({ ok: true, differenceNanoUsd: 0n });
  });

  test('a day that cannot be exported stays, whatever its age', async () => {
    aheadMs = DAY_MS;
    expect(await store.archiveMarks.dropDay(day)).toBe(true);
    expect(await kept()).toBeGreaterThan(1);
    if (kind !== 'redis') return;
    // No key of records or entries expires by itself.
    for (const key of await places.admin.keys(`${prefix}:{s0}:*`)) {
      if (/:(entries|bodies|batches):/.test(key)) expect(await places.admin.ttl(key)).toBe(-1);
    }
  });

  test('a record that comes after the export is exported again before its day may leave', async () => {
    // At night the ledger's last hour is of the next day already.
    aheadMs = (day + DAY_SECONDS + 7200) * 1000 - (await store.settlement.now());
    const first = await due();
    const before = first.exported.find((manifest) => Date.parse(manifest.day) / 1000 === day);
    await ledger.authors[1]?.claim(['later.1'], [(day + 7200) * 1000]);
    expect((await store.archiveMarks.readExported()).has(day)).toBe(false);
    await store.archiveMarks.dropDay(day);
    expect(await kept()).toBeGreaterThan(1);
    const second = await due();
    const after = second.exported.find((manifest) => Date.parse(manifest.day) / 1000 === day);
    expect(after?.records).toBe((before?.records ?? 0) + 1);
  });

  test('two processes do not export at once', async () => {
    aheadMs = DAY_MS;
    await store.leases.acquireLeases({ holder: 'somebody', names: ['archive'], ttlMs: 60_000 });
    expect(await due()).toEqual({ held: false, exported: [], dropped: [], waiting: [] });
  });
});
