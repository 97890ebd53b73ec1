// The settlement protocol as both stores keep it (domain/settlement.ts): numbers, fences, the board, freezes, members.
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect } from 'vitest';
import type { FreezeCommit } from '#domain/settlement.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { windowOf } from '#domain/window.ts';
import { BOARD_WINDOWS_PER_READ, STORE_SCHEMA } from '#store/store-options.ts';
import { claimOf, digest, freezeOf, JournalAuthor, POOL, publicationAt } from './settlement-messages.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';
import { StoreRig, type StoreSuite } from './store-rig.ts';

/** Defines the protocol's tests for one store. */
export function describeSettlementStore(suite: StoreSuite): void {
  describe(`settlement store: ${suite.name}`, () => {
    const rig = new StoreRig(suite);

    rig.guarantee('opening again finds the same store', async () => {
      const second = await suite.createSecondClient();
      const again = await second.settlement.open();
      expect(again).toEqual(await rig.settlement.open());
      expect(again.epoch).toBe(rig.author.epoch);
      await second.settlement.close();
    });

    rig.guarantee('a store with a newer schema is refused', async () => {
      await suite.raiseSchema();
      const second = await suite.createSecondClient();
      await expect(second.settlement.open()).rejects.toMatchObject({ name: 'StoreSchemaError' });
      await second.settlement.close();
    });

    rig.guarantee('the first member ever sets the frontier just behind now', async () => {
      const now = windowOf(await rig.settlement.now());
      expect(rig.joined.status).toBe('ok');
      expect(now - rig.frontier).toBeGreaterThanOrEqual(1);
      expect(now - rig.frontier).toBeLessThanOrEqual(6);
      expect(rig.joined).toMatchObject({ seq: 0, k: 0, claimed: 0, shares: [], members: [rig.author.journal] });
      expect(rig.joined.sharesThrough).toEqual({ k: 0, to: rig.frontier, hash: '' });
    });

    rig.guarantee('joining twice changes nothing', async () => {
      const again = await rig.settlement.join(rig.author);
      expect(again).toMatchObject({
        status: 'ok',
        frontier: rig.joined.frontier,
        seq: 0,
        members: [rig.author.journal],
      });
      const { members } = await rig.settlement.readFreezeInput();
      expect(members).toHaveLength(1);
      expect(members[0]).toMatchObject({ journal: rig.author.journal, sealedThrough: rig.frontier, blind: [] });
    });

    rig.guarantee('members are listed in order of their journal', async () => {
      const others = Array.from({ length: 4 }, () => new JournalAuthor(rig.author.epoch));
      for (const other of others) await rig.settlement.join(other);
      const reply = await rig.beat();
      expect(reply.members).toEqual([rig.author, ...others].map(({ journal }) => journal).sort());
    });

    rig.guarantee('a message is applied once, its replay changes nothing and is answered the same', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 100n });
      const seen = await rig.beat();
      const message = rig.author.next({
        sealedThrough: rig.frontier + 1,
        publications: [publicationAt(rig.frontier + 1), publicationAt(rig.frontier + 2)],
        claim: claimOf(seen),
      });
      const first = await rig.settlement.sync(message);
      const before = [
        await rig.readHourCells(),
        await rig.readPoolBooks(),
        (await rig.settlement.readFreezeInput()).board,
      ];
      const second = await rig.settlement.sync(message);
      expect(first).toMatchObject({ status: 'ok', claimApplied: true, lateCount: 1, claimed: 1, shares: [] });
      expect(second).toMatchObject({
        status: 'already',
        claimApplied: true,
        lateCount: 1,
        claimed: 1,
        seq: message.seq,
      });
      expect([
        await rig.readHourCells(),
        await rig.readPoolBooks(),
        (await rig.settlement.readFreezeInput()).board,
      ]).toEqual(before);
    });

    rig.guarantee('a gap in the numbers is answered with where the store stands', async () => {
      const first = rig.author.next({ sealedThrough: rig.frontier });
      const second = rig.author.next({ sealedThrough: rig.frontier, publications: [publicationAt(rig.frontier + 1)] });
      expect(await rig.settlement.sync(second)).toMatchObject({ status: 'behind', seq: 0, hash: '' });
      expect((await rig.settlement.readFreezeInput()).board).toEqual([]);
      expect(await rig.settlement.sync(first)).toMatchObject({ status: 'ok', seq: 1, hash: first.hash });
      expect(await rig.settlement.sync(second)).toMatchObject({ status: 'ok', seq: 2, hash: second.hash });
    });

    rig.guarantee('another hash under a used number is fenced', async () => {
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier }));
      const used = rig.author.next({ sealedThrough: rig.frontier });
      await rig.settlement.sync(used);
      const other = { ...used, publications: [publicationAt(rig.frontier + 1)], hash: digest('other') };
      expect(await rig.settlement.sync(other)).toMatchObject({ status: 'fenced' });
      expect((await rig.settlement.readFreezeInput()).board).toEqual([]);
    });

    rig.guarantee('a message that follows another one than the store has is fenced', async () => {
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier }));
      const next = rig.author.next({ sealedThrough: rig.frontier, prevHash: digest('elsewhere') });
      expect(await rig.settlement.sync(next)).toMatchObject({ status: 'fenced', seq: 1 });
    });

    rig.guarantee('an older incarnation is fenced at join and at sync', async () => {
      expect(await rig.settlement.join({ journal: rig.author.journal, incarnation: 2 })).toMatchObject({
        status: 'ok',
      });
      expect(await rig.settlement.join(rig.author)).toMatchObject({ status: 'fenced' });
      expect(await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier }))).toMatchObject({
        status: 'fenced',
      });
      expect((await rig.settlement.readFreezeInput()).members[0]).toMatchObject({ incarnation: 2 });
    });

    rig.guarantee('a message for another epoch changes nothing', async () => {
      const message = rig.author.next({
        sealedThrough: rig.frontier,
        epoch: 'elsewhere',
        publications: [publicationAt(rig.frontier + 1)],
      });
      expect(await rig.settlement.sync(message)).toMatchObject({ status: 'foreign', epoch: rig.author.epoch, seq: 0 });
      expect((await rig.settlement.readFreezeInput()).board).toEqual([]);
    });

    rig.guarantee(
      'a journal the store forgot in a failover registers with its first message and holds the frontier',
      async () => {
        const other = new JournalAuthor(rig.author.epoch);
        const reply = await rig.settlement.sync(
          other.next({ sealedThrough: rig.frontier + 1, publications: [publicationAt(rig.frontier + 1)] }),
        );
        expect(reply).toMatchObject({ status: 'ok', seq: 1, lateCount: 0 });
        expect(reply.members).toContain(other.journal);
      },
    );

    rig.guarantee('publications up to the frontier are dropped and counted', async () => {
      await rig.freeze(rig.frontier + 2, {});
      const windows = [1, 2, 3].map((offset) => publicationAt(rig.frontier + offset));
      const reply = await rig.settlement.sync(
        rig.author.next({ sealedThrough: rig.frontier + 3, publications: windows }),
      );
      expect(reply.lateCount).toBe(2);
      expect((await rig.books.readStatus()).latePublications).toBe(2);
      const { board } = await rig.settlement.readFreezeInput();
      expect(board).toEqual([{ journal: rig.author.journal, publication: windows[2] }]);
    });

    rig.guarantee('windows beyond the store clock are refused and cannot pull the frontier ahead', async () => {
      const far = windowOf(await rig.settlement.now()) + 100;
      const reply = await rig.settlement.sync(
        rig.author.next({ sealedThrough: far, publications: [publicationAt(far)] }),
      );
      expect(reply).toMatchObject({ status: 'ok', lateCount: 1 });
      const { board, members, nowMs } = await rig.settlement.readFreezeInput();
      expect(board).toEqual([]);
      expect(members[0]?.sealedThrough).toBeLessThanOrEqual(windowOf(nowMs) + 2);
    });

    rig.guarantee('what is sealed never goes back', async () => {
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier + 1 }));
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier }));
      expect((await rig.settlement.readFreezeInput()).members[0]?.sealedThrough).toBe(rig.frontier + 1);
    });

    rig.guarantee('a freeze moves the frontier, clears the board behind it and hands out shares in order', async () => {
      const at = rig.frontier;
      await rig.settlement.sync(
        rig.author.next({ sealedThrough: at + 1, publications: [publicationAt(at + 1), publicationAt(at + 2)] }),
      );
      const first = await rig.freeze(at + 1, { [rig.author.journal]: 11n });
      const second = await rig.freeze(at + 2, { [rig.author.journal]: 7n });
      const reply = await rig.beat();
      expect(reply).toMatchObject({ frontier: at + 2, k: 2, freezeHash: second.hash, claimed: 0 });
      expect(reply.shares).toEqual([first.shares[rig.author.journal], second.shares[rig.author.journal]]);
      expect(reply.sharesThrough).toEqual({ k: 2, to: at + 2, hash: second.hash });
      expect((await rig.settlement.readFreezeInput()).board).toEqual([]);
    });

    rig.guarantee('more than 64 shares come in parts, in order', async () => {
      const at = rig.frontier;
      for (let i = 1; i <= 70; i += 1) await rig.freeze(at + i, { [rig.author.journal]: BigInt(i) });
      const reply = await rig.beat();
      expect(reply.shares.map(({ k }) => k)).toEqual(Array.from({ length: 64 }, (_, i) => i + 1));
      expect(reply.sharesThrough).toEqual({ k: 64, to: at + 64, hash: reply.shares.at(-1)?.hash });
      const next = await rig.settlement.sync(rig.author.next({ sealedThrough: at, claim: claimOf(reply) }));
      expect(next).toMatchObject({ claimApplied: true, claimed: 64 });
      expect(next.shares.map(({ k }) => k)).toEqual([65, 66, 67, 68, 69, 70]);
      expect(next.sharesThrough.k).toBe(70);
    });

    rig.guarantee('a claim of some of the shares settles these and leaves the others', async () => {
      const at = rig.frontier;
      const first = await rig.freeze(at + 1, { [rig.author.journal]: 11n });
      await rig.freeze(at + 2, {});
      const third = await rig.freeze(at + 3, { [rig.author.journal]: 7n });
      const reply = await rig.beat();
      const { k, to, hash } = first.shares[rig.author.journal] ?? { k: 0, to: 0, hash: '' };
      const part = { ...reply, shares: reply.shares.slice(0, 1), sharesThrough: { k, to, hash } };
      const next = await rig.settlement.sync(rig.author.next({ sealedThrough: at, claim: claimOf(part) }));
      expect(next).toMatchObject({ claimApplied: true, claimed: 1, shares: [third.shares[rig.author.journal]] });
      const last = await rig.settlement.sync(rig.author.next({ sealedThrough: at, claim: claimOf(next) }));
      expect(last).toMatchObject({ claimApplied: true, claimed: 3, shares: [] });
      const books = await rig.readPoolBooks();
      expect(books.reduce((sum, { metrics }) => sum + metrics.claimedNanoUsd, 0n)).toBe(18n);
    });

    rig.guarantee('the board is read for its first windows, each whole, and says how far', async () => {
      const at = rig.frontier;
      const other = new JournalAuthor(rig.author.epoch);
      await rig.settlement.join(other);
      // Only windows of up to two seconds from now are taken; a server's clock cannot be moved.
      while (windowOf(await rig.settlement.now()) < at + BOARD_WINDOWS_PER_READ + 2) {
        await suite.advanceMs(1000);
        await delay(100);
      }
      const windows = Array.from({ length: BOARD_WINDOWS_PER_READ + 1 }, (_, i) => at + i + (i === 0 ? 1 : 2));
      const pools = [POOL, 'trt-2'];
      for (const author of [rig.author, other]) {
        const publications = windows.flatMap((window) => pools.map((pool) => publicationAt(window, pool)));
        const message = author.next({ sealedThrough: windows.at(-1) ?? 0, publications });
        expect(await rig.settlement.sync(message)).toMatchObject({ status: 'ok', lateCount: 0 });
      }
      const read = async () => {
        const { board, boardThrough } = await rig.settlement.readFreezeInput();
        const places = board.map(({ journal, publication }) => `${publication.window} ${journal} ${publication.pool}`);
        return { places: new Set(places), count: board.length, boardThrough };
      };
      const placesOf = (within: readonly number[]) =>
        within.flatMap((window) =>
          [rig.author, other].flatMap(({ journal }) => pools.map((pool) => `${window} ${journal} ${pool}`)),
        );
      const first = windows.slice(0, BOARD_WINDOWS_PER_READ);
      expect(await read()).toEqual({
        places: new Set(placesOf(first)),
        count: first.length * 4,
        boardThrough: (windows.at(-1) ?? 0) - 1,
      });
      await rig.freeze(at + 1, {});
      const rest = windows.slice(1);
      expect(await read()).toEqual({ places: new Set(placesOf(rest)), count: rest.length * 4, boardThrough: null });
    });

    rig.guarantee('the loser of two freezes changes nothing', async () => {
      const input = await rig.settlement.readFreezeInput();
      const winner = freezeOf(input, rig.frontier + 1, { [rig.author.journal]: 10n });
      const loser = freezeOf(input, rig.frontier + 2, { [rig.author.journal]: 99n });
      expect(await rig.settlement.commitFreeze(winner)).toBe('committed');
      const before = await rig.readPoolBooks();
      expect(await rig.settlement.commitFreeze(loser)).toBe('stale');
      expect(await rig.settlement.commitFreeze(winner)).toBe('stale');
      expect(await rig.readPoolBooks()).toEqual(before);
      expect(await rig.beat()).toMatchObject({ k: 1, frontier: rig.frontier + 1, freezeHash: winner.hash });
    });

    rig.guarantee('a freeze is stale when facts, or the board it was computed from, changed', async () => {
      const before = await rig.settlement.readFreezeInput();
      expect(await rig.settlement.putFacts({}, 0)).toBe('stored');
      expect(await rig.settlement.commitFreeze(freezeOf(before, rig.frontier + 1, {}))).toBe('stale');
      const between = await rig.settlement.readFreezeInput();
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier + 1 }));
      expect(await rig.settlement.commitFreeze(freezeOf(between, rig.frontier + 1, {}))).toBe('committed');
      const sealed = await rig.settlement.readFreezeInput();
      const publications = [publicationAt(rig.frontier + 2)];
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier + 2 }));
      await rig.settlement.sync(rig.author.next({ sealedThrough: rig.frontier + 2, publications }));
      expect(await rig.settlement.commitFreeze(freezeOf(sealed, rig.frontier + 2, {}))).toBe('stale');
    });

    rig.guarantee('facts are replaced only by who read the version in force', async () => {
      expect(await rig.settlement.putFacts({ a: [] }, 0)).toBe('stored');
      expect(await rig.settlement.putFacts({ b: [] }, 0)).toBe('stale');
      expect(await rig.books.readFacts()).toEqual({ version: 1, pools: { a: [] } });
      expect((await rig.settlement.readFreezeInput()).facts).toEqual({ version: 1, pools: { a: [] } });
    });

    rig.guarantee('facts come back as they were put, those of before the prefill factor without one', async () => {
      const before = createPoolFacts({ pool: POOL });
      const deployments = {
        measured: { ...DEPLOYMENT_FACTS, prefillFactor: 0.83 },
        fixed: { ...DEPLOYMENT_FACTS, profileFixed: true as const },
      };
      const pools = { [POOL]: [before, { ...before, effectiveFrom: 7, deployments }] };
      expect(await rig.settlement.putFacts(pools, 0)).toBe('stored');
      expect(await rig.books.readFacts()).toEqual({ version: 1, pools });
      expect((await rig.settlement.readFreezeInput()).facts).toEqual({ version: 1, pools });
    });

    rig.guarantee('of health changes the last before the frontier and all later ones are kept', async () => {
      const at = rig.frontier;
      const change = (offset: number, healthy: boolean) => ({ pool: POOL, window: at + offset, healthy });
      const healthChanges = [change(1, false), change(2, true), change(5, false), change(6, true)];
      await rig.settlement.sync(rig.author.next({ sealedThrough: at + 1, healthChanges }));
      expect((await rig.settlement.readFreezeInput()).health).toHaveLength(4);
      await rig.freeze(at + 5, {});
      const { health } = await rig.settlement.readFreezeInput();
      expect(health).toEqual([
        { journal: rig.author.journal, ...change(5, false) },
        { journal: rig.author.journal, ...change(6, true) },
      ]);
    });

    rig.guarantee('blind ranges are kept until the frontier has passed them', async () => {
      const at = rig.frontier;
      await rig.settlement.sync(rig.author.next({ sealedThrough: at, blind: [[at + 1, at + 3]] }));
      expect((await rig.settlement.readFreezeInput()).members[0]?.blind).toEqual([[at + 1, at + 3]]);
      await rig.freeze(at + 3, {});
      await rig.beat();
      expect((await rig.settlement.readFreezeInput()).members[0]?.blind).toEqual([]);
    });

    rig.guarantee('a member that leaves no longer holds the frontier, keeps its shares and may come back', async () => {
      const other = new JournalAuthor(rig.author.epoch);
      await rig.settlement.join(other);
      await rig.settlement.sync(
        other.next({ sealedThrough: rig.frontier + 1, publications: [publicationAt(rig.frontier + 1)] }),
      );
      const left = await rig.settlement.sync(other.next({ sealedThrough: rig.frontier + 1, leave: true }));
      expect(left.members).toEqual([rig.author.journal]);
      const input = await rig.settlement.readFreezeInput();
      expect(input.members.map(({ journal }) => journal)).toEqual([rig.author.journal]);
      expect(input.board.map(({ journal }) => journal)).toEqual([other.journal]);
      await rig.freeze(rig.frontier + 1, { [other.journal]: 8n });
      const back = await rig.settlement.join(other);
      expect(back).toMatchObject({ status: 'ok', seq: 2, hash: other.hash, claimed: 0 });
      expect(back.shares).toHaveLength(1);
      expect(back.members).toContain(other.journal);
      const claim = claimOf(back);
      expect(await rig.settlement.sync(other.next({ sealedThrough: rig.frontier + 1, claim }))).toMatchObject({
        claimApplied: true,
      });
    });

    rig.guarantee('a freeze drops silent members, who return with their next message', async () => {
      const other = new JournalAuthor(rig.author.epoch);
      await rig.settlement.join(other);
      const input = await rig.settlement.readFreezeInput();
      const commit: FreezeCommit = { ...freezeOf(input, rig.frontier + 1, {}), dropMembers: [other.journal] };
      expect(await rig.settlement.commitFreeze(commit)).toBe('committed');
      expect((await rig.beat()).members).toEqual([rig.author.journal]);
      const reply = await rig.settlement.sync(
        other.next({ sealedThrough: rig.frontier + 1, publications: [publicationAt(rig.frontier + 1)] }),
      );
      expect(reply).toMatchObject({ status: 'ok', lateCount: 1 });
      expect(reply.members).toContain(other.journal);
    });

    rig.guarantee('a member that comes back makes a freeze in the making stale', async () => {
      const other = new JournalAuthor(rig.author.epoch);
      await rig.settlement.join(other);
      await rig.settlement.sync(other.next({ sealedThrough: rig.frontier, leave: true }));
      const input = await rig.settlement.readFreezeInput();
      await rig.settlement.sync(other.next({ sealedThrough: rig.frontier }));
      expect(await rig.settlement.commitFreeze(freezeOf(input, rig.frontier + 1, {}))).toBe('stale');
    });

    rig.guarantee('a late joiner starts with no shares and is blind before it', async () => {
      await rig.freeze(rig.frontier + 1, { [rig.author.journal]: 9n });
      await suite.advanceMs(10_000);
      const other = new JournalAuthor(rig.author.epoch);
      const reply = await rig.settlement.join(other);
      expect(reply).toMatchObject({ claimed: 1, shares: [], seq: 0 });
      const member = (await rig.settlement.readFreezeInput()).members.find(({ journal }) => journal === other.journal);
      const sealedThrough = member?.sealedThrough ?? 0;
      expect(sealedThrough).toBeGreaterThanOrEqual(rig.frontier + 1);
      if (sealedThrough > rig.frontier + 1) expect(member?.blind).toEqual([[0, sealedThrough]]);
    });

    rig.guarantee('silence counts only time in which the store was called', async () => {
      const other = new JournalAuthor(rig.author.epoch);
      await rig.settlement.join(other);
      await suite.advanceMs(1500);
      await rig.beat();
      await suite.advanceMs(600_000);
      await rig.beat();
      const silent = (await rig.settlement.readFreezeInput()).members.find(({ journal }) => journal === other.journal);
      // Up to 0.5 s for the real time that Redis adds.
      expect(silent?.silentSeconds).toBeGreaterThanOrEqual(3.5);
      expect(silent?.silentSeconds).toBeLessThan(4);
    });

    rig.guarantee('status tells where the books stand', async () => {
      const commit = await rig.freeze(rig.frontier + 1, {});
      const status = await rig.books.readStatus();
      expect(status).toMatchObject({
        epoch: rig.author.epoch,
        schema: STORE_SCHEMA,
        frontier: rig.frontier + 1,
        k: 1,
        freezeHash: commit.hash,
      });
      expect(status.members.map(({ journal }) => journal)).toEqual([rig.author.journal]);
      expect(Math.abs(status.nowMs - (await rig.settlement.now()))).toBeLessThan(5000);
    });

    rig.guarantee('after close every call is refused', async () => {
      await rig.settlement.close();
      await expect(rig.settlement.now()).rejects.toThrow(StoreUnavailableError);
      await rig.settlement.close();
    });
  });
}
