// The settlement protocol on Redis: each write is one Lua script (shared/design/settlement.md). Reports are in redis-books-reader.
import { randomUUID } from 'node:crypto';
import type { Cluster, Redis } from 'ioredis';
import type { MessageText } from '#domain/message-text.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type { FreezeCommit, FreezeInput, Publication, SyncMessage, SyncReply } from '#domain/settlement.ts';
import {
  StoreSchemaError,
  StoreUnavailableError,
  type SettlementStore,
  type StoreIdentity,
} from '#domain/settlement-store.ts';
import { BOARD_WINDOWS_PER_READ, MEMBER_FORGOTTEN_MS, STORE_SCHEMA } from '../store-options.ts';
import { checkDatabase } from './check-database.ts';
import { checkEviction } from './check-eviction.ts';
import { toFields, toList, toMembers, toStrings, toSyncReply } from './read-replies.ts';
import { packClaim } from './pack-claim.ts';
import type { RedisConnection } from './redis-connection.ts';
import { layOutCommit, layOutSync } from './sync-arguments.ts';

/** Under a new master nobody is excluded for this much aliveClock (lua/fragments/alive-clock.lua) … */
const EXCLUSION_HOLD_MS = 30_000;
/** … and nothing is frozen for this much of it. */
const FRONTIER_HOLD_MS = 10_000;

/** Journal ids are parts of key names and fields. */
const JOURNAL = /^[\w.-]{1,64}$/;

