// What people do to the books, on both stores: adjustments move money and are booked once, a closed month never changes again.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Config } from '#config/config.ts';
import { silentLog } from '#domain/log.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { SECONDS_PER_HOUR } from '#domain/window.ts';
import { type AdjustArguments, runAdjustCommand } from '#ledger/adjust-command.ts';
import { type CloseArguments, runCloseCommand } from '#ledger/close-command.ts';
import { exportDay } from '#ledger/export-day.ts';
import { dayOf } from '#ledger/scan-entries.ts';
import { type LedgerMonth, monthAt } from '#ledger/ledger-month.ts';
import { verifyLedger, type VerifyResult } from '#ledger/verify-ledger.ts';
import { computeChargeback } from '#reports/chargeback.ts';
import { readReportSource } from '#reports/read-report.ts';
import { renderCsv } from '#reports/render-csv.ts';
import { toReportJson } from '#reports/render-json.ts';
import { parseTimeZone } from '#reports/time-zone.ts';
import { openStore, type OpenedStore } from '#store/open-store.ts';
import { type StorePlace, StorePlaces } from '#test/support/store-places.ts';
import { freezeHonestly, type HonestLedger, writeHonestLedger } from './honest-ledger.ts';

const DAY_MS = 86_400_000;
const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
const places = new StorePlaces('vouchers');

interface ReportJson {
  readonly outstanding: Readonly<Record<'pendingNanoUsd' | 'lateNanoUsd' | 'unattributedNanoUsd', string>>;
  readonly periodStatus: string;
  readonly ledgerHash: string;
  readonly rows: readonly {
    team: string;
    costNanoUsd: string;
    correctionNanoUsd?: string;
    totalNanoUsd: string;
    requests: number;
  }[];
  readonly corrections: readonly {
    team: string;
    amountNanoUsd: string;
    reason: string;
    author: string;
    corrects: string;
    kind: string;
  }[];
  readonly totals: Readonly<
    Record<'capacityNanoUsd' | 'unsharedNanoUsd' | 'pendingNanoUsd' | 'unmeteredNanoUsd' | 'differenceNanoUsd', string>
  >;
}

/** More than the hours of a ledger and the rest of the present one. */
const LEDGER_SECONDS = 5 * SECONDS_PER_HOUR;

/** The same at a later time. */
function readAt(reader: LedgerReader, nowMs: number): LedgerReader {
  return new Proxy(reader, {
    get: (target, property: keyof LedgerReader) =>
      property === 'readHeads'
        ? async () => ({ ...(await target.readHeads()), nowMs })
        : (...given: never[]) => Reflect.apply(target[property] as (...g: never[]) => unknown, target, given),
  });
}

