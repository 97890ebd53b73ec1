// The money and the records both stores keep (domain/settlement.ts, domain/books.ts): claims, cells, books, pages.
import { describe, expect } from 'vitest';
import type { BooksReader } from '#domain/books.ts';
import { hourOf, windowOf } from '#domain/window.ts';
import { toSettledRecordJson } from '#reports/record-json.ts';
import { writeMessage } from '#domain/message-text.ts';
import { cellStart } from '#store/rollup-cells.ts';
import { claimOf, digest, JournalAuthor, recordAt } from './settlement-messages.ts';
import { StoreRig, type StoreSuite } from './store-rig.ts';

/** Defines the books' tests for one store. */
export function describeSettledBooks(suite: StoreSuite): void {
  describe(`settled books: ${suite.name}`, () => {
    const rig = new StoreRig(suite);

    rig.guarantee('a claim moves exactly its share: pending = charged − claimed', async () => {
      const other = new JournalAuthor(rig.author.epoch);
      await rig.settlement.join(other);
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 1000n, [other.journal]: 234n });
      const before = await rig.readPoolBooks();
      expect(before[0]?.metrics).toMatchObject({
        capacityNanoUsd: 1239n,
        chargedNanoUsd: 1234n,
        idleNanoUsd: 5n,
        claimedNanoUsd: 0n,
      });
      expect(before[0]).toMatchObject({ deployments: 'llama', gpu: 'H100-SXM' });
      expect(await rig.claimAll()).toMatchObject({ claimApplied: true, claimed: 1 });
      const after = await rig.readPoolBooks();
      expect(after[0]?.metrics).toMatchObject({ chargedNanoUsd: 1234n, claimedNanoUsd: 1000n, idleNanoUsd: 5n });
      const cells = await rig.readHourCells();
      expect(cells).toHaveLength(1);
      expect(cells[0]).toMatchObject({
        team: 'search',
        project: '',
        keyId: 'k_1',
        model: 'llama-3.1',
        deployment: 'llama',
      });
      expect(cells[0]?.metrics).toMatchObject({ requests: 1n, costNanoUsd: 1000n, gpuMicros: 10n, wastedNanoUsd: 0n });
    });

    rig.guarantee('a stale claim is skipped, its number is used, and a later one goes through', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 50n });
      const seen = await rig.beat();
      const claim = claimOf(seen);
      const sync = (changed: Partial<typeof claim>) =>
        rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier, claim: { ...claim, ...changed } }));
      expect(await sync({ k0: 1 })).toMatchObject({ status: 'ok', claimApplied: false, claimed: 0 });
      expect(await sync({ hash: digest('another chain') })).toMatchObject({ claimApplied: false, claimed: 0 });
      expect(await sync({ k: 2 })).toMatchObject({ claimApplied: false, claimed: 0 });
      expect(await rig.readHourCells()).toEqual([]);
      expect(await sync({})).toMatchObject({ status: 'ok', claimApplied: true, claimed: 1, seq: 5 });
      expect(await sync({})).toMatchObject({ claimApplied: false, claimed: 1 });
      expect((await rig.readHourCells())[0]?.metrics.costNanoUsd).toBe(50n);
    });

    rig.guarantee('a claim whose sums differ from its share moves nothing', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 50n });
      const claim = claimOf(await rig.beat());
      const [line] = claim.lines;
      const [increment] = claim.increments;
      const [pool] = claim.pools;
      if (line === undefined || increment === undefined || pool === undefined)
        throw new Error('the claim has no parts');
      const less = { ...line, costNanoUsd: '49' };
      const broken: Partial<typeof claim>[] = [
        { lines: [less] },
        { increments: [{ ...increment, metrics: { costNanoUsd: '51' } }] },
        { increments: [{ ...increment, metrics: { ...increment.metrics, inputTokens: '1.5' } }] },
        { pools: [{ ...pool, nanoUsd: '1' }] },
        {
          totalNanoUsd: '49',
          lines: [less],
          increments: [{ ...increment, metrics: { costNanoUsd: '49' } }],
          pools: [{ ...pool, nanoUsd: '49' }],
        },
      ];
      for (const change of broken) {
        const message = rig.author.next({ sealedThrough: rig.frontier, claim: { ...claim, ...change } });
        expect(await rig.settlement.sync(message)).toMatchObject({ status: 'ok', claimApplied: false, claimed: 0 });
      }
      expect(await rig.readHourCells()).toEqual([]);
      expect((await rig.readPoolBooks())[0]?.metrics.claimedNanoUsd).toBe(0n);
      expect((await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier, claim }))).claimApplied).toBe(
        true,
      );
    });

    rig.guarantee('a claim without shares delivers records that never reached an engine', async () => {
      const reply = await rig.settlement.sync(
        rig.author.next({
          sealedThrough: rig.frontier,
          claim: claimOf(rig.joined, {
            records: [recordAt(rig.joined.nowMs, { outcome: 'rejected' })],
            metrics: { rejectedRequests: '1' },
          }),
        }),
      );
      expect(reply).toMatchObject({ claimApplied: true, claimed: 0 });
      expect((await rig.readHourCells())[0]?.metrics).toMatchObject({ rejectedRequests: 1n, costNanoUsd: 0n });
      expect((await rig.books.readRecords({ limit: 10 })).records).toHaveLength(1);
    });

    rig.guarantee(
      'whether a part of its work came late stays with a record, and is not known of records without it',
      async () => {
        await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 7n });
        const at = rig.joined.nowMs;
        const records = [true, false, undefined].map((late, i) => {
          const record = recordAt(at - i, { requestId: `r-${i}`, recordId: `r-${i}.1` });
          return late === undefined ? record : { ...record, late };
        });
        await rig.claimAll({ records });
        const read = (await rig.books.readRecords({ limit: 10 })).records;
        expect(read.map((record) => [record.requestId, toSettledRecordJson(record)['late']])).toEqual([
          ['r-0', true],
          ['r-1', false],
          ['r-2', null],
        ]);
      },
    );

    rig.guarantee('a claim of many records is kept to the last byte, with its text at hand or without', async () => {
      const at = rig.joined.nowMs;
      const records = Array.from({ length: 150 }, (_, i) =>
        recordAt(at - i * 9_000, { user: `☃ "${i}" 😀`, recordId: `r-${i}.1` }),
      );
      for (const [round, withText] of [true, false].entries()) {
        await rig.freeze(rig.frontier + 1 + round, { [rig.author.journal]: 5n });
        const claim = claimOf(await rig.beat(), { records });
        const message = rig.author.next({ sealedThrough: rig.frontier, claim });
        const reply = await rig.settlement.sync(message, withText ? writeMessage(message) : undefined);
        expect(reply).toMatchObject({ status: 'ok', claimApplied: true });
        const read = (await rig.books.readRecords({ limit: 1000 })).records;
        expect(read).toHaveLength(150 * (round + 1));
        const texts = new Set(read.map((record) => JSON.stringify(record)));
        expect(texts).toEqual(new Set(records.map((record) => JSON.stringify(record))));
      }
    });

    rig.guarantee('amounts beyond 2^53 add up to the last nanodollar', async () => {
      const huge = 9_007_199_254_740_993n;
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: huge });
      await rig.claimAll();
      await rig.freeze(rig.frontier + 2, { [rig.author.journal]: huge + 1n });
      expect(await rig.claimAll()).toMatchObject({ claimApplied: true, claimed: 2 });
      expect((await rig.readHourCells())[0]?.metrics.costNanoUsd).toBe(2n * huge + 1n);
      expect((await rig.readPoolBooks())[0]?.metrics).toMatchObject({
        chargedNanoUsd: 2n * huge + 1n,
        claimedNanoUsd: 2n * huge + 1n,
        capacityNanoUsd: 2n * huge + 11n,
      });
    });

    rig.guarantee('corrections may be negative', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 5n });
      await rig.claimAll({ metrics: { inputTokens: '-3', wastedNanoUsd: '-2' } });
      expect((await rig.readHourCells())[0]?.metrics).toMatchObject({
        inputTokens: -3n,
        wastedNanoUsd: -2n,
        costNanoUsd: 5n,
      });
    });

    rig.guarantee('hours add up to days and months, and names may hold anything', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 30n });
      const claim = claimOf(await rig.beat(), { team: 'a,b|"c"\n☃' });
      const [first] = claim.increments;
      if (first === undefined) throw new Error('no increment');
      const hour = cellStart('month', first.hour) + 3 * 86_400 + 22 * 3600;
      const part = (offset: number, cost: string, team = first.team) => ({
        ...first,
        team,
        hour: hour + offset * 3600,
        metrics: { costNanoUsd: cost, requests: '1', outputTokens: '7' },
      });
      const increments = [part(0, '10'), part(1, '13'), part(2, '5'), part(2, '2', 'ads')];
      const message = rig.author.next({ sealedThrough: rig.frontier, claim: { ...claim, increments } });
      expect((await rig.settlement.sync(message)).claimApplied).toBe(true);
      const month = cellStart('month', hour);
      const read = async (granularity: 'hour' | 'day' | 'month') => {
        const cells = await rig.books.readRollups({ from: month, to: month + 31 * 86_400 }, granularity);
        return cells
          .map(({ start, team, metrics }) => [start, team, metrics.costNanoUsd, metrics.requests, metrics.outputTokens])
          .sort((left, right) => Number(left[0]) - Number(right[0]) || (String(left[1]) < String(right[1]) ? -1 : 1));
      };
      const day = cellStart('day', hour);
      expect(await read('day')).toEqual([
        [day, first.team, 23n, 2n, 14n],
        [day + 86_400, first.team, 5n, 1n, 7n],
        [day + 86_400, 'ads', 2n, 1n, 7n],
      ]);
      expect(await read('month')).toEqual([
        [month, first.team, 28n, 3n, 21n],
        [month, 'ads', 2n, 1n, 7n],
      ]);
      if (Date.now() / 1000 - hour < 35 * 86_400) expect(await read('hour')).toHaveLength(4);
    });

    rig.guarantee('a period reads the cells that start in it and no others', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 1n });
      await rig.claimAll();
      const hour = hourOf(rig.frontier + 1);
      expect(await rig.books.readRollups({ from: hour, to: hour + 3600 }, 'hour')).toHaveLength(1);
      expect(await rig.books.readRollups({ from: hour - 3600, to: hour }, 'hour')).toHaveLength(0);
      expect(await rig.books.readRollups({ from: hour + 3600, to: hour + 7200 }, 'hour')).toHaveLength(0);
      expect(await rig.books.readBooks({ from: hour, to: hour + 3600 })).toHaveLength(1);
      expect(await rig.books.readBooks({ from: hour - 3600, to: hour })).toHaveLength(0);
    });

    rig.guarantee('records are paged newest first, each once, across claims that overlap in time', async () => {
      const base = rig.joined.nowMs - 3_600_000;
      const ended = Array.from({ length: 90 }, (_, i) => base + ((i * 37) % 90) * 40_000);
      const parts = [ended.slice(0, 30), ended.slice(30, 60), ended.slice(60)];
      for (const part of parts) {
        await rig.claimAll({ records: part.map((at) => recordAt(at)) });
      }
      const seen: number[] = [];
      let cursor: string | undefined;
      do {
        const page = await rig.books.readRecords({ limit: 17, ...(cursor === undefined ? {} : { cursor }) });
        expect(page.records.length).toBeLessThanOrEqual(17);
        seen.push(...page.records.map(({ endedAtMs }) => endedAtMs));
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      expect(seen).toEqual(ended.toSorted((left, right) => right - left));
    });

    rig.guarantee('records are found by every filter and come back as they were', async () => {
      const at = rig.joined.nowMs;
      const wanted = recordAt(at, {
        team: 'ads',
        project: 'p',
        keyId: 'k_9',
        user: 'u-17',
        model: 'm',
        deployment: 'd',
        outcome: 'client_aborted',
        clientRequestId: 'mine:1',
        charges: [
          {
            hour: hourOf(windowOf(at)),
            gpuMicros: '12345',
            costNanoUsd: '9007199254740993',
            prefillNanoUsd: '1',
            decodeNanoUsd: '9007199254740992',
            otherNanoUsd: '0',
            nanoUsdPerGpuHour: '2500000000',
          },
          {
            hour: hourOf(windowOf(at)),
            deployment: 'ctx',
            gpuMicros: '5',
            costNanoUsd: '1',
            prefillNanoUsd: '1',
            decodeNanoUsd: '0',
            otherNanoUsd: '0',
            nanoUsdPerGpuHour: '3000000000',
          },
        ],
      });
      await rig.claimAll({ records: [recordAt(at - 1000), wanted, recordAt(at + 1000)] });
      const find = async (query: Parameters<BooksReader['readRecords']>[0]) =>
        (await rig.books.readRecords(query)).records;
      const { team, project, keyId, user, model, deployment, outcome, requestId } = wanted;
      const filters = [
        { team },
        { project },
        { keyId },
        { user },
        { model },
        { deployment },
        { deployment: 'ctx' },
        { outcome },
        { requestId },
      ];
      for (const filter of [...filters, { requestId: 'mine:1' }, { fromMs: at, toMs: at + 1 }]) {
        expect(await find({ limit: 10, ...(filter as object) })).toEqual([wanted]);
      }
      expect(await find({ limit: 10, team: 'nobody' })).toEqual([]);
      expect(await find({ limit: 2 })).toHaveLength(2);
    });

    rig.guarantee('a cursor that no answer gave is refused', async () => {
      await expect(rig.books.readRecords({ limit: 1, cursor: 'xx' })).rejects.toThrow(RangeError);
      await expect(rig.books.readRecords({ limit: 0 })).rejects.toThrow(RangeError);
    });
  });
}
