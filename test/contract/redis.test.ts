// The store contract on a real Redis, and what only a server can show: pauses, restarts, eviction, key names.
import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { computeFreeze } from '#accounting/frontier.ts';
import { silentLog } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { RedisBooksReader } from '#store/redis/redis-books-reader.ts';
import { RedisConnection } from '#store/redis/redis-connection.ts';
import { RedisLearnerStore } from '#store/redis/redis-learner-store.ts';
import { RedisLedgerReader } from '#store/redis/redis-ledger-reader.ts';
import { RedisSettlementStore } from '#store/redis/redis-settlement-store.ts';
import { parseRedisUrl } from '#domain/redis-url.ts';
import { STORE_SCHEMA } from '#store/store-options.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { describeLearnerStore } from './learner-store.case.ts';
import { describeSettledBooks } from './settled-books.case.ts';
import { describeSettlementStore } from './settlement-store.case.ts';
import type { StoreSuite } from './store-rig.ts';
import { claimOf, freezeOf, JournalAuthor, publicationAt, recordAt } from './settlement-messages.ts';

const DAY_MS = 86_400_000;
const places = new StorePlaces('redis');
const { admin } = places;
/** Of the store created last. */
let lastPrefix = '';

const create = (prefix: string, options: { url?: string; timeoutMs?: number } = {}) => {
  const address = parseRedisUrl(options.url ?? places.redisUrl);
  if (address === null) throw new Error('not a Redis URL');
  const timeoutMs = options.timeoutMs ?? 5000;
  const connection = new RedisConnection({
    address,
    prefix,
    timeoutMs,
    readTimeoutMs: timeoutMs,
    retention: { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS },
    log: silentLog,
  });
  return {
    settlement: new RedisSettlementStore(connection),
    books: new RedisBooksReader(connection),
    learner: new RedisLearnerStore(connection),
    connection,
  };
};

const suite: StoreSuite = {
  name: 'redis',
  createStore: async () => {
    lastPrefix = places.newPrefix();
    return create(lastPrefix);
  },
  createSecondClient: async () => create(lastPrefix),
  raiseSchema: async () => {
    await admin.hset(`${lastPrefix}:{s0}:meta`, 'schema', '99');
  },
  // The server's clock cannot be moved, but to the aliveClock a call longer ago is the same.
  advanceMs: async (ms) => {
    await admin.hincrby(`${lastPrefix}:{s0}:meta`, 'lastCallMs', -ms);
  },
  skip: [],
};

describeSettlementStore(suite);
describeSettledBooks(suite);
describeLearnerStore(suite);

