// The guarantees both settlement stores give (domain/settlement.ts, domain/books.ts), run by one test file per store.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BooksReader } from '#domain/books.ts';
import { StoreUnavailableError, type FreezeCommit, type SettlementStore, type SyncReply } from '#domain/settlement.ts';
import { hourOf, windowOf } from '#domain/window.ts';
import { cellStart } from '#store/rollup-cells.ts';
import {
  claimOf,
  digest,
  freezeOf,
  JournalAuthor,
  POOL,
  publicationAt,
  recordAt,
  type ClaimParts,
} from './settlement-messages.ts';

export interface StoreUnderTest {
  readonly settlement: SettlementStore;
  readonly books: BooksReader;
}

export interface StoreSuite {
  readonly name: string;
  /** A store of its own, not opened yet. */
  createStore(): Promise<StoreUnderTest>;
  /** Another client of the store created last. */
  createSecondClient(): Promise<StoreUnderTest>;
  /** Raises the schema number of the store created last. */
  raiseSchema(): Promise<void>;
  /** Moves the store's clock; absent where the clock cannot be moved. */
  advanceMs?(ms: number): void;
  readonly skip: readonly { readonly reason: string; readonly tests: readonly string[] }[];
}

export function describeSettlementStore(suite: StoreSuite): void {
  describe(`settlement store: ${suite.name}`, () => {
    let settlement: SettlementStore;
    let books: BooksReader;
    let author: JournalAuthor;
    let joined: SyncReply;

    const guarantee = (name: string, body: () => Promise<void>) => {
      const skipped = suite.skip.find(({ tests }) => tests.includes(name));
      test.skipIf(skipped !== undefined)(skipped === undefined ? name : `${name} (skipped: ${skipped.reason})`, body);
    };

    beforeEach(async () => {
      ({ settlement, books } = await suite.createStore());
      const { epoch } = await settlement.open();
      author = new JournalAuthor(epoch);
      joined = await settlement.join(author);
    });
    afterEach(() => settlement.close());

    const frontier = () => joined.frontier ?? 0;
    /** Freezes up to `to` with these shares and returns the reply of the author's next, empty message. */
    const freeze = async (to: number, shares: Record<string, bigint>) => {
      const commit = freezeOf(await settlement.readFreezeInput(), to, shares);
      expect(await settlement.commitFreeze(commit)).toBe('committed');
      return commit;
    };
    const beat = () => settlement.sync(author.next({ sealedThrough: frontier() }));
    const claimAll = async (parts: ClaimParts = {}) => {
      const reply = await beat();
      return settlement.sync(author.next({ sealedThrough: frontier(), claim: claimOf(reply, parts) }));
    };
    const readHourCells = () => {
      const hour = hourOf(frontier());
      return books.readRollups({ from: hour, to: hour + 7200 }, 'hour');
    };
    const readPoolBooks = async () => {
      const hour = hourOf(frontier());
      const cells = await books.readBooks({ from: hour, to: hour + 7200 });
      return cells.filter((cell) => cell.pool === POOL);
    };

    guarantee('opening again finds the same store', async () => {
      const second = await suite.createSecondClient();
      const again = await second.settlement.open();
      expect(again).toEqual(await settlement.open());
      expect(again.epoch).toBe(author.epoch);
      await second.settlement.close();
    });

    guarantee('a store with a newer schema is refused', async () => {
      await suite.raiseSchema();
      const second = await suite.createSecondClient();
      await expect(second.settlement.open()).rejects.toMatchObject({ name: 'StoreSchemaError' });
      await second.settlement.close();
    });

    guarantee('the first member ever sets the frontier just behind now', async () => {
      const now = windowOf(await settlement.now());
      expect(joined.status).toBe('ok');
      expect(now - frontier()).toBeGreaterThanOrEqual(1);
      expect(now - frontier()).toBeLessThanOrEqual(6);
      expect(joined).toMatchObject({ seq: 0, k: 0, claimed: 0, shares: [], members: [author.journal] });
      expect(joined.sharesThrough).toEqual({ k: 0, to: frontier(), hash: '' });
    });

    guarantee('joining twice changes nothing', async () => {
      const again = await settlement.join(author);
      expect(again).toMatchObject({ status: 'ok', frontier: joined.frontier, seq: 0, members: [author.journal] });
      const { members } = await settlement.readFreezeInput();
      expect(members).toHaveLength(1);
      expect(members[0]).toMatchObject({ journal: author.journal, sealedThrough: frontier(), blind: [] });
    });

    guarantee('members are listed in order of their journal', async () => {
      const others = Array.from({ length: 4 }, () => new JournalAuthor(author.epoch));
      for (const other of others) await settlement.join(other);
      const reply = await beat();
      expect(reply.members).toEqual([author, ...others].map(({ journal }) => journal).sort());
    });

    guarantee('a message is applied once, its replay changes nothing and is answered the same', async () => {
      await freeze(frontier() + 1, { [author.journal]: 100n });
      const seen = await beat();
      const message = author.next({
        sealedThrough: frontier() + 1,
        publications: [publicationAt(frontier() + 1), publicationAt(frontier() + 2)],
        claim: claimOf(seen),
      });
      const first = await settlement.sync(message);
      const before = [await readHourCells(), await readPoolBooks(), (await settlement.readFreezeInput()).board];
      const second = await settlement.sync(message);
      expect(first).toMatchObject({ status: 'ok', claimApplied: true, lateCount: 1, claimed: 1, shares: [] });
      expect(second).toMatchObject({
        status: 'already',
        claimApplied: true,
        lateCount: 1,
        claimed: 1,
        seq: message.seq,
      });
      expect([await readHourCells(), await readPoolBooks(), (await settlement.readFreezeInput()).board]).toEqual(
        before,
      );
    });

    guarantee('a gap in the numbers is answered with where the store stands', async () => {
      const first = author.next({ sealedThrough: frontier() });
      const second = author.next({ sealedThrough: frontier(), publications: [publicationAt(frontier() + 1)] });
      expect(await settlement.sync(second)).toMatchObject({ status: 'behind', seq: 0, hash: '' });
      expect((await settlement.readFreezeInput()).board).toEqual([]);
      expect(await settlement.sync(first)).toMatchObject({ status: 'ok', seq: 1, hash: first.hash });
      expect(await settlement.sync(second)).toMatchObject({ status: 'ok', seq: 2, hash: second.hash });
    });

    guarantee('another hash under a used number is fenced', async () => {
      await settlement.sync(author.next({ sealedThrough: frontier() }));
      const used = author.next({ sealedThrough: frontier() });
      await settlement.sync(used);
      const other = { ...used, publications: [publicationAt(frontier() + 1)], hash: digest('other') };
      expect(await settlement.sync(other)).toMatchObject({ status: 'fenced' });
      expect((await settlement.readFreezeInput()).board).toEqual([]);
    });

    guarantee('a message that follows another one than the store has is fenced', async () => {
      await settlement.sync(author.next({ sealedThrough: frontier() }));
      const next = author.next({ sealedThrough: frontier(), prevHash: digest('elsewhere') });
      expect(await settlement.sync(next)).toMatchObject({ status: 'fenced', seq: 1 });
    });

    guarantee('an older incarnation is fenced at join and at sync', async () => {
      expect(await settlement.join({ journal: author.journal, incarnation: 2 })).toMatchObject({ status: 'ok' });
      expect(await settlement.join(author)).toMatchObject({ status: 'fenced' });
      expect(await settlement.sync(author.next({ sealedThrough: frontier() }))).toMatchObject({ status: 'fenced' });
      expect((await settlement.readFreezeInput()).members[0]).toMatchObject({ incarnation: 2 });
    });

    guarantee('a message for another epoch changes nothing', async () => {
      const message = author.next({
        sealedThrough: frontier(),
        epoch: 'elsewhere',
        publications: [publicationAt(frontier() + 1)],
      });
      expect(await settlement.sync(message)).toMatchObject({ status: 'foreign', epoch: author.epoch, seq: 0 });
      expect((await settlement.readFreezeInput()).board).toEqual([]);
    });

    guarantee(
      'a journal the store forgot in a failover registers with its first message and holds the frontier',
      async () => {
        const other = new JournalAuthor(author.epoch);
        const reply = await settlement.sync(
          other.next({ sealedThrough: frontier() + 1, publications: [publicationAt(frontier() + 1)] }),
        );
        expect(reply).toMatchObject({ status: 'ok', seq: 1, lateCount: 0 });
        expect(reply.members).toContain(other.journal);
      },
    );

    guarantee('publications up to the frontier are dropped and counted', async () => {
      await freeze(frontier() + 2, {});
      const windows = [1, 2, 3].map((offset) => publicationAt(frontier() + offset));
      const reply = await settlement.sync(author.next({ sealedThrough: frontier() + 3, publications: windows }));
      expect(reply.lateCount).toBe(2);
      const { board } = await settlement.readFreezeInput();
      expect(board).toEqual([{ journal: author.journal, publication: windows[2] }]);
    });

    guarantee('windows beyond the store clock are refused and cannot pull the frontier ahead', async () => {
      const far = windowOf(await settlement.now()) + 100;
      const reply = await settlement.sync(author.next({ sealedThrough: far, publications: [publicationAt(far)] }));
      expect(reply).toMatchObject({ status: 'ok', lateCount: 1 });
      const { board, members, nowMs } = await settlement.readFreezeInput();
      expect(board).toEqual([]);
      expect(members[0]?.sealedThrough).toBeLessThanOrEqual(windowOf(nowMs) + 2);
    });

    guarantee('what is sealed never goes back', async () => {
      await settlement.sync(author.next({ sealedThrough: frontier() + 1 }));
      await settlement.sync(author.next({ sealedThrough: frontier() }));
      expect((await settlement.readFreezeInput()).members[0]?.sealedThrough).toBe(frontier() + 1);
    });

    guarantee('a freeze moves the frontier, clears the board behind it and hands out shares in order', async () => {
      const at = frontier();
      await settlement.sync(
        author.next({ sealedThrough: at + 1, publications: [publicationAt(at + 1), publicationAt(at + 2)] }),
      );
      const first = await freeze(at + 1, { [author.journal]: 11n });
      const second = await freeze(at + 2, { [author.journal]: 7n });
      const reply = await beat();
      expect(reply).toMatchObject({ frontier: at + 2, k: 2, freezeHash: second.hash, claimed: 0 });
      expect(reply.shares).toEqual([first.shares[author.journal], second.shares[author.journal]]);
      expect(reply.sharesThrough).toEqual({ k: 2, to: at + 2, hash: second.hash });
      expect((await settlement.readFreezeInput()).board).toEqual([]);
    });

    guarantee('more than 64 shares come in parts, in order', async () => {
      const at = frontier();
      for (let i = 1; i <= 70; i += 1) await freeze(at + i, { [author.journal]: BigInt(i) });
      const reply = await beat();
      expect(reply.shares.map(({ k }) => k)).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
      expect(reply.sharesThrough).toEqual({ k: 64, to: at + 64, hash: reply.shares.at(-1)?.hash });
      const next = await settlement.sync(author.next({ sealedThrough: at, claim: claimOf(reply) }));
      expect(next).toMatchObject({ claimApplied: true, claimed: 64 });
      expect(next.shares.map(({ k }) => k)).toEqual([65, 66, 67, 68, 69, 70]);
      expect(next.sharesThrough.k).toBe(70);
    });

    guarantee('the loser of two freezes changes nothing', async () => {
      const input = await settlement.readFreezeInput();
      const winner = freezeOf(input, frontier() + 1, { [author.journal]: 10n });
      const loser = freezeOf(input, frontier() + 2, { [author.journal]: 99n });
      expect(await settlement.commitFreeze(winner)).toBe('committed');
      const books = await readPoolBooks();
      expect(await settlement.commitFreeze(loser)).toBe('stale');
      expect(await settlement.commitFreeze(winner)).toBe('stale');
      expect(await readPoolBooks()).toEqual(books);
      expect(await beat()).toMatchObject({ k: 1, frontier: frontier() + 1, freezeHash: winner.hash });
    });

    guarantee('a freeze is stale when facts, or the board it was computed from, changed', async () => {
      const before = await settlement.readFreezeInput();
      expect(await settlement.putFacts({}, 0)).toBe('stored');
      expect(await settlement.commitFreeze(freezeOf(before, frontier() + 1, {}))).toBe('stale');
      const between = await settlement.readFreezeInput();
      await settlement.sync(author.next({ sealedThrough: frontier() + 1 }));
      expect(await settlement.commitFreeze(freezeOf(between, frontier() + 1, {}))).toBe('committed');
      const sealed = await settlement.readFreezeInput();
      const publications = [publicationAt(frontier() + 2)];
      await settlement.sync(author.next({ sealedThrough: frontier() + 2 }));
      await settlement.sync(author.next({ sealedThrough: frontier() + 2, publications }));
      expect(await settlement.commitFreeze(freezeOf(sealed, frontier() + 2, {}))).toBe('stale');
    });

    guarantee('facts are replaced only by who read the version in force', async () => {
      expect(await settlement.putFacts({ a: [] }, 0)).toBe('stored');
      expect(await settlement.putFacts({ b: [] }, 0)).toBe('stale');
      expect(await books.readFacts()).toEqual({ version: 1, pools: { a: [] } });
      expect((await settlement.readFreezeInput()).facts).toEqual({ version: 1, pools: { a: [] } });
    });

    guarantee('a claim moves exactly its share: pending = charged − claimed', async () => {
      const other = new JournalAuthor(author.epoch);
      await settlement.join(other);
      await freeze(frontier() + 1, { [author.journal]: 1000n, [other.journal]: 234n });
      const before = await readPoolBooks();
      expect(before[0]?.metrics).toMatchObject({
        capacityNanoUsd: 1239n,
        chargedNanoUsd: 1234n,
        idleNanoUsd: 5n,
        claimedNanoUsd: 0n,
      });
      expect(before[0]).toMatchObject({ deployments: 'llama', gpu: 'H100-SXM' });
      expect(await claimAll()).toMatchObject({ claimApplied: true, claimed: 1 });
      const after = await readPoolBooks();
      expect(after[0]?.metrics).toMatchObject({ chargedNanoUsd: 1234n, claimedNanoUsd: 1000n, idleNanoUsd: 5n });
      const cells = await readHourCells();
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

    guarantee('a stale claim is skipped, its number is used, and a later one goes through', async () => {
      await freeze(frontier() + 1, { [author.journal]: 50n });
      const seen = await beat();
      const claim = claimOf(seen);
      const sync = (changed: Partial<typeof claim>) =>
        settlement.sync(author.next({ sealedThrough: frontier(), claim: { ...claim, ...changed } }));
      expect(await sync({ k0: 1 })).toMatchObject({ status: 'ok', claimApplied: false, claimed: 0 });
      expect(await sync({ hash: digest('another chain') })).toMatchObject({ claimApplied: false, claimed: 0 });
      expect(await sync({ k: 2 })).toMatchObject({ claimApplied: false, claimed: 0 });
      expect(await readHourCells()).toEqual([]);
      expect(await sync({})).toMatchObject({ status: 'ok', claimApplied: true, claimed: 1, seq: 5 });
      expect(await sync({})).toMatchObject({ claimApplied: false, claimed: 1 });
      expect((await readHourCells())[0]?.metrics.costNanoUsd).toBe(50n);
    });

    guarantee('a claim whose sums differ from its share moves nothing', async () => {
      await freeze(frontier() + 1, { [author.journal]: 50n });
      const claim = claimOf(await beat());
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
        const message = author.next({ sealedThrough: frontier(), claim: { ...claim, ...change } });
        expect(await settlement.sync(message)).toMatchObject({ status: 'ok', claimApplied: false, claimed: 0 });
      }
      expect(await readHourCells()).toEqual([]);
      expect((await readPoolBooks())[0]?.metrics.claimedNanoUsd).toBe(0n);
      expect((await settlement.sync(author.next({ sealedThrough: frontier(), claim }))).claimApplied).toBe(true);
    });

    guarantee('a claim without shares delivers records that never reached an engine', async () => {
      const reply = await settlement.sync(
        author.next({
          sealedThrough: frontier(),
          claim: claimOf(joined, {
            records: [recordAt(joined.nowMs, { outcome: 'rejected' })],
            metrics: { rejectedRequests: '1' },
          }),
        }),
      );
      expect(reply).toMatchObject({ claimApplied: true, claimed: 0 });
      expect((await readHourCells())[0]?.metrics).toMatchObject({ rejectedRequests: 1n, costNanoUsd: 0n });
      expect((await books.readRecords({ limit: 10 })).records).toHaveLength(1);
    });

    guarantee('amounts beyond 2^53 add up to the last nanodollar', async () => {
      const huge = 9_007_199_254_740_993n;
      await freeze(frontier() + 1, { [author.journal]: huge });
      await claimAll();
      await freeze(frontier() + 2, { [author.journal]: huge + 1n });
      expect(await claimAll()).toMatchObject({ claimApplied: true, claimed: 2 });
      expect((await readHourCells())[0]?.metrics.costNanoUsd).toBe(2n * huge + 1n);
      expect((await readPoolBooks())[0]?.metrics).toMatchObject({
        chargedNanoUsd: 2n * huge + 1n,
        claimedNanoUsd: 2n * huge + 1n,
        capacityNanoUsd: 2n * huge + 11n,
      });
    });

    guarantee('corrections may be negative', async () => {
      await freeze(frontier() + 1, { [author.journal]: 5n });
      await claimAll({ metrics: { inputTokens: '-3', wastedNanoUsd: '-2' } });
      expect((await readHourCells())[0]?.metrics).toMatchObject({
        inputTokens: -3n,
        wastedNanoUsd: -2n,
        costNanoUsd: 5n,
      });
    });

    guarantee('hours add up to days and months, and names may hold anything', async () => {
      await freeze(frontier() + 1, { [author.journal]: 30n });
      const claim = claimOf(await beat(), { team: 'a,b|"c"\n☃' });
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
      const message = author.next({ sealedThrough: frontier(), claim: { ...claim, increments } });
      expect((await settlement.sync(message)).claimApplied).toBe(true);
      const month = cellStart('month', hour);
      const read = async (granularity: 'hour' | 'day' | 'month') => {
        const cells = await books.readRollups({ from: month, to: month + 31 * 86_400 }, granularity);
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

    guarantee('a period reads the cells that start in it and no others', async () => {
      await freeze(frontier() + 1, { [author.journal]: 1n });
      await claimAll();
      const hour = hourOf(frontier() + 1);
      expect(await books.readRollups({ from: hour, to: hour + 3600 }, 'hour')).toHaveLength(1);
      expect(await books.readRollups({ from: hour - 3600, to: hour }, 'hour')).toHaveLength(0);
      expect(await books.readRollups({ from: hour + 3600, to: hour + 7200 }, 'hour')).toHaveLength(0);
      expect(await books.readBooks({ from: hour, to: hour + 3600 })).toHaveLength(1);
      expect(await books.readBooks({ from: hour - 3600, to: hour })).toHaveLength(0);
    });

    guarantee('records are paged newest first, each once, across claims that overlap in time', async () => {
      const base = joined.nowMs - 3_600_000;
      const ended = Array.from({ length: 90 }, (_, i) => base + ((i * 37) % 90) * 40_000);
      const parts = [ended.slice(0, 30), ended.slice(30, 60), ended.slice(60)];
      for (const part of parts) {
        await claimAll({ records: part.map((at) => recordAt(at)) });
      }
      const seen: number[] = [];
      let cursor: string | undefined;
      do {
        const page = await books.readRecords({ limit: 17, ...(cursor === undefined ? {} : { cursor }) });
        expect(page.records.length).toBeLessThanOrEqual(17);
        seen.push(...page.records.map(({ endedAtMs }) => endedAtMs));
        cursor = page.next ?? undefined;
      } while (cursor !== undefined);
      expect(seen).toEqual(ended.toSorted((left, right) => right - left));
    });

    guarantee('records are found by every filter and come back as they were', async () => {
      const at = joined.nowMs;
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
        ],
      });
      await claimAll({ records: [recordAt(at - 1000), wanted, recordAt(at + 1000)] });
      const find = async (query: Parameters<BooksReader['readRecords']>[0]) => (await books.readRecords(query)).records;
      const { team, project, keyId, user, model, deployment, outcome, requestId } = wanted;
      const filters = [
        { team },
        { project },
        { keyId },
        { user },
        { model },
        { deployment },
        { outcome },
        { requestId },
      ];
      for (const filter of [...filters, { requestId: 'mine:1' }, { fromMs: at, toMs: at + 1 }]) {
        expect(await find({ limit: 10, ...(filter as object) })).toEqual([wanted]);
      }
      expect(await find({ limit: 10, team: 'nobody' })).toEqual([]);
      expect(await find({ limit: 2 })).toHaveLength(2);
    });

    guarantee('a cursor that no answer gave is refused', async () => {
      await expect(books.readRecords({ limit: 1, cursor: 'xx' })).rejects.toThrow(RangeError);
      await expect(books.readRecords({ limit: 0 })).rejects.toThrow(RangeError);
    });

    guarantee('of health changes the last before the frontier and all later ones are kept', async () => {
      const at = frontier();
      const change = (offset: number, healthy: boolean) => ({ pool: POOL, window: at + offset, healthy });
      const healthChanges = [change(1, false), change(2, true), change(5, false), change(6, true)];
      await settlement.sync(author.next({ sealedThrough: at + 1, healthChanges }));
      expect((await settlement.readFreezeInput()).health).toHaveLength(4);
      await freeze(at + 5, {});
      const { health } = await settlement.readFreezeInput();
      expect(health).toEqual([
        { journal: author.journal, ...change(5, false) },
        { journal: author.journal, ...change(6, true) },
      ]);
    });

    guarantee('blind ranges are kept until the frontier has passed them', async () => {
      const at = frontier();
      await settlement.sync(author.next({ sealedThrough: at, blind: [[at + 1, at + 3]] }));
      expect((await settlement.readFreezeInput()).members[0]?.blind).toEqual([[at + 1, at + 3]]);
      await freeze(at + 3, {});
      await beat();
      expect((await settlement.readFreezeInput()).members[0]?.blind).toEqual([]);
    });

    guarantee('a member that leaves no longer holds the frontier, keeps its shares and may come back', async () => {
      const other = new JournalAuthor(author.epoch);
      await settlement.join(other);
      await settlement.sync(
        other.next({ sealedThrough: frontier() + 1, publications: [publicationAt(frontier() + 1)] }),
      );
      const left = await settlement.sync(other.next({ sealedThrough: frontier() + 1, leave: true }));
      expect(left.members).toEqual([author.journal]);
      const input = await settlement.readFreezeInput();
      expect(input.members.map(({ journal }) => journal)).toEqual([author.journal]);
      expect(input.board.map(({ journal }) => journal)).toEqual([other.journal]);
      await freeze(frontier() + 1, { [other.journal]: 8n });
      const back = await settlement.join(other);
      expect(back).toMatchObject({ status: 'ok', seq: 2, hash: other.hash, claimed: 0 });
      expect(back.shares).toHaveLength(1);
      expect(back.members).toContain(other.journal);
      const claim = claimOf(back);
      expect(await settlement.sync(other.next({ sealedThrough: frontier() + 1, claim }))).toMatchObject({
        claimApplied: true,
      });
    });

    guarantee('a freeze drops silent members, who return with their next message', async () => {
      const other = new JournalAuthor(author.epoch);
      await settlement.join(other);
      const input = await settlement.readFreezeInput();
      const commit: FreezeCommit = { ...freezeOf(input, frontier() + 1, {}), dropMembers: [other.journal] };
      expect(await settlement.commitFreeze(commit)).toBe('committed');
      expect((await beat()).members).toEqual([author.journal]);
      const reply = await settlement.sync(
        other.next({ sealedThrough: frontier() + 1, publications: [publicationAt(frontier() + 1)] }),
      );
      expect(reply).toMatchObject({ status: 'ok', lateCount: 1 });
      expect(reply.members).toContain(other.journal);
    });

    guarantee('a late joiner starts with no shares and is blind before it', async () => {
      await freeze(frontier() + 1, { [author.journal]: 9n });
      suite.advanceMs?.(10_000);
      const other = new JournalAuthor(author.epoch);
      const reply = await settlement.join(other);
      expect(reply).toMatchObject({ claimed: 1, shares: [], seq: 0 });
      const member = (await settlement.readFreezeInput()).members.find(({ journal }) => journal === other.journal);
      const sealedThrough = member?.sealedThrough ?? 0;
      expect(sealedThrough).toBeGreaterThanOrEqual(frontier() + 1);
      if (sealedThrough > frontier() + 1) expect(member?.blind).toEqual([[0, sealedThrough]]);
    });

    guarantee('silence counts only time in which the store was called', async () => {
      const other = new JournalAuthor(author.epoch);
      await settlement.join(other);
      suite.advanceMs?.(1500);
      await beat();
      suite.advanceMs?.(600_000);
      await beat();
      const silent = (await settlement.readFreezeInput()).members.find(({ journal }) => journal === other.journal);
      expect(silent?.silentSeconds).toBe(3.5);
    });

    guarantee('status tells where the books stand', async () => {
      const commit = await freeze(frontier() + 1, {});
      const status = await books.readStatus();
      expect(status).toMatchObject({
        epoch: author.epoch,
        schema: 1,
        frontier: frontier() + 1,
        k: 1,
        freezeHash: commit.hash,
      });
      expect(status.members.map(({ journal }) => journal)).toEqual([author.journal]);
      expect(Math.abs(status.nowMs - (await settlement.now()))).toBeLessThan(5000);
    });

    guarantee('after close every call is refused', async () => {
      await settlement.close();
      await expect(settlement.now()).rejects.toThrow(StoreUnavailableError);
      await settlement.close();
    });
  });
}
