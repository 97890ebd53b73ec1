// Refills a Redis that lost its books: plain writes under the names the scripts use, the store's own row last. Not here: what is written (ledger).
import type { ChainableCommander } from 'ioredis';
import type { BookCell } from '#domain/books.ts';
import { writeMessage, writeRecords } from '#domain/message-text.ts';
import type {
  RestoredCell,
  RestoredClaim,
  RestoredFreezes,
  RestoredMember,
  RestoredState,
  StoreRestorer,
} from '#domain/restore-store.ts';
import { BOOK_METRICS, type SettledRecordJson } from '#domain/settlement.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { formatLink, packEntry } from '../claim-entries.ts';
import { packRecords, type RecordBatch } from '../record-batches.ts';
import { cellStart, formatDims } from '../rollup-cells.ts';
import { STORE_SCHEMA } from '../store-options.ts';
import { booksExpiry, cellsExpiry, digestsExpiry, recordsExpiry } from './expiries.ts';
import type { RedisConnection } from './redis-connection.ts';

/** Commands sent together: each of the server's turns stays short. */
const COMMANDS_AT_ONCE = 256;

type Write = (pipeline: ChainableCommander) => void;

/** One rebuild: dimension ids are given from 1 on, so an instance must write all of it. */
export class RedisRestorer implements StoreRestorer {
  readonly #connection: RedisConnection;
  readonly #dims = new Map<string, number>();

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async beginRestore(): Promise<boolean> {
    const { keys } = this.#connection;
    const { meta, dims, journals, live, board, boardIndex, health, chain } = keys;
    const used = [meta, dims, journals, live, board, boardIndex, health, chain];
    this.#dims.clear();
    return (await this.#connection.runScript('beginRestore', used, [String(STORE_SCHEMA)])) === 1;
  }

  restoreCells(cells: readonly RestoredCell[]): Promise<void> {
    const { keys, options } = this.#connection;
    return this.#write(
      cells.flatMap(({ granularity, start, values, ...dims }): Write[] => {
        const key = keys.cells(granularity, start);
        const id = this.#internDims(formatDims(dims));
        const fields = values.flatMap((value, metric) =>
          value === 0n && metric > 0 ? [] : [`${id}:${metric}`, String(value)],
        );
        const expiry = cellsExpiry(granularity, start, options.retention);
        return [(pipeline) => pipeline.hset(key, ...fields), this.#expire(key, expiry)];
      }),
    );
  }

  restoreBooks(books: readonly BookCell[]): Promise<void> {
    const { keys, options } = this.#connection;
    return this.#write(
      books.flatMap(({ hour, pool, deployments, gpu, metrics }): Write[] => {
        const amounts = BOOK_METRICS.flatMap((metric, i) =>
          metrics[metric] === 0n ? [] : [`${i}:${pool}`, String(metrics[metric])],
        );
        const fields = [`names:${pool}`, JSON.stringify([deployments, gpu]), ...amounts];
        const key = keys.books(hour);
        const expiry = booksExpiry(hour, options.retention);
        return [(pipeline) => pipeline.hset(key, ...fields), this.#expire(key, expiry)];
      }),
    );
  }

  restoreRecords(day: number, part: number, records: readonly SettledRecordJson[]): Promise<void> {
    return this.#write(this.#batchWrites(packRecords(writeRecords(records)).batches, `archive-${day}.${part}`));
  }

  restoreClaims(claims: readonly RestoredClaim[]): Promise<void> {
    return this.#write(claims.flatMap((claim) => this.#claimWrites(claim)));
  }

  #claimWrites({ message, previous, closedThrough }: RestoredClaim): Write[] {
    if (message.claim === null) return [];
    const { keys, options } = this.#connection;
    const { journal, seq, sealedThrough } = message;
    const { shell, records } = writeMessage(message);
    const packed = packRecords(records);
    const { day, body } = packEntry({ sealedThrough, shell }, packed, closedThrough);
    const value = Buffer.concat([Buffer.from(`${formatLink(previous)}\n`), body]);
    const key = keys.entries(day);
    return [
      ...this.#batchWrites(packed.batches, `${journal}.${seq}`),
      (pipeline) => pipeline.hset(key, `${journal}.${seq}`, value),
      this.#expire(key, recordsExpiry(day, options.retention)),
    ];
  }

