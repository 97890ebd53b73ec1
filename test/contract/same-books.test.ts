// SQLite and Redis are one store to everybody above: any log of calls gives the same answers, cells, books and records.
import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import type { SyncMessage, SyncReply } from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';
import { RedisBooksReader } from '#store/redis/redis-books-reader.ts';
import { RedisConnection } from '#store/redis/redis-connection.ts';
import { RedisSettlementStore } from '#store/redis/redis-settlement-store.ts';
import { parseRedisUrl } from '#domain/redis-url.ts';
import { SqliteStore } from '#store/sqlite/sqlite-store.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { claimOf, freezeOf, JournalAuthor, publicationAt, recordAt } from './settlement-messages.ts';
import type { StoreUnderTest } from './store-rig.ts';

type SettledStore = Omit<StoreUnderTest, 'learner'>;

const DAY_MS = 86_400_000;
const places = new StorePlaces('same');

type Step =
  | {
      readonly kind: 'sync';
      readonly who: number;
      readonly publish: readonly number[];
      readonly claim: 'none' | 'right' | 'stale';
      readonly leave: boolean;
    }
  | { readonly kind: 'replay'; readonly who: number; readonly back: number }
  | { readonly kind: 'join'; readonly who: number }
  | { readonly kind: 'freeze'; readonly shares: readonly bigint[]; readonly drop: boolean };

const who = fc.integer({ min: 0, max: 2 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('sync' as const),
    who,
    publish: fc.array(fc.integer({ min: -2, max: 6 }), { maxLength: 3 }),
    claim: fc.constantFrom('none' as const, 'right' as const, 'right' as const, 'stale' as const),
    leave: fc.constantFrom(false, false, false, true),
  }),
  fc.record({ kind: fc.constant('replay' as const), who, back: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ kind: fc.constant('join' as const), who }),
  fc.record({
    kind: fc.constant('freeze' as const),
    shares: fc.array(fc.bigInt({ min: 0n, max: 10n ** 16n }), { minLength: 3, maxLength: 3 }),
    drop: fc.constantFrom(false, false, true),
  }),
);

interface Played {
  readonly answers: readonly unknown[];
  /** Store clock at the beginning and the end. */
  readonly nowMs: readonly [number, number];
}

/** One store driven by the steps; everything it answers, with what must differ between two stores left out. */
async function play(store: SettledStore, journals: readonly string[], steps: readonly Step[]): Promise<Played> {
  const { settlement, books } = store;
  const { epoch } = await settlement.open();
  const begunMs = await settlement.now();
  const authors = journals.map((journal) => Object.assign(new JournalAuthor(epoch), { journal }));
  const sent = new Map<string, SyncMessage[]>(journals.map((journal) => [journal, []]));
  const views = new Map<string, SyncReply>();
  const answers: unknown[] = [];
  let base = 0;
  const note = (journal: string, reply: SyncReply) => {
    views.set(journal, reply);
    const { epoch: _epoch, nowMs: _nowMs, hash: _hash, ...same } = reply;
    answers.push(same);
  };
  for (const author of authors) {
    const reply = await settlement.join(author);
    base ||= reply.frontier ?? 0;
    note(author.journal, reply);
  }
  for (const taken of steps) {
    if (taken.kind === 'freeze') {
      const input = await settlement.readFreezeInput();
      const shares = Object.fromEntries(journals.map((journal, i) => [journal, taken.shares[i] ?? 0n]));
      const commit = freezeOf(input, (input.frontier ?? 0) + 1, shares);
      answers.push(
        input.board,
        input.members.map(({ journal, sealedThrough }) => [journal, sealedThrough]),
      );
      answers.push(
        await settlement.commitFreeze(taken.drop ? { ...commit, dropMembers: [journals[2] ?? ''] } : commit),
      );
      continue;
    }
    const author = authors[taken.who];
    if (author === undefined) continue;
    const view = views.get(author.journal);
    if (taken.kind === 'join') {
      note(author.journal, await settlement.join(author));
    } else if (taken.kind === 'replay') {
      const message = sent.get(author.journal)?.at(-1 - taken.back);
      if (message !== undefined) note(author.journal, await settlement.sync(message));
    } else if (view !== undefined) {
      const right =
        taken.claim === 'none'
          ? null
          : claimOf(view, {
              records: [
                recordAt(base * 1000 + author.seq, { recordId: `${author.journal}.${author.seq}`, requestId: 'r' }),
              ],
            });
      const message = author.next({
        sealedThrough: base,
        publications: taken.publish.map((offset) => publicationAt(base + offset)),
        claim: right !== null && taken.claim === 'stale' ? { ...right, k0: right.k0 + 1 } : right,
        leave: taken.leave,
      });
      sent.get(author.journal)?.push(message);
      note(author.journal, await settlement.sync(message));
    }
  }
  const hour = hourOf(base);
  const sorted = (cells: readonly object[]) =>
    cells
      .map((cell) => JSON.stringify(cell, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)))
      .sort();
  for (const granularity of ['hour', 'day', 'month'] as const) {
    answers.push(sorted(await books.readRollups({ from: hour - 31 * 86_400, to: hour + 7200 }, granularity)));
  }
  answers.push(
    sorted(await books.readBooks({ from: hour, to: hour + 7200 })),
    await books.readRecords({ limit: 1000 }),
  );
  const nowMs = [begunMs, await settlement.now()] as const;
  await settlement.close();
  return { answers, nowMs };
}

function createBoth(nowMs: number): [SettledStore, SettledStore] {
  const address = parseRedisUrl(places.redisUrl);
  if (address === null) throw new Error('not a Redis URL');
  const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
  // A file for the one, keys for the other.
  const { prefix, path } = places.newPlace('sqlite');
  const shared = { prefix, timeoutMs: 5000, readTimeoutMs: 5000, retention, log: silentLog };
  const sqlite = new SqliteStore({ ...shared, path, now: () => nowMs });
  const connection = new RedisConnection({ ...shared, address });
  const redis = { settlement: new RedisSettlementStore(connection), books: new RedisBooksReader(connection) };
  return [{ settlement: sqlite, books: sqlite }, redis];
}

test('one random log of calls leaves the same answers and the same books in both stores', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const journals = [randomUUID(), randomUUID(), randomUUID()];
      // Windows near now are accepted by the second, and Redis keeps real time: play it within one second, then SQLite in the same.
      let fromRedis: Played;
      let second: number;
      do {
        const [, redis] = createBoth(0);
        fromRedis = await play(redis, journals, steps);
        second = Math.floor(fromRedis.nowMs[0] / 1000);
      } while (second !== Math.floor(fromRedis.nowMs[1] / 1000));
      const [sqlite] = createBoth(second * 1000 + 500);
      const fromSqlite = await play(sqlite, journals, steps);
      expect(fromSqlite.answers).toEqual(fromRedis.answers);
    }),
    { numRuns: 25 },
  );
});
