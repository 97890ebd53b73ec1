// The three stores as a schedule wants them: on its virtual clock, with a state that can be put back, which is what a failover that loses its
// tail does. Not here: what happens to them (settlement-schedule.ts).
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Redis } from 'ioredis';
import { silentLog } from '#domain/log.ts';
import { RedisBooksReader } from '#store/redis/redis-books-reader.ts';
import { RedisConnection } from '#store/redis/redis-connection.ts';
import { RedisSettlementStore } from '#store/redis/redis-settlement-store.ts';
import { parseRedisUrl } from '#domain/redis-url.ts';
import { loadScript, type ScriptName } from '#store/redis/scripts.ts';
import { SqliteStore } from '#store/sqlite/sqlite-store.ts';
import { MemorySettlementStore } from './memory-settlement-store.ts';
import type { Schedule, StoreUnderSchedule } from './settlement-schedule.ts';

export type StoreKind = 'memory' | 'sqlite' | 'redis';

/** Gives every schedule an empty store of its own. */
export interface StoreFarm {
  readonly createStore: Schedule['createStore'];
  close(): Promise<void>;
}

const DAY_MS = 86_400_000;
const OPTIONS = {
  timeoutMs: 30_000,
  readTimeoutMs: 30_000,
  retention: { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS },
  log: silentLog,
};

/** `redisUrl` is needed for `redis` alone; keys there carry prefixes of their own and are removed. */
export function openStoreFarm(kind: StoreKind, redisUrl?: string): StoreFarm {
  if (kind === 'memory') return { createStore: createMemoryStore, close: async () => {} };
  return kind === 'sqlite' ? openSqliteFarm() : openRedisFarm(redisUrl ?? '');
}

async function createMemoryStore(now: () => number): Promise<StoreUnderSchedule> {
  const store = new MemorySettlementStore({ now });
  return {
    store,
    snapshot: async () => {
      const state = store.snapshot();
      return async () => store.restore(state);
    },
  };
}

