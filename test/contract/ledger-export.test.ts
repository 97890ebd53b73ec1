// What `ledger export` writes from both stores: every record once, the same bytes each time, sums and hashes that can be checked.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { DayNotSettledError, type DayManifest, exportDay, type ExportDayRequest } from '#ledger/export-day.ts';
import { dayOf } from '#ledger/scan-entries.ts';
import { openStore, type OpenedStore } from '#store/open-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { freezeHonestly, type HonestLedger, writeHonestLedger } from './honest-ledger.ts';

const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
const places = new StorePlaces('export');

describe.each(['sqlite', 'redis'] as const)('ledger export on %s', (kind) => {
  let store: OpenedStore;
  let ledger: HonestLedger;
  let folder: string;
  /** The ledger's hours may cross midnight: the last whole day that holds records. */
  let day: number;
  /** Where the chain of freezes stands at the day's end. */
  let dayEnd: unknown;

  beforeEach(async () => {
    const { url, prefix } = places.newPlace(kind);
    store = openStore({ url, prefix, timeoutMs: 5000, retention, log: silentLog });
    ledger = await writeHonestLedger(store.settlement);
    folder = join(places.folder, prefix);
    day = dayOf(ledger.hour + 2 * 3600);
  });
  afterEach(() => store.settlement.close());

  /** Everything claimed, and the frontier past the day. */
  const settle = async () => {
    await ledger.authors[0]?.claim(['last.1'], [(day + 3600) * 1000]);
    const { frontier } = await store.ledger.readHeads();
    // Late in the day the ledger itself has crossed midnight already.
    if ((frontier ?? 0) < day + DAY_SECONDS - 1) await freezeHonestly(store.settlement, day + DAY_SECONDS - 1, {});
    const { k, freezeHash } = await store.ledger.readHeads();
    dayEnd = (frontier ?? 0) < day + DAY_SECONDS ? { k, hash: freezeHash } : expect.objectContaining({ k: k - 1 });
    await freezeHonestly(store.settlement, day + DAY_SECONDS + 61, {});
  };
  const run = (options: Partial<ExportDayRequest> = {}): Promise<DayManifest> =>
    exportDay({
      ledger: store.ledger,
      books: store.books,
      day,
      folder,
      format: 'ndjson',
      gzip: false,
      partial: false,
      onProgress: () => {},
      ...options,
    });
  const read = (name: string) => readFileSync(join(folder, name));
  const idsOf = async () =>
    (await store.books.readRecords({ limit: 1000, fromMs: day * 1000, toMs: (day + DAY_SECONDS) * 1000 })).records
      .map(({ requestId }) => requestId)
      .toReversed();

  test('a day that is not settled is refused and leaves no file; --partial exports and marks it', async () => {
    await expect(run()).rejects.toThrow(DayNotSettledError);
    expect(existsSync(folder)).toBe(false);
    expect(await run({ partial: true })).toMatchObject({ complete: false });
  });

  test('a settled day holds every record once, oldest first, in the shape of the contract', async () => {
    await settle();
    const { complete, records, files, sums } = await run();
    expect(complete).toBe(true);
    const lines = read(files[0]?.name ?? '')
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ requestId }) => requestId)).toEqual(await idsOf());
    expect(records).toBe(lines.length);
    expect(records).toBeGreaterThan(1);
    const cost = lines.reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd), 0n);
    expect(sums['costNanoUsd']).toBe(cost.toString());
    expect(cost).toBeGreaterThan(0n);
    expect(lines[0]).toMatchObject({ team: 'search', settled: true, tokens: { input: 100, output: 20, total: 120 } });
  });

  test('the same day exports to the same bytes, and the manifest holds their hash', async () => {
    await settle();
    const first = await run();
    const [file] = first.files;
    const [records, manifest] = [read(file?.name ?? ''), read(`manifest-${first.day}.json`)];
    expect(createHash('sha256').update(records).digest('hex')).toBe(file?.sha256);
    expect(records.length).toBe(file?.bytes);
    expect(JSON.parse(manifest.toString())).toEqual(first);
    await run();
    expect(read(file?.name ?? '').equals(records)).toBe(true);
    expect(read(`manifest-${first.day}.json`).equals(manifest)).toBe(true);
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  test('the manifest names the chain heads the store had, and its pools balance', async () => {
    await settle();
    const { chains, pools } = await run();
    const { journals, freezes, entries } = chains;
    expect(entries.count).toBeGreaterThan(1);
    const names = await store.ledger.listEntries(day);
    for (const [journal, { seq }] of Object.entries(journals)) {
      expect(Math.max(...names.filter((name) => name.journal === journal).map((name) => name.seq))).toBe(seq);
    }
    expect(freezes).toEqual(dayEnd);
    const pool = pools['trt-1'] ?? {};
    const amount = (name: string) => BigInt(pool[name] ?? '0');
    expect(amount('capacityNanoUsd')).toBe(amount('chargedNanoUsd') + amount('idleNanoUsd'));
    expect(amount('chargedNanoUsd')).toBe(amount('claimedNanoUsd'));
  });

  test('a changed record changes the ledger hash', async () => {
    await settle();
    const first = await run();
    await ledger.authors[1]?.claim(['later.1'], [(day + 7200) * 1000]);
    const second = await run();
    expect(second.records).toBe(first.records + 1);
    expect(second.ledgerHash).not.toBe(first.ledgerHash);
  });

  test('gzip and Parquet hold the same records, and the manifest lists all three files', async () => {
    await settle();
    await run();
    await run({ gzip: true });
    const { day: name, files, sums } = await run({ format: 'parquet' });
    expect(files.map((file) => file.name)).toEqual(
      ['.ndjson', '.ndjson.gz', '.parquet'].map((suffix) => `records-${name}${suffix}`),
    );
    expect(gunzipSync(read(`records-${name}.ndjson.gz`)).equals(read(`records-${name}.ndjson`))).toBe(true);
    const file = await asyncBufferFromFile(join(folder, `records-${name}.parquet`));
    const rows = await parquetReadObjects({ file });
    expect(rows.map((row) => row['requestId'])).toEqual(await idsOf());
    const cost = rows.reduce((sum: bigint, row) => sum + (row['costNanoUsd'] as bigint), 0n);
    expect(cost.toString()).toBe(sums['costNanoUsd']);
    expect(rows[0]).toMatchObject({ team: 'search', status: 200, stream: true, inputTokens: 100n, outputTokens: 20n });
    expect(rows[0]?.['reasoningTokens'] ?? null).toBeNull();
    expect(rows[0]?.['endedAt']).toBeInstanceOf(Date);
  });
});