/** Several processes share one store through scripts that run alone on the server; every call may be repeated. */
export class RedisSettlementStore implements SettlementStore {
  readonly #connection: RedisConnection;
  #closedThrough = 0;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  /** Also refuses a Redis without the database of the URL, or one that may evict the books, where it says so (StoreSchemaError). */
  async open(): Promise<StoreIdentity> {
    await this.#connection.connect();
    await checkDatabase(this.#connection);
    const { keys } = this.#connection;
    const [schema, epoch, restoring] = await this.#readOwner(keys.meta);
    if (!/^\d+$/.test(schema) || (epoch === '' && restoring !== '1'))
      throw new StoreSchemaError('the keys under store.prefix belong to another program');
    if (Number(schema) > STORE_SCHEMA) {
      throw new StoreSchemaError(
        `the store has schema ${schema}, this program knows up to ${STORE_SCHEMA}: upgrade it`,
      );
    }
    await checkEviction(this.#connection);
    return { epoch, schema: Number(schema) };
  }

  async #readOwner(meta: string): Promise<[schema: string, epoch: string, restoring: string]> {
    try {
      const reply = await this.#connection.runScript('openStore', [meta], [String(STORE_SCHEMA), randomUUID()]);
      const [schema, epoch, restoring] = toList(reply);
      return [String(schema ?? ''), String(epoch ?? ''), String(restoring ?? '')];
    } catch (err) {
      const isForeign = err instanceof StoreUnavailableError && err.message.includes('WRONGTYPE');
      if (isForeign)
        throw new StoreSchemaError('the keys under store.prefix belong to another program', { cause: err });
      throw err;
    }
  }

  async readEpoch(): Promise<string | null> {
    const { keys, options } = this.#connection;
    const read = (client: Redis | Cluster) => client.hget(keys.meta, 'epoch');
    const epoch = await this.#connection.call('readEpoch', read, options.timeoutMs);
    return epoch === '' ? null : epoch;
  }

  now(): Promise<number> {
    return this.#connection.readNowMs();
  }

  async join({ journal, incarnation }: { journal: string; incarnation: number }): Promise<SyncReply> {
    checkJournal(journal);
    const { keys, runId } = this.#connection;
    const args = [journal, String(incarnation), runId, String(MEMBER_FORGOTTEN_MS)];
    const used = [keys.meta, keys.journals, keys.live, keys.pending(journal), keys.health];
    return toSyncReply(await this.#connection.runScript('joinSettlement', used, args));
  }

  async sync(message: SyncMessage, text?: MessageText): Promise<SyncReply> {
    checkJournal(message.journal);
    const packing = message.claim === null ? null : await packClaim(message, message.claim, text);
    for (;;) {
      const layout = this.#layout();
      const packed = packing === null ? null : await packing(layout.closedThrough);
      const { keys, args } = layOutSync(message, packed, layout);
      const reply = toList(await this.#connection.runScript('syncMessage', keys, args));
      if (reply[0] !== 'reopen') return toSyncReply(reply);
      await this.#readClosedThrough();
    }
  }

  /** Months are closed rarely: what was read last holds until a script says otherwise. */
  async #readClosedThrough(): Promise<void> {
    const { keys, options } = this.#connection;
    const read = (client: Redis | Cluster) => client.hget(keys.meta, 'closedThrough');
    this.#closedThrough = Number((await this.#connection.call('readClosed', read, options.timeoutMs)) ?? 0);
  }

  async readFreezeInput(): Promise<FreezeInput> {
    const { keys } = this.#connection;
    const args = [String(BOARD_WINDOWS_PER_READ)];
    const reply = toList(await this.#connection.runScript('readFreezeInput', keys.freezeInput, args));
    const [nowMs, metaFlat, journals, live, publications, boardFields, healthFlat, facts, boardThrough] = reply;
    const meta = toFields(metaFlat);
    const frontier = meta.get('frontier');
    return {
      frontier: frontier === undefined ? null : Number(frontier),
      k: Number(meta.get('k') ?? 0),
      hash: meta.get('freezeHash') ?? '',
      boardVersion: Number(meta.get('boardVersion') ?? 0),
      facts: {
        version: Number(meta.get('factsVersion') ?? 0),
        pools: facts === '' ? {} : (JSON.parse(String(facts)) as FactBook['pools']),
      },
      nowMs: Number(nowMs),
      ...(isHeld(meta) ? { isHeld: true } : {}),
      members: toMembers(meta, toFields(journals), toStrings(live)),
      board: toBoard(toStrings(boardFields), toStrings(publications)),
      boardThrough: boardThrough === '' ? null : Number(boardThrough),
      health: toHealth(toFields(healthFlat)),
    };
  }

  async commitFreeze(commit: FreezeCommit): Promise<'committed' | 'stale'> {
    for (const journal of Object.keys(commit.shares)) checkJournal(journal);
    const { keys, args } = layOutCommit(commit, this.#layout());
    return (await this.#connection.runScript('commitFreeze', keys, args)) === 1 ? 'committed' : 'stale';
  }

  async putFacts(pools: FactBook['pools'], expectedVersion: number): Promise<'stored' | 'stale'> {
    const { keys } = this.#connection;
    const args = [String(expectedVersion), JSON.stringify(pools)];
    return (await this.#connection.runScript('putFacts', [keys.meta, keys.facts], args)) === 1 ? 'stored' : 'stale';
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  #layout(): Parameters<typeof layOutSync>[2] {
    const { keys, runId, options } = this.#connection;
    return { keys, runId, retention: options.retention, closedThrough: this.#closedThrough };
  }
}

/** Members come back within seconds of a failover; one whose join was lost must not find its windows frozen. */
function isHeld(meta: ReadonlyMap<string, string>): boolean {
  const holdUntilMs = Number(meta.get('holdUntilMs') ?? 0) - EXCLUSION_HOLD_MS + FRONTIER_HOLD_MS;
  return Number(meta.get('aliveMs') ?? 0) < holdUntilMs;
}

function checkJournal(journal: string): void {
  if (!JOURNAL.test(journal))
    throw new RangeError('a journal id is 1 to 64 letters, digits, dots, dashes or underscores');
}

/** In the order of window, journal and pool, as fields spell them. */
function toBoard(fields: readonly string[], publications: readonly string[]): FreezeInput['board'] {
  return fields
    .map((field, i) => ({
      journal: field.split('|', 2)[1] ?? '',
      publication: JSON.parse(publications[i] ?? '') as Publication,
    }))
    .sort(
      (left, right) =>
        left.publication.window - right.publication.window ||
        compareText(left.journal, right.journal) ||
        compareText(left.publication.pool, right.publication.pool),
    );
}

function toHealth(fields: ReadonlyMap<string, string>): FreezeInput['health'] {
  return [...fields]
    .map(([field, healthy]) => {
      const [journal = '', window = '', ...pool] = field.split('|');
      return { journal, pool: pool.join('|'), window: Number(window), healthy: healthy === '1' };
    })
    .sort(
      (left, right) =>
        compareText(left.journal, right.journal) || compareText(left.pool, right.pool) || left.window - right.window,
    );
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
