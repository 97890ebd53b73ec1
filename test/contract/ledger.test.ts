// What `ledger verify` finds on both stores: an honest ledger adds up, and each single change of it is found and named.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ChargeLine, CellIncrement } from '#domain/settlement.ts';
import { silentLog } from '#domain/log.ts';
import { formatSecond } from '#domain/window.ts';
import type { VerifyResult } from '#ledger/verify-ledger.ts';
import { verifyLedger } from '#ledger/verify-ledger.ts';
import { openStore, type OpenedStore } from '#store/open-store.ts';
import { cellStart } from '#store/rollup-cells.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { freezeHonestly, type HonestLedger, writeHonestLedger } from './honest-ledger.ts';
import { editMessage, editRecordOf, tamperWithRedis, tamperWithSqlite, type Tampering } from './ledger-tampering.ts';

const DAY_MS = 86_400_000;
const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
const places = new StorePlaces('ledger');

describe.each(['sqlite', 'redis'] as const)('ledger verify on %s', (kind) => {
  let store: OpenedStore;
  let tampering: Tampering;
  let ledger: HonestLedger;

  beforeEach(async () => {
    const { url, prefix, path } = places.newPlace(kind);
    store = openStore({ url, prefix, timeoutMs: 5000, retention, log: silentLog });
    tampering = kind === 'sqlite' ? tamperWithSqlite(path) : tamperWithRedis(places.admin, prefix);
    ledger = await writeHonestLedger(store.settlement);
  });
  afterEach(() => store.settlement.close());

  const verify = (): Promise<VerifyResult> =>
    verifyLedger({
      ledger: store.ledger,
      books: store.books,
      period: { from: null, to: null },
      ...retention,
      onProgress: () => {},
    });

  test('an honest ledger adds up, with a record whose lines came in three claims and hours', async () => {
    expect(await verify()).toEqual({ ok: true, records: 8, hours: 4, differenceNanoUsd: 0n, firstBroken: null });
  });

  test('one digit of a charge line is found at its record', async () => {
    const edit = editMessage(({ claim }) => {
      const line = claim.lines[0] as { -readonly [K in keyof ChargeLine]: ChargeLine[K] };
      line.costNanoUsd = String(BigInt(line.costNanoUsd) + 10n);
    });
    await tampering.editEntry('j-a', 1, edit);
    const { ok, firstBroken } = await verify();
    expect(ok).toBe(false);
    expect(firstBroken).toMatchObject({ kind: 'line', id: 'r10.1' });
  });

  test('a line of an attempt that settles later is found there', async () => {
    const edit = editMessage(({ claim }) => {
      const line = claim.lines[1] as { -readonly [K in keyof ChargeLine]: ChargeLine[K] };
      line.gpuMicros = '501';
    });
    await tampering.editEntry('j-b', 0, edit);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'increment', expected: 'gpuMicros 1501' });
  });

  test('an increment moved from one team to another is found at its entry', async () => {
    const edit = editMessage(({ claim }) => {
      const increment = claim.increments[0] as { -readonly [K in keyof CellIncrement]: CellIncrement[K] };
      increment.team = 'somebody-else';
    });
    await tampering.editEntry('j-a', 2, edit);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'entry', id: expect.stringMatching(/^j-a\./) });
  });

  test('a token of a record is found and the record is named', async () => {
    const id = ledger.recordIds[3] ?? '';
    const edit = editRecordOf(id, (record) => ({ ...record, tokens: { ...record.tokens, output: 21 } }));
    await tampering.editRecord(id, edit);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'record', id });
  });

  test.each([0, 1, 2])('entry %i deleted is named', async (place) => {
    const id = await tampering.deleteEntry('j-a', place);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'entry', id, found: 'missing' });
  });

  test('two entries exchanged are found at the first', async () => {
    const id = await tampering.swapEntries('j-b', [0, 1]);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'entry', id });
  });

  test.each(['requests', 'inputTokens', 'costNanoUsd', 'wastedNanoUsd'] as const)(
    '%s of an hour cell off by one is found in its hour',
    async (metric) => {
      await tampering.addToCell('hour', ledger.hour + 3600, metric, 1);
      const { firstBroken } = await verify();
      expect(firstBroken).toMatchObject({ kind: 'cell', hour: formatSecond(ledger.hour + 3600) });
      expect(firstBroken?.expected).toContain(metric);
    },
  );

  test.each(['day', 'month'] as const)('a %s cell that is not the sum of its parts is found', async (granularity) => {
    await tampering.addToCell(granularity, cellStart(granularity, ledger.hour), 'outputTokens', 1);
    const { firstBroken } = await verify();
    expect(firstBroken).toMatchObject({ kind: 'cell', id: expect.stringContaining(granularity) });
  });

  test.each([
    ['capacityNanoUsd', 1n],
    ['idleNanoUsd', -1n],
    ['chargedNanoUsd', -1n],
    ['claimedNanoUsd', 1n],
  ] as const)('%s of the books off by one is found at its pool and hour: difference %s', async (metric, difference) => {
    await tampering.addToBook(ledger.hour, metric, 1);
    expect(await verify()).toMatchObject({
      ok: false,
      differenceNanoUsd: difference,
      firstBroken: { kind: 'book', id: 'trt-1', hour: formatSecond(ledger.hour) },
    });
  });

  test('charged and capacity raised together are found by the shares', async () => {
    await tampering.addToBook(ledger.hour, 'capacityNanoUsd', 7);
    await tampering.addToBook(ledger.hour, 'chargedNanoUsd', 7);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'book', found: expect.stringContaining('charged') });
  });

  test('two freezes exchanged break the chain in their hour', async () => {
    await tampering.swapFreezes(ledger.hour);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'freeze', hour: formatSecond(ledger.hour) });
  });

  test('an hour of freezes deleted is found', async () => {
    await tampering.deleteFreezeHour(ledger.hour + 3600);
    expect((await verify()).firstBroken).toMatchObject({ kind: 'freeze', hour: formatSecond(ledger.hour + 3600) });
  });

  test('an honest ledger adds up from any hour on', async () => {
    for (let hour = 0; hour < 4; hour += 1) {
      const period = { from: ledger.hour + hour * 3600, to: null };
      const shared = { ledger: store.ledger, books: store.books, ...retention };
      const result = await verifyLedger({ ...shared, period, onProgress: () => {} });
      expect(result).toMatchObject({ ok: true, hours: 4 - hour, firstBroken: null });
    }
  });

  test('freezes that come while the books are read are no breakage', async () => {
    let to = ledger.hour + 4 * 3600;
    const { ledger: reader } = store;
    const moving: typeof reader = {
      readHeads: async () => {
        const heads = await reader.readHeads();
        to += 1;
        if (to % 5 === 0)
          await freezeHonestly(store.settlement, Math.max(to, (heads.frontier ?? 0) + 1), { 'j-b': 9n });
        return heads;
      },
      listEntries: (day) => reader.listEntries(day),
      readEntries: (day, names) => reader.readEntries(day, names),
      readFreezeHour: (hour) => reader.readFreezeHour(hour),
      readUnclaimed: (journal, afterK) => reader.readUnclaimed(journal, afterK),
    };
    const shared = { books: store.books, ...retention, period: { from: null, to: null } };
    const result = await verifyLedger({ ...shared, ledger: moving, onProgress: () => {} });
    expect(result).toMatchObject({ ok: true, differenceNanoUsd: 0n, firstBroken: null });
  });
});