describe('redis only', () => {
  test('a paused server never holds a caller longer than the limit, and answers again afterwards', async () => {
    const server = await startRedis();
    const { settlement } = create('paused', { url: server.url, timeoutMs: 150 });
    try {
      const author = new JournalAuthor((await settlement.open()).epoch);
      const joined = await settlement.join(author);
      const message = author.next({ sealedThrough: joined.frontier ?? 0 });
      server.pause();
      for (let i = 0; i < 8; i += 1) {
        const started = performance.now();
        await expect(settlement.sync(message)).rejects.toThrow(StoreUnavailableError);
        expect(performance.now() - started).toBeLessThan(1500);
      }
      server.resume();
      const again = () => settlement.sync(message).catch(() => null);
      const reply = await expect
        .poll(again, { timeout: 20_000 })
        .toMatchObject({ seq: 1 })
        .then(() => settlement.sync(message));
      expect(reply).toMatchObject({ status: 'already', seq: 1, hash: message.hash });
    } finally {
      server.resume();
      await settlement.close();
      await server.stop();
    }
  });

  test('a server restarted empty is told from ours, and its new master holds exclusions', async () => {
    const server = await startRedis();
    const { settlement } = create('restarted', { url: server.url, timeoutMs: 1000 });
    let second = server;
    try {
      const author = new JournalAuthor((await settlement.open()).epoch);
      await settlement.join(author);
      await server.stop();
      await expect(settlement.now()).rejects.toThrow(StoreUnavailableError);
      second = await startRedis([], server.port);
      const sync = () => settlement.sync(author.next({ sealedThrough: 1 })).catch(() => null);
      await expect.poll(sync, { timeout: 20_000 }).toMatchObject({ status: 'foreign', epoch: '' });
    } finally {
      await settlement.close();
      await second.stop();
    }
  });

  test('opening while nothing listens is refused, and works once something does', async () => {
    const first = await startRedis();
    await first.stop();
    const { settlement } = create('absent', { url: first.url, timeoutMs: 500 });
    await expect(settlement.open()).rejects.toThrow(StoreUnavailableError);
    const server = await startRedis([], first.port);
    expect((await settlement.open()).schema).toBe(STORE_SCHEMA);
    await settlement.close();
    await server.stop();
  });

  test('a server that evicts keys is refused', async () => {
    const server = await startRedis(['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru']);
    const { settlement } = create('evicts', { url: server.url });
    await expect(settlement.open()).rejects.toMatchObject({ name: 'StoreSchemaError' });
    await settlement.close();
    await server.stop();
  });

  test('a server without the database of the URL is refused, and database 0 stays as it was', async () => {
    const server = await startRedis();
    const { settlement } = create('no-such-database', { url: `${server.url}/99` });
    const other = create('a-database', { url: `${server.url}/3` }).settlement;
    const client = new Redis(server.url);
    try {
      await expect(settlement.open()).rejects.toMatchObject({
        name: 'StoreSchemaError',
        message: expect.stringContaining('database 99'),
      });
      await other.open();
      expect(await client.dbsize()).toBe(0);
      await client.select(3);
      expect(await client.dbsize()).toBeGreaterThan(0);
    } finally {
      client.disconnect();
      await Promise.all([settlement.close(), other.close()]);
      await server.stop();
    }
  });

  test('a store of schema 1 is brought up, and hours after its frontier count as wholly kept', async () => {
    const prefix = places.newPrefix();
    const meta = `${prefix}:{s0}:meta`;
    const first = create(prefix);
    const { epoch } = await first.settlement.open();
    await first.settlement.close();
    await admin.hdel(meta, 'entriesFrom');
    await admin.hset(meta, 'schema', '1', 'frontier', '7201');
    const { settlement, connection } = create(prefix);
    expect(await settlement.open()).toEqual({ epoch, schema: STORE_SCHEMA });
    expect((await new RedisLedgerReader(connection).readHeads()).entriesFrom).toBe(10_800);
    await settlement.close();
  });

  test('the keys of another program are refused', async () => {
    const prefix = places.newPrefix();
    await admin.set(`${prefix}:{s0}:meta`, 'mine');
    const { settlement } = create(prefix);
    await expect(settlement.open()).rejects.toMatchObject({ name: 'StoreSchemaError' });
    await settlement.close();
  });

  test('under a new master nothing is frozen for 10 s, so that a member whose join was lost can come back', async () => {
    const prefix = places.newPrefix();
    const { settlement } = create(prefix);
    const author = new JournalAuthor((await settlement.open()).epoch);
    const joined = await settlement.join(author);
    const meta = `${prefix}:{s0}:meta`;
    const beat = () => settlement.sync(author.next({ sealedThrough: (joined.frontier ?? 0) + 100 }));
    await beat();
    expect((await settlement.readFreezeInput()).isHeld).toBeUndefined();
    await admin.hset(meta, 'runId', 'of-the-old-master');
    // The server itself says who it is: a client that has not noticed the failover yet changes nothing.
    await beat();
    expect(await admin.hget(meta, 'runId')).toMatch(/^[0-9a-f]{40}$/);
    const held = await settlement.readFreezeInput();
    expect(held.isHeld).toBe(true);
    expect(computeFreeze({ ...held, nowMs: held.nowMs + 60_000 }, { silenceSeconds: 900 })).toBeNull();
    await admin.hincrby(meta, 'aliveMs', 10_001);
    const free = await settlement.readFreezeInput();
    expect(free.isHeld).toBeUndefined();
    expect(computeFreeze({ ...free, nowMs: free.nowMs + 60_000 }, { silenceSeconds: 900 })).not.toBeNull();
    await settlement.close();
  });

  test('under a new master nobody counts as silent for 30 s', async () => {
    const prefix = places.newPrefix();
    const { settlement } = create(prefix);
    const author = new JournalAuthor((await settlement.open()).epoch);
    const joined = await settlement.join(author);
    const meta = `${prefix}:{s0}:meta`;
    await settlement.sync(author.next({ sealedThrough: joined.frontier ?? 0 }));
    await admin.hincrby(meta, 'aliveMs', 1_000_000);
    const readSilence = async () => (await settlement.readFreezeInput()).members[0]?.silentSeconds;
    expect(await readSilence()).toBeGreaterThanOrEqual(1000);
    await expect
      .poll(() =>
        admin.hget(meta, 'runId').then(async (known) => {
          if (known === null) await settlement.join(author);
          return known;
        }),
      )
      .toMatch(/^[0-9a-f]{40}$/);
    await admin.hset(meta, 'runId', 'of-the-old-master');
    await settlement.putFacts({}, 0);
    await settlement.commitFreeze(freezeOf(await settlement.readFreezeInput(), (joined.frontier ?? 0) + 1, {}));
    await admin.hincrby(meta, 'aliveMs', 20_000);
    expect(await readSilence()).toBe(0);
    await admin.hincrby(meta, 'aliveMs', 20_000);
    expect(await readSilence()).toBeGreaterThanOrEqual(40);
    await settlement.close();
  });

  test('every key carries the prefix and the hash tag, and what grows with time expires', async () => {
    const prefix = places.newPrefix();
    const { settlement } = create(prefix);
    const author = new JournalAuthor((await settlement.open()).epoch);
    const joined = await settlement.join(author);
    const at = joined.frontier ?? 0;
    await settlement.sync(
      author.next({
        sealedThrough: at,
        publications: [publicationAt(at + 3)],
        healthChanges: [{ pool: 'p', window: at, healthy: true }],
      }),
    );
    await settlement.putFacts({}, 0);
    await settlement.commitFreeze(freezeOf(await settlement.readFreezeInput(), at + 1, { [author.journal]: 3n }));
    const seen = await settlement.sync(author.next({ sealedThrough: at }));
    await settlement.sync(
      author.next({ sealedThrough: at, claim: claimOf(seen, { records: [recordAt(joined.nowMs)] }) }),
    );
    await settlement.commitFreeze(freezeOf(await settlement.readFreezeInput(), at + 2, { [author.journal]: 3n }));
    const keys = (await admin.keys(`${prefix}*`)).map((key) => key.replace(`${prefix}:{s0}:`, ''));
    const kept = keys.filter((key) => !/^(?:books|cells|batches|bodies|entries|freezes|hashes):/.test(key)).sort();
    expect(kept).toEqual([
      'board',
      'board-index',
      'chain',
      'dims',
      'facts',
      'health',
      'journals',
      'live',
      'meta',
      `pending:${author.journal}`,
    ]);
    const growing = keys.filter((key) => !kept.includes(key));
    expect(growing).toHaveLength(9);
    for (const key of growing) expect(await admin.ttl(`${prefix}:{s0}:${key}`), key).toBeGreaterThan(DAY_MS / 2000);
    await settlement.close();
  });

  test('a thousand records of one claim take less than 100 bytes each', async () => {
    const prefix = places.newPrefix();
    const { settlement, books } = create(prefix);
    const author = new JournalAuthor((await settlement.open()).epoch);
    const joined = await settlement.join(author);
    const records = Array.from({ length: 1000 }, (_, i) => recordAt(joined.nowMs - i));
    await settlement.sync(author.next({ sealedThrough: joined.frontier ?? 0, claim: claimOf(joined, { records }) }));
    const bodies = (await admin.keys(`${prefix}:{s0}:bodies:*`))[0] ?? '';
    expect(await admin.memory('USAGE', bodies)).toBeLessThan(100 * records.length);
    expect((await books.readRecords({ limit: 1000 })).records).toHaveLength(1000);
    await settlement.close();
  });
});
