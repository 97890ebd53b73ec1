// A rebuild from archive and journals on both stores: the same cells, books, records and vouchers as before, and verify adds up.
import { randomUUID } from 'node:crypto';
import { appendFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { JournalEntry } from '#accounting/journal-entry.ts';
import { silentLog } from '#domain/log.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { hourOf } from '#domain/window.ts';
import { runAdjustCommand } from '#ledger/adjust-command.ts';
import { exportDue } from '#ledger/export-due.ts';
import type { JournalSource } from '#ledger/journal-folder.ts';
import { openArchive } from '#ledger/open-archive.ts';
import { rebuildLedger, type RebuildResult } from '#ledger/rebuild-ledger.ts';
import { dayOf } from '#ledger/scan-entries.ts';
import { verifyLedger } from '#ledger/verify-ledger.ts';
import { openStore, type OpenedStore } from '#store/open-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { freezeHonestly, type HonestLedger, writeHonestLedger } from './honest-ledger.ts';

const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const places = new StorePlaces('rebuild');

/** What gateways write into their journals, beside a store. */
function witness(store: SettlementStore, lines: JournalEntry[]): SettlementStore {
  return new Proxy(store, {
    get(target, property: keyof SettlementStore) {
      if (property === 'sync') {
        return async (message: Parameters<SettlementStore['sync']>[0]) => {
          lines.push({ t: 'message', message, slices: [], prices: [] });
          const reply = await target.sync(message);
          lines.push({ t: 'ack', atMs: 0, seq: message.seq, claimApplied: reply.claimApplied });
          return reply;
        };
      }
      if (property === 'commitFreeze') {
        return async (commit: Parameters<SettlementStore['commitFreeze']>[0]) => {
          const { hash: previousHash, facts: book } = await target.readFreezeInput();
          const { epoch } = await target.open();
          lines.push({ t: 'facts', atMs: 0, epoch, book }, { t: 'freeze', epoch, previousHash, commit });
          const status = await target.commitFreeze(commit);
          if (status === 'committed') lines.push({ t: 'frozen', atMs: 0, k: commit.expected.k + 1, hash: commit.hash });
          return status;
        };
      }
      return (...args: never[]) => Reflect.apply(target[property] as (...given: never[]) => unknown, target, args);
    },
  });
}

describe.each(['sqlite', 'redis'] as const)('rebuild on %s', (kind) => {
  let lost: OpenedStore;
  let found: OpenedStore;
  let folder: string;
  let ledger: HonestLedger;
  let lines: JournalEntry[];
  let day: number;

  const open = (): OpenedStore => {
    const { url, prefix } = places.newPlace(kind);
    const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS, archive: folder };
    return openStore({ url, prefix, timeoutMs: 5000, retention, log: silentLog });
  };

  beforeEach(async () => {
    folder = join(places.folder, `archive-${randomUUID()}`);
    [lost, found] = [open(), open()];
    lines = [];
    const recorded = witness(lost.settlement, lines);
    ledger = await writeHonestLedger(recorded);
    day = dayOf(ledger.hour + 2 * 3600);
    await ledger.authors[0]?.claim(['last.1'], [(day + 3600) * 1000]);
    const { frontier } = await lost.ledger.readHeads();
    for (let edge = hourOf((frontier ?? 0) + 1) + 3599; edge < day + DAY_SECONDS; edge += 3600) {
      await freezeHonestly(recorded, edge, {});
    }
    // Claimed with the windows before midnight, ended after it: what was turned away waits for no window.
    await ledger.authors[0]?.claim(['early.1'], [(day + DAY_SECONDS + 5) * 1000]);
    await freezeHonestly(recorded, day + DAY_SECONDS + 61, { 'j-b': 55n });
    const { vouchers, books, ledger: reader } = lost;
    const args = { team: 'search', amount: '-1.5', reason: 'credit', author: 'Ada', id: 'c' };
    await runAdjustCommand({ vouchers, books, ledger: reader, teams: ['search'], archive: '', args, write: () => {} });
    const ahead = new Proxy(reader, {
      get: (target, property: keyof typeof reader) =>
        property === 'readHeads'
          ? async () => ({ ...(await target.readHeads()), nowMs: (day + DAY_SECONDS + 3600) * 1000 })
          : (...given: never[]) => Reflect.apply(target[property] as (...g: never[]) => unknown, target, given),
    });
    const { archiveMarks: marks, leases } = lost;
    const request = { ledger: ahead, books, marks, leases, folder, recordsMs: 35 * DAY_MS, format: 'ndjson' as const };
    const { exported } = await exportDue({ ...request, gzip: true, onProgress: () => {} });
    expect(exported.length).toBeGreaterThan(0);
    // Later than the export: one record of the archived day, one of the day after.
    await ledger.authors[1]?.claim(['after.1'], [(day + DAY_SECONDS + 30) * 1000]);
    await freezeHonestly(recorded, day + DAY_SECONDS + 90, { 'j-a': 77n });
  });
  afterEach(async () => {
    await lost.settlement.close();
    await found.settlement.close();
  });

  const rebuild = async (entries: readonly JournalEntry[]): Promise<RebuildResult> => {
    await found.settlement.open();
    const source: JournalSource = {
      name: 'memory',
      bytes: 1,
      incarnation: 1,
      *read() {
        // As in a folder per journal: acknowledgements follow their own journal's lines.
        for (const journal of ['j-a', 'j-b', '']) {
          for (const [i, entry] of entries.entries()) {
            const owner = entry.t === 'message' ? entry.message.journal : '';
            if (owner !== journal || entry.t === 'ack') continue;
            yield entry;
            const next = entries[i + 1];
            if (entry.t === 'message' && next?.t === 'ack') yield next;
          }
        }
      },
    };
    return rebuildLedger({
      restorer: found.restorer(),
      journals: [source],
      archive: await openArchive(folder),
      nowMs: await found.settlement.now(),
      recordsMs: 35 * DAY_MS,
      onProgress: () => {},
    });
  };
  const readAll = async ({ books }: OpenedStore) => {
    const period = { from: dayOf(ledger.hour), to: day + 2 * DAY_SECONDS };
    const sorted = <T>(rows: readonly T[]) =>
      rows
        .map((row) => JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
        .toSorted();
    const records = await books.readRecords({ limit: 1000, fromMs: period.from * 1000, toMs: period.to * 1000 });
    return {
      hours: sorted(await books.readRollups(period, 'hour')),
      days: sorted(await books.readRollups(period, 'day')),
      books: sorted(await books.readBooks(period)),
      vouchers: await books.readVouchers(),
      records: records.records.map(({ requestId }) => requestId).toSorted(),
    };
  };
  const verify = () =>
    verifyLedger({
      ledger: found.ledger,
      books: found.books,
      period: { from: null, to: null },
      recordsMs: 35 * DAY_MS,
      rollupsMs: 400 * DAY_MS,
      onProgress: () => {},
    });

  test('archive and journals that have lost their beginning bring everything back, once', async () => {
    // The first messages of each journal, and the first freezes, are past their retention.
    const kept = lines.filter(
      (entry, i) =>
        !(entry.t === 'message' && entry.message.seq <= 2) &&
        !(entry.t === 'ack' && entry.seq <= 2) &&
        !(i < 12 && (entry.t === 'freeze' || entry.t === 'frozen')),
    );
    const result = await rebuild(kept);
    expect(result).toMatchObject({ missingJournals: [], isComplete: false });
    expect(result.archivedDays.length).toBeGreaterThan(0);
    expect(await readAll(found)).toEqual(await readAll(lost));
    expect(await verify()).toMatchObject({ ok: true, firstBroken: null, differenceNanoUsd: 0n });
    // The journals go on where they stood.
    const { frontier, k, freezeHash } = await lost.ledger.readHeads();
    expect(await found.ledger.readHeads()).toMatchObject({ frontier, k, freezeHash });
    expect(await found.ledger.readUnclaimed('j-a', 0)).toEqual(await lost.ledger.readUnclaimed('j-a', 0));
    await expect(rebuild(kept)).rejects.toThrow('not empty');
  });

  test('a record that ended after midnight in an entry of the archived day before is brought back, and verify adds up', async () => {
    await rebuild(lines);
    const after = { limit: 1000, fromMs: (day + DAY_SECONDS) * 1000 };
    const read = async ({ books }: OpenedStore) =>
      (await books.readRecords(after)).records.map(({ requestId }) => requestId);
    expect(await read(found)).toEqual(['after', 'early']);
    expect(await read(found)).toEqual(await read(lost));
    expect(await verify()).toMatchObject({ ok: true, firstBroken: null, differenceNanoUsd: 0n });
  });

  test('the archive alone brings its days back', async () => {
    const result = await rebuild([]);
    expect(result).toMatchObject({ from: null, frontier: day + DAY_SECONDS - 1 });
    const [back, before] = [await readAll(found), await readAll(lost)];
    expect(back.days.length).toBeGreaterThan(0);
    expect(before.days).toEqual(expect.arrayContaining(back.days));
    expect(before.books).toEqual(expect.arrayContaining(back.books));
    expect(await verify()).toMatchObject({ ok: true, differenceNanoUsd: 0n });
  });

  test('a damaged archive is refused and names the file', async () => {
    const name = readdirSync(folder).find((file) => file.startsWith('books-')) ?? '';
    appendFileSync(join(folder, name), 'x');
    await expect(rebuild(lines)).rejects.toThrow(name);
    expect(await found.settlement.readFreezeInput()).toMatchObject({ frontier: null });
  });
});