  #batchWrites(batches: readonly RecordBatch[], source: string): Write[] {
    const { keys, options } = this.#connection;
    return batches.flatMap(({ firstEndedMs, lastEndedMs, body }, part): Write[] => {
      const day = cellStart('day', Math.floor(lastEndedMs / 1000));
      const name = `${firstEndedMs}|${source}.${part}`;
      const [index, bodies] = [keys.batchIndex(day), keys.batchBodies(day)];
      const expiry = recordsExpiry(day, options.retention);
      return [
        (pipeline) => pipeline.zadd(index, lastEndedMs, name),
        (pipeline) => pipeline.hset(bodies, name, body),
        this.#expire(index, expiry),
        this.#expire(bodies, expiry),
      ];
    });
  }

  restoreFreezes({ hour, firstK, previousHash, digests }: RestoredFreezes): Promise<void> {
    const { keys, options } = this.#connection;
    const key = keys.freezes(hour);
    const values = [Buffer.from(`${firstK}|${previousHash}`), ...digests.map((digest) => Buffer.from(digest, 'hex'))];
    return this.#write([
      (pipeline) => pipeline.del(key),
      (pipeline) => pipeline.rpush(key, ...values),
      this.#expire(key, digestsExpiry(hour, options.retention)),
    ]);
  }

  /** The row with the epoch comes last and at once: only then the store takes messages. */
  async finishRestore(state: RestoredState): Promise<void> {
    const { keys } = this.#connection;
    await this.#write([
      (pipeline) => pipeline.set(keys.facts, JSON.stringify(state.facts.pools)),
      ...[...this.#dims].map(
        ([spelled, id]): Write =>
          (pipeline) =>
            pipeline.hset(keys.dims, spelled, String(id)),
      ),
      ...state.chain.map(
        ({ k, hash }): Write =>
          (pipeline) =>
            pipeline.hset(keys.chain, String(k), hash),
      ),
      ...state.members.flatMap((member) => this.#memberWrites(member)),
      ...this.#voucherWrites(state),
      ...state.board.flatMap(({ journal, publication }): Write[] => {
        const field = `${publication.window}|${journal}|${publication.pool}`;
        return [
          (pipeline) => pipeline.hset(keys.board, field, JSON.stringify(publication)),
          (pipeline) => pipeline.zadd(keys.boardIndex, publication.window, field),
        ];
      }),
      ...state.health.map(
        ({ journal, window, pool, healthy }): Write =>
          (pipeline) =>
            pipeline.hset(keys.health, `${journal}|${window}|${pool}`, healthy ? '1' : '0'),
      ),
    ]);
    const { epoch, frontier, k, freezeHash, entriesFrom } = state;
    const row = {
      frontier: String(frontier),
      k: String(k),
      freezeHash,
      entriesFrom: String(entriesFrom),
      boardVersion: '1',
      factsVersion: String(state.facts.version),
      chainFrom: String(state.chain[0]?.k ?? k),
      dimsCount: String(this.#dims.size),
      isHealthTrimmed: '0',
      restoring: '0',
      closedThrough: String(state.closedThrough),
      voucherHash: state.vouchers.at(-1)?.hash ?? '',
      epoch,
    };
    await this.#write([(pipeline) => pipeline.hset(keys.meta, row)]);
  }

  #voucherWrites({ vouchers, lateClaims }: RestoredState): Write[] {
    const { keys, options } = this.#connection;
    return [
      (pipeline) => pipeline.del(keys.vouchers),
      ...vouchers.map(
        (voucher): Write =>
          (pipeline) =>
            pipeline.rpush(keys.vouchers, JSON.stringify(voucher)),
      ),
      ...lateClaims.flatMap((late): Write[] => {
        const month = cellStart('month', late.hour);
        const key = keys.lateClaims(month);
        const write: Write = (pipeline) => pipeline.hset(key, `${late.journal}.${late.seq}`, JSON.stringify(late));
        return [write, this.#expire(key, cellsExpiry('month', month, options.retention))];
      }),
    ];
  }

  #memberWrites(member: RestoredMember): Write[] {
    const { keys } = this.#connection;
    const { journal, state, incarnation, seq, hash, sealedThrough, claimed, blind, entry } = member;
    let sum = 0n;
    const shares = member.shares.map((share): Write => {
      sum += BigInt(share.totalNanoUsd);
      const value = `${sum}|${JSON.stringify(share)}`;
      return (pipeline) => pipeline.zadd(keys.pending(journal), share.k, value);
    });
    const fields = {
      state,
      incarnation: String(incarnation),
      seq: String(seq),
      hash,
      sealed: String(sealedThrough),
      seen: '0',
      claimed: String(claimed),
      blind: JSON.stringify(blind),
      sharesNanoUsd: String(sum),
      claimedNanoUsd: '0',
      entry: formatLink(entry),
    };
    const row = Object.entries(fields).flatMap(([name, value]) => [`${journal}|${name}`, value]);
    return [
      (pipeline) => pipeline.del(keys.pending(journal)),
      (pipeline) => pipeline.hset(keys.journals, ...row),
      ...(state === 'live' ? [(pipeline: ChainableCommander) => pipeline.sadd(keys.live, journal)] : []),
      ...shares,
      ...member.messages.map((sent): Write => {
        const applied = sent.claimApplied === null ? '' : sent.claimApplied ? '1' : '0';
        return (pipeline) => pipeline.hset(keys.hashes(journal), String(sent.seq), `${sent.hash}|${applied}|0`);
      }),
    ];
  }

  #internDims(spelled: string): number {
    const known = this.#dims.get(spelled);
    if (known !== undefined) return known;
    const id = this.#dims.size + 1;
    this.#dims.set(spelled, id);
    return id;
  }

  #expire(key: string, atSecond: number): Write {
    if (atSecond === 0) return (pipeline) => pipeline.persist(key);
    // Never in the past: what is restored must be seen before it goes.
    const soonest = Math.floor(Date.now() / 1000) + 86_400;
    return (pipeline) => pipeline.expireat(key, Math.max(atSecond, soonest));
  }

  async #write(writes: readonly Write[]): Promise<void> {
    const { readTimeoutMs } = this.#connection.options;
    for (let i = 0; i < writes.length; i += COMMANDS_AT_ONCE) {
      const part = writes.slice(i, i + COMMANDS_AT_ONCE);
      const send: Parameters<RedisConnection['call']>[1] = (client) => {
        const pipeline = client.pipeline();
        for (const write of part) write(pipeline);
        return pipeline.exec();
      };
      const results = (await this.#connection.call('restore', send, readTimeoutMs)) as [Error | null, unknown][] | null;
      for (const [err] of results ?? []) {
        if (err !== null) throw new StoreUnavailableError(`Redis refused a rebuild: ${err.message}`, { cause: err });
      }
    }
  }
}
