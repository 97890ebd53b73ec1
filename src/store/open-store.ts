// Chooses the store by the URL of the config. The only file outside the adapters that knows there are two.
import { existsSync } from 'node:fs';
import { StoreSchemaError, type SettlementStore } from '#domain/settlement-store.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import type { LeaseStore } from '#domain/lease-store.ts';
import type { LearnerStore } from '#domain/learner-store.ts';
import type { StoreRestorer } from '#domain/restore-store.ts';
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import type { VoucherStore } from '#domain/voucher.ts';
import type { Log } from '#domain/log.ts';
import { describeRedisUrl, parseRedisUrl } from '#domain/redis-url.ts';
import { RedisConnection } from './redis/redis-connection.ts';
import { RedisBooksReader } from './redis/redis-books-reader.ts';
import { RedisLeases } from './redis/redis-leases.ts';
import { RedisLearnerStore } from './redis/redis-learner-store.ts';
import { RedisLedgerReader } from './redis/redis-ledger-reader.ts';
import { RedisRestorer } from './redis/redis-restorer.ts';
import { RedisSettlementStore } from './redis/redis-settlement-store.ts';
import { RedisArchiveMarks } from './redis/redis-archive-marks.ts';
import { RedisVouchers } from './redis/redis-vouchers.ts';
import { SqliteStore } from './sqlite/sqlite-store.ts';
import type { StoreRetention, StoreTls } from './store-options.ts';

/** Settlement is off the request path: a limit meant for admission would only make it repeat calls that were applied. */
const SETTLEMENT_TIMEOUT_MIN_MS = 1000;
/** Reports read up to a year of cells. */
const READ_TIMEOUT_MIN_MS = 10_000;

export interface OpenStoreOptions {
  /** `sqlite:PATH`, `redis[s]://…`, `redis[s]+sentinel://…/MASTER/DB`, `redis[s]+cluster://…`. May hold a password. */
  readonly url: string;
  readonly prefix: string;
  /** `store.timeout`: the limit of a call on the request path. Settlement gets at least 1 s, reports at least 10 s. */
  readonly timeoutMs: number;
  /** See StoreOptions. */
  readonly openTimeoutMs?: number | undefined;
  /** For `rediss…` URLs; default: the system's authorities, no client certificate. */
  readonly tls?: StoreTls | undefined;
  readonly retention: StoreRetention;
  readonly log: Log;
}

export interface OpenedStore {
  readonly settlement: SettlementStore;
  readonly books: BooksReader;
  readonly ledger: LedgerReader;
  readonly leases: LeaseStore;
  readonly vouchers: VoucherStore;
  readonly archiveMarks: ArchiveMarks;
  /** For one rebuild. */
  restorer(): StoreRestorer;
  readonly learner: LearnerStore;
  /** False only where opening would begin an empty store in a file that is not there. */
  exists(): boolean;
  /** Kind and address without user and password, for logs. */
  describe(): string;
}

/** Builds the adapters without connecting: call `settlement.open()`, and `settlement.close()` for both. Throws StoreSchemaError for an unknown URL. */
export function openStore(options: OpenStoreOptions): OpenedStore {
  const { prefix, retention, log, openTimeoutMs } = options;
  const timeoutMs = Math.max(options.timeoutMs, SETTLEMENT_TIMEOUT_MIN_MS);
  const readTimeoutMs = Math.max(options.timeoutMs, READ_TIMEOUT_MIN_MS);
  const shared = { prefix, timeoutMs, readTimeoutMs, openTimeoutMs, retention, log };
  if (options.url.startsWith('sqlite:')) {
    const path = options.url.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '');
    const store = new SqliteStore({ ...shared, path });
    return {
      settlement: store,
      books: store,
      ledger: store,
      leases: store,
      learner: store,
      vouchers: store,
      archiveMarks: store.archiveMarks(),
      restorer: () => store.restorer(),
      exists: () => existsSync(path),
      describe: () => `sqlite:${path}`,
    };
  }
  const address = parseRedisUrl(options.url);
  if (address === null) {
    throw new StoreSchemaError(
      'store.url must start with sqlite:, redis:// or rediss:// (or their +sentinel, +cluster forms), with user and password percent-encoded',
    );
  }
  const connection = new RedisConnection({ ...shared, address, tls: options.tls });
  return {
    settlement: new RedisSettlementStore(connection),
    books: new RedisBooksReader(connection),
    ledger: new RedisLedgerReader(connection),
    leases: new RedisLeases(connection),
    vouchers: new RedisVouchers(connection),
    archiveMarks: new RedisArchiveMarks(connection),
    restorer: () => new RedisRestorer(connection),
    learner: new RedisLearnerStore(connection),
    exists: () => true,
    describe: () => describeRedisUrl(address),
  };
}
