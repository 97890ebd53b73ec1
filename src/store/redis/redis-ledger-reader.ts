// What `ledger verify` and `ledger export` read, from Redis. Read only; never blocks the server with KEYS or SCAN.
import type { Cluster, Redis } from 'ioredis';
import type { EntryName, FreezeHour, LedgerEntry, LedgerHeads, LedgerReader } from '#domain/ledger.ts';
import type { ShareEntry } from '#domain/settlement.ts';
import { parseLink, readEntryBody, restoreEntry } from '../claim-entries.ts';
import { SHARES_PER_REPLY } from '../store-options.ts';
import { toFields } from './read-replies.ts';
import { readState } from './read-state.ts';
import type { RedisConnection } from './redis-connection.ts';

const NEWLINE = 0x0a;

/** Reads the hashes and lists the scripts write; an entry never changes once it is there. */
export class RedisLedgerReader implements LedgerReader {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async readHeads(): Promise<LedgerHeads> {
    const [nowMs, metaFlat, journalsFlat] = await readState(this.#connection);
    const meta = toFields(metaFlat);
    const fields = [...toFields(journalsFlat)];
    const links = new Map(fields.filter(([field]) => field.endsWith('|entry')));
    const journals = fields.flatMap(([field]) => (field.endsWith('|state') ? [field.slice(0, -'|state'.length)] : []));
    const frontier = meta.get('frontier');
    return {
      epoch: meta.get('epoch') ?? '',
      nowMs: Number(nowMs),
      frontier: frontier === undefined ? null : Number(frontier),
      k: Number(meta.get('k') ?? 0),
      freezeHash: meta.get('freezeHash') ?? '',
      entriesFrom: Number(meta.get('entriesFrom') ?? 0),
      closedThrough: Number(meta.get('closedThrough') ?? 0),
      journals: Object.fromEntries(
        journals.toSorted().map((journal) => [journal, parseLink(links.get(`${journal}|entry`) ?? '')]),
      ),
    };
  }

  async listEntries(day: number): Promise<readonly EntryName[]> {
    const key = this.#connection.keys.entries(day);
    const fields = await this.#read((client) => client.hkeys(key));
    return fields
      .map((field) => {
        const cut = field.lastIndexOf('.');
        return { journal: field.slice(0, cut), seq: Number(field.slice(cut + 1)) };
      })
      .toSorted((left, right) =>
        left.journal === right.journal ? left.seq - right.seq : left.journal < right.journal ? -1 : 1,
      );
  }

  async readEntries(day: number, names: readonly EntryName[]): Promise<readonly (LedgerEntry | null)[]> {
    if (names.length === 0) return [];
    const { keys } = this.#connection;
    const fields = names.map(({ journal, seq }) => `${journal}.${seq}`);
    const values = await this.#read((client) => client.hmgetBuffer(keys.entries(day), ...fields));
    return Promise.all(names.map((name, i) => this.#readEntry(name, values[i] ?? null)));
  }

  async #readEntry({ journal, seq }: EntryName, value: Buffer | null): Promise<LedgerEntry | null> {
    const cut = value?.indexOf(NEWLINE) ?? -1;
    if (value === null || cut < 0) return null;
    let body: ReturnType<typeof readEntryBody>;
    try {
      body = readEntryBody(value.subarray(cut + 1));
    } catch {
      // Damaged: the reader is told that it cannot be read.
      return null;
    }
    const { keys } = this.#connection;
    const batches = body.batches.map(async ({ day, firstEndedMs }, part) => {
      const field = `${firstEndedMs}|${journal}.${seq}.${part}`;
      return (await this.#read((client) => client.hgetBuffer(keys.batchBodies(day), field))) ?? undefined;
    });
    return restoreEntry(body, parseLink(value.subarray(0, cut).toString()), await Promise.all(batches));
  }

  async readFreezeHour(hour: number): Promise<FreezeHour | null> {
    const key = this.#connection.keys.freezes(hour);
    const [head, ...digests] = await this.#read((client) => client.lrangeBuffer(key, 0, -1));
    const match = /^(\d+)\|(.*)$/.exec(head?.toString() ?? '');
    if (match === null) return null;
    return {
      hour,
      firstK: Number(match[1]),
      previousHash: match[2] ?? '',
      digests: digests.map((digest) => digest.toString('hex')),
    };
  }

  async readUnclaimed(journal: string, afterK: number): Promise<readonly ShareEntry[]> {
    const key = this.#connection.keys.pending(journal);
    const entries = await this.#read((client) =>
      client.zrangebyscore(key, `(${afterK}`, '+inf', 'LIMIT', 0, SHARES_PER_REPLY),
    );
    return entries.map((text) => JSON.parse(text.slice(text.indexOf('|') + 1)) as ShareEntry);
  }

  #read<T>(work: (client: Redis | Cluster) => Promise<T>): Promise<T> {
    return this.#connection.call('ledger', work, this.#connection.options.readTimeoutMs);
  }
}