/** One file for all schedules, wiped between them: starting a worker thread each time would take longer than the schedule. */
function openSqliteFarm(): StoreFarm {
  // In memory where there is such a folder: waiting for a disk proves nothing about the protocol.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'inferometer-schedules-'));
  const path = join(folder, 'store.db');
  let clock = (): number => 0;
  const store = new SqliteStore({ ...OPTIONS, path, prefix: '', now: () => clock() });
  let side: DatabaseSync | null = null;
  let wipe = (): void => {};
  return {
    createStore: async (now) => {
      clock = now;
      await store.open();
      if (side === null) {
        side = new DatabaseSync(path);
        side.exec('PRAGMA busy_timeout = 10000');
        wipe = copyTables(side);
      }
      wipe();
      const db = side;
      // The farm's store outlives the schedule.
      const kept = new Proxy(store, {
        get(target, property, receiver) {
          if (property === 'close') return async () => {};
          const value: unknown = Reflect.get(target, property, receiver);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      return {
        store: kept,
        snapshot: async () => {
          const restore = copyTables(db);
          return async () => restore();
        },
      };
    },
    close: async () => {
      side?.close();
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Reads every table; the function returned puts those rows in place of what is there then, in one transaction. */
function copyTables(db: DatabaseSync): () => void {
  const tables = db
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    .all()
    .map(({ name }) => String(name));
  const copies = tables.map((name) => {
    const read = db.prepare(`SELECT * FROM "${name}"`);
    read.setReadBigInts(true);
    return { name, rows: read.all() };
  });
  return () => {
    db.exec('BEGIN IMMEDIATE');
    for (const { name, rows } of copies) {
      db.exec(`DELETE FROM "${name}"`);
      const columns = Object.keys(rows[0] ?? {});
      if (columns.length === 0) continue;
      const names = columns.map((column) => `"${column}"`).join(', ');
      const add = db.prepare(`INSERT INTO "${name}" (${names}) VALUES (${columns.map(() => '?').join(', ')})`);
      for (const row of rows) add.run(...columns.map((column) => row[column] ?? null));
    }
    db.exec('COMMIT');
  };
}

const CLOCK_KEY = 'inferometer-virtual-clock';

/** The server's scripts with two changes: they ask a key for the time, and are told who the server is. A failover shows as another `run_id`, as Sentinel's does. */
class VirtualRedisConnection extends RedisConnection {
  readonly #now: () => number;
  readonly #loaded = new Map<ScriptName, string>();
  #toldMs = -1;

  constructor(url: string, prefix: string, now: () => number) {
    const address = parseRedisUrl(url);
    if (address === null) throw new Error(`${url} is not a Redis URL`);
    super({ ...OPTIONS, address, prefix });
    this.#now = now;
  }

  override runScript(name: ScriptName, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    const run = async (client: Redis): Promise<unknown> => {
      let sha = this.#loaded.get(name);
      if (sha === undefined) {
        const text = loadScript(name)
          .replace("redis.call('TIME')", `redis.call('HMGET', '${CLOCK_KEY}', 's', 'us')`)
          .replace("redis.pcall('INFO', 'server')", 'nil');
        sha = String(await client.script('LOAD', text));
        this.#loaded.set(name, sha);
      }
      const nowMs = this.#now();
      // Not awaited: one connection keeps the order.
      if (nowMs !== this.#toldMs)
        void client.hset(CLOCK_KEY, 's', Math.floor(nowMs / 1000), 'us', (nowMs % 1000) * 1000);
      this.#toldMs = nowMs;
      return client.evalsha(sha, keys.length, ...keys, ...args);
    };
    return this.call(name, (client) => run(client as Redis), OPTIONS.timeoutMs);
  }

  override async readNowMs(): Promise<number> {
    return this.#now();
  }
}

function openRedisFarm(url: string): StoreFarm {
  const closers: (() => Promise<void>)[] = [];
  return {
    createStore: async (now) => {
      while (closers.length > 0) await closers.pop()?.();
      const prefix = `schedule-${randomUUID()}`;
      const connection = new VirtualRedisConnection(url, prefix, now);
      const settlement = new RedisSettlementStore(connection);
      const books = new RedisBooksReader(connection);
      closers.push(async () => {
        await connection.call('wipe', (client) => removeKeys(client as Redis, `${prefix}:*`), OPTIONS.timeoutMs);
        connection.close();
      });
      let failovers = 0;
      return {
        store: combine(settlement, books),
        holdsFrontier: true,
        snapshot: async () => {
          const copy = await connection.call('copy', (client) => copyKeys(client as Redis, prefix), OPTIONS.timeoutMs);
          return async () => {
            await connection.call('restore', (client) => putBack(client as Redis, prefix, copy), OPTIONS.timeoutMs);
            failovers += 1;
            connection.runId = `master-${failovers}`;
          };
        },
      };
    },
    close: async () => {
      while (closers.length > 0) await closers.pop()?.();
    },
  };
}

type KeyCopy = ReadonlyMap<string, { readonly value: Buffer; readonly ttlMs: number }>;

async function copyKeys(client: Redis, prefix: string): Promise<KeyCopy> {
  const keys = await client.keys(`${prefix}:*`);
  const copies = await Promise.all(
    keys.map(async (key) => {
      const [value, ttlMs] = await Promise.all([client.dumpBuffer(key), client.pttl(key)]);
      return value === null ? [] : [[key, { value, ttlMs: Math.max(0, ttlMs) }] as const];
    }),
  );
  return new Map(copies.flat());
}

async function putBack(client: Redis, prefix: string, copy: KeyCopy): Promise<void> {
  await removeKeys(client, `${prefix}:*`);
  await Promise.all([...copy].map(([key, { value, ttlMs }]) => client.restore(key, ttlMs, value)));
}

async function removeKeys(client: Redis, pattern: string): Promise<void> {
  const keys = await client.keys(pattern);
  if (keys.length > 0) await client.del(...keys);
}

/** Both ports of one store as one object. */
function combine(settlement: RedisSettlementStore, books: RedisBooksReader): StoreUnderSchedule['store'] {
  return new Proxy(settlement, {
    get(target, property) {
      const owner = property in target ? target : books;
      const value: unknown = Reflect.get(owner, property);
      return typeof value === 'function' ? value.bind(owner) : value;
    },
  }) as unknown as StoreUnderSchedule['store'];
}