describe.each(['sqlite', 'redis'] as const)('vouchers on %s', (kind) => {
  let store: OpenedStore;
  let ledger: HonestLedger;
  let month: LedgerMonth;
  let place: StorePlace;

  beforeEach(async () => {
    place = places.newPlace(kind);
    store = openStore({ url: place.url, prefix: place.prefix, timeoutMs: 5000, retention, log: silentLog });
    // The ledger reaches hours ahead: where they would lie in two months, it begins with the next one, and so does the present.
    await store.settlement.open();
    const nowMs = await store.settlement.now();
    const next = monthAt(nowMs / 1000).to;
    const isNearlyOver = next - nowMs / 1000 < LEDGER_SECONDS;
    ledger = await writeHonestLedger(store.settlement, isNearlyOver ? next : 0);
    if (isNearlyOver) store = { ...store, ledger: readAt(store.ledger, (next + SECONDS_PER_HOUR) * 1000) };
    month = monthAt(ledger.hour);
  });
  afterEach(() => store.settlement.close());

  const adjust = async (args: AdjustArguments): Promise<string> => {
    let said = '';
    await runAdjustCommand({
      vouchers: store.vouchers,
      books: store.books,
      ledger: store.ledger,
      archive: '',
      teams: ['search', 'ads'],
      args,
      write: (text) => void (said += text),
    });
    return said;
  };
  const close = async (
    args: CloseArguments = {},
  ): Promise<{ closed: boolean; ledgerHash: string; writtenOffNanoUsd: string }> => {
    let said = '';
    const config = { teams: [], deployments: [] } as Pick<Config, 'teams' | 'deployments'>;
    const { vouchers, books, ledger: reader } = store;
    await runCloseCommand({
      vouchers,
      books,
      ledger: reader,
      month: month.name,
      config,
      archive: '',
      args: { ...args, author: 'finance', json: true },
      write: (text) => void (said += text),
    });
    return JSON.parse(said);
  };
  const verify = (): Promise<VerifyResult> =>
    verifyLedger({
      ledger: store.ledger,
      books: store.books,
      period: { from: null, to: null },
      ...retention,
      onProgress: () => {},
    });
  const report = async (span: { from: number; to: number } = month): Promise<ReportJson> => {
    const period = { from: span.from, to: span.to, timezone: parseTimeZone('UTC') };
    const source = await readReportSource(store.books, period, ['team']);
    const shared = { groupBy: ['team' as const], idlePolicy: 'separate' as const, team: null, nowMs: Date.now() };
    const computed = computeChargeback({ ...shared, period, source, config: { teams: [], deployments: [] } });
    const totals = renderCsv(computed)
      .split('\r\n')
      .slice(1, -1)
      .map((line) => line.split(',').at(-1) ?? '0');
    const sum = totals.reduce((total, text) => total + BigInt(text.replace('.', '')), 0n);
    const json = toReportJson(computed) as unknown as ReportJson;
    // What the CSV says sums to the bill, corrections or not.
    expect(String(sum)).toBe(json.totals.capacityNanoUsd);
    return json;
  };
  /** One freeze at each hour's edge, as gateways do, until the month is over. */
  const settle = async (): Promise<void> => {
    const { frontier } = await store.ledger.readHeads();
    for (
      let hour = Math.ceil(((frontier ?? 0) + 1) / SECONDS_PER_HOUR) * SECONDS_PER_HOUR;
      hour < month.to;
      hour += SECONDS_PER_HOUR
    ) {
      await freezeHonestly(store.settlement, hour + SECONDS_PER_HOUR - 1, {});
    }
    await freezeHonestly(store.settlement, month.to + 61, {});
  };
  const rowsTotal = ({ rows }: ReportJson): bigint => rows.reduce((sum, row) => sum + BigInt(row.totalNanoUsd), 0n);

  test('an adjustment moves money between two rows, shows in the report, and changes neither bill nor books', async () => {
    const before = await report();
    await adjust({
      team: 'ads',
      amount: '0.000000500',
      against: 'search',
      reason: 'wrong key',
      author: 'Ada',
      id: 'a-1',
    });
    const after = await report();
    expect(after.totals).toEqual(before.totals);
    expect(rowsTotal(after)).toBe(rowsTotal(before));
    expect(after.rows.find(({ team }) => team === 'ads')).toMatchObject({
      costNanoUsd: '0',
      correctionNanoUsd: '500',
      totalNanoUsd: '500',
    });
    expect(after.corrections).toMatchObject([
      { team: 'ads', amountNanoUsd: '500', reason: 'wrong key', author: 'Ada', corrects: month.name },
      { team: 'search', amountNanoUsd: '-500', reason: 'wrong key', author: 'Ada' },
    ]);
    expect(await verify()).toMatchObject({ ok: true, differenceNanoUsd: 0n });
  });

  test('the same id is booked once, and refused for anything else', async () => {
    const wanted = { team: 'search', amount: '-1.25', reason: 'credit', author: 'Ada', id: 'a-2' };
    expect(await adjust(wanted)).toContain('Booked');
    expect(await adjust(wanted)).toContain('Already booked');
    expect((await report()).corrections).toHaveLength(2);
    await expect(adjust({ ...wanted, amount: '-1.26' })).rejects.toThrow('a-2');
    await Promise.all([1, 2, 3].map((n) => adjust({ ...wanted, id: `p-${n}` })));
    expect((await store.books.readVouchers()).map(({ n }) => n)).toEqual([1, 2, 3, 4]);
    expect(await verify()).toMatchObject({ ok: true });
  });

  test('a month that is not settled, or has money nobody holds, is not closed', async () => {
    await expect(close()).rejects.toThrow('not settled');
    await settle();
    await expect(close()).rejects.toThrow('--write-off');
    expect(await store.books.readVouchers()).toEqual([]);
  });

  test('a closed month reproduces byte for byte, and what is claimed later is a pair of corrections in the open one', async () => {
    await settle();
    const { writtenOffNanoUsd, ledgerHash } = await close({ writeOff: true });
    expect(writtenOffNanoUsd).toBe('123');
    const closed = await report();
    expect(closed).toMatchObject({ periodStatus: 'closed', ledgerHash });
    expect(closed.totals).toMatchObject({ pendingNanoUsd: '0', differenceNanoUsd: '0' });
    expect(closed.rows.find(({ team }) => team === '(unattributed)')).toMatchObject({ costNanoUsd: '123' });
    expect(await verify()).toMatchObject({ ok: true, firstBroken: null, differenceNanoUsd: 0n });
    // The gateway comes back: its record ended in the closed month.
    await ledger.authors[0]?.claim(['late.1'], [(ledger.hour + 1800) * 1000]);
    expect(await report()).toEqual(closed);
    const next = monthAt(month.to);
    const open = await report(next);
    expect(open).toMatchObject({ periodStatus: 'open', totals: { differenceNanoUsd: '0' } });
    expect(open.corrections).toMatchObject([
      { kind: 'late', team: 'search', amountNanoUsd: '123', corrects: month.name },
      { kind: 'late', team: '(unattributed)', amountNanoUsd: '-123' },
    ]);
    expect(open.rows.find(({ team }) => team === 'search')).toMatchObject({ totalNanoUsd: '123', requests: 1 });
    // The close counted it as nobody's; in the open month it is taken back from there.
    expect(closed.outstanding).toMatchObject({ pendingNanoUsd: '0', lateNanoUsd: '0', unattributedNanoUsd: '123' });
    expect(open.outstanding).toMatchObject({ pendingNanoUsd: '0', lateNanoUsd: '123', unattributedNanoUsd: '-123' });
    expect(await verify()).toMatchObject({ ok: true, firstBroken: null, differenceNanoUsd: 0n });
    expect(await close()).toMatchObject({ closed: false, ledgerHash });
    // Neither the day it ended in nor the day it is counted in is missing a record.
    for (let hour = month.to; hour < month.to + 86_400; hour += 3600)
      await freezeHonestly(store.settlement, hour + 3599, {});
    await freezeHonestly(store.settlement, month.to + 86_400 + 61, {});
    const archive = {
      folder: join(places.folder, place.prefix),
      format: 'ndjson' as const,
      gzip: false,
      partial: false,
    };
    for (const day of [dayOf(ledger.hour), month.to]) {
      const { ledger: reader, books } = store;
      const manifest = await exportDay({ ...archive, ledger: reader, books, day, onProgress: () => {} });
      expect(manifest.complete).toBe(true);
    }
  });

  test('an adjustment of a closed month stands in the open one', async () => {
    await settle();
    await close({ writeOff: true });
    const closed = await report();
    await adjust({ team: 'ads', amount: '2', month: month.name, reason: 'late invoice', author: 'Bob' });
    expect(await report()).toEqual(closed);
    const { corrections } = await report(monthAt(month.to));
    expect(corrections[0]).toMatchObject({ corrects: month.name, team: 'ads', amountNanoUsd: '2000000000' });
    expect(await verify()).toMatchObject({ ok: true });
  });

  test('a changed voucher, and a changed figure of a closed month, are found', async () => {
    await settle();
    await adjust({ team: 'ads', amount: '3', reason: 'r', author: 'a', id: 'v' });
    await close({ writeOff: true });
    const change = async (edit: (text: string) => string) => {
      if (kind === 'sqlite') {
        const db = new DatabaseSync(place.path);
        const row = db.prepare('SELECT body FROM vouchers WHERE n = 1').get();
        db.prepare('UPDATE vouchers SET body = ? WHERE n = 1').run(edit(String(row?.['body'])));
        db.close();
      } else {
        const key = `${place.prefix}:{s0}:vouchers`;
        await places.admin.lset(key, 0, edit((await places.admin.lindex(key, 0)) ?? ''));
      }
    };
    await change((text) => text.replace('"author":"a"', '"author":"b"'));
    expect((await verify()).firstBroken).toMatchObject({ kind: 'voucher', id: '1 v' });
    await change((text) => text.replace('"author":"b"', '"author":"a"'));
    expect(await verify()).toMatchObject({ ok: true });
  });
});
