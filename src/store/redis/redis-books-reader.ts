// What reports read, from Redis: cells, books, records, facts. Read only; never blocks the server with KEYS or SCAN.
import type {
  BookCell,
  BooksReader,
  BooksStatus,
  Granularity,
  Period,
  RecordQuery,
  RollupCell,
} from '#domain/books.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import { BOOK_METRICS, CELL_METRICS, type SettledRecordJson } from '#domain/settlement.ts';
import type { LateClaim, Voucher } from '#domain/voucher.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { LATE_EXPORT_DAYS, leavesAfterExport } from '../store-options.ts';
import { readRecordPage, type BatchHead } from '../read-record-page.ts';
import { cellStart, parseDims, toBookMetrics, toCellMetrics } from '../rollup-cells.ts';
import { toFields, toList, toMembers, toStrings } from './read-replies.ts';
import { readState } from './read-state.ts';
import type { RedisConnection } from './redis-connection.ts';

const DAY_SECONDS = 86_400;
/** Commands sent together: enough to hide the round trip, few enough to keep each of the server's turns short. */
const COMMANDS_AT_ONCE = 128;

/** `call` with a command in capitals answers as the server does: ioredis would make an object of every hash, which a large one pays dearly. */
type Command = readonly [name: string, ...args: (string | number)[]];

/** Reads straight from the hashes the scripts write; several commands of one report may see different moments. */
export class RedisBooksReader implements BooksReader {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async readStatus(): Promise<BooksStatus> {
    const [nowMs, metaFlat, journals, live] = await readState(this.#connection);
    const meta = toFields(metaFlat);
    const frontier = meta.get('frontier');
    const members = toFields(journals);
    return {
      epoch: meta.get('epoch') ?? '',
      schema: Number(meta.get('schema') ?? 0),
      nowMs: Number(nowMs),
      frontier: frontier === undefined ? null : Number(frontier),
      k: Number(meta.get('k') ?? 0),
      freezeHash: meta.get('freezeHash') ?? '',
      claimState: readClaimState(members),
      latePublications: sumLate(members),
      members: toMembers(meta, members, toStrings(live)),
    };
  }

  async readFacts(): Promise<FactBook> {
    const reply = await readState(this.#connection);
    const facts = String(reply[7]);
    return {
      version: Number(toFields(reply[1]).get('factsVersion') ?? 0),
      pools: facts === '' ? {} : (JSON.parse(facts) as FactBook['pools']),
    };
  }

  async readRollups(period: Period, granularity: Granularity): Promise<readonly RollupCell[]> {
    const { keys } = this.#connection;
    const starts = listStarts(period, granularity);
    const hashes = await this.#runAll(
      starts.map((start): Command => ['call', 'HGETALL', keys.cells(granularity, start)]),
    );
    // Read after the cells: an id that stands in a cell was interned before it.
    const [dimsFlat] = await this.#runAll([['call', 'HGETALL', keys.dims]]);
    const dimsOf = indexDims(toList(dimsFlat));
    return starts.flatMap((start, i) => toRollupCells(start, toList(hashes[i]), dimsOf));
  }

  async readBooks(period: Period): Promise<readonly BookCell[]> {
    const { keys } = this.#connection;
    const hours = listStarts(period, 'hour');
    const hashes = await this.#runAll(hours.map((hour): Command => ['call', 'HGETALL', keys.books(hour)]));
    const namesOf = rememberNames();
    return hours.flatMap((hour, i) => toBookCells(hour, toList(hashes[i]), namesOf));
  }

  async readVouchers(): Promise<readonly Voucher[]> {
    const [list] = await this.#runAll([['lrange', this.#connection.keys.vouchers, 0, -1]]);
    return toStrings(list).map((text) => JSON.parse(text) as Voucher);
  }

  async readLateClaims({ from, to }: Period): Promise<readonly LateClaim[]> {
    const { keys } = this.#connection;
    const months = listStarts({ from: cellStart('month', from), to }, 'month');
    const hashes = await this.#runAll(months.map((month): Command => ['hvals', keys.lateClaims(month)]));
    const claims = hashes.flatMap((values) => toStrings(values).map((text) => JSON.parse(text) as LateClaim));
    return claims.filter(({ hour }) => hour >= from && hour < to);
  }

  readRecords(query: RecordQuery): Promise<{ records: readonly SettledRecordJson[]; next: string | null }> {
    return readRecordPage(query, {
      listBatches: (range) => this.#listBatches(range),
      readBodies: (ids) => this.#readBodies(ids),
    });
  }

  async #listBatches(range: { fromMs: number; toMs: number; skip: number; limit: number }): Promise<BatchHead[]> {
    const { keys, options } = this.#connection;
    const nowMs = await this.#connection.readNowMs();
    // Two days of slack for clocks that disagree; no record is older than its retention.
    const latest = cellStart('day', Math.min(range.toMs, nowMs + 2 * DAY_SECONDS * 1000) / 1000);
    // Days that could not be exported in time are still there.
    const slackDays = leavesAfterExport(options.retention) ? LATE_EXPORT_DAYS : 2;
    const oldest = Math.max(
      range.fromMs / 1000,
      (nowMs - options.retention.recordsMs) / 1000 - slackDays * DAY_SECONDS,
    );
    const days = listStarts({ from: cellStart('day', oldest), to: latest + 1 }, 'day').toReversed();
    const between = [range.fromMs, range.toMs].map(String) as [string, string];
    const counts = await this.#runAll(days.map((day): Command => ['zcount', keys.batchIndex(day), ...between]));
    const heads: BatchHead[] = [];
    let skip = range.skip;
    for (const [i, day] of days.entries()) {
      const count = Number(counts[i]);
      const limit = range.limit - heads.length;
      if (limit > 0 && count > skip) {
        const [from, to] = between;
        const list: Command = ['zrevrangebyscore', keys.batchIndex(day), to, from, 'WITHSCORES', 'LIMIT', skip, limit];
        heads.push(...toHeads(day, toStrings((await this.#runAll([list]))[0])));
      }
      skip = Math.max(0, skip - count);
    }
    return heads;
  }

  async #readBodies(ids: readonly string[]): Promise<(Buffer | undefined)[]> {
    const { keys, options } = this.#connection;
    const read = async (id: string) => {
      const cut = id.indexOf('/');
      const key = keys.batchBodies(Number(id.slice(0, cut)));
      return this.#connection.call(
        'readRecords',
        (client) => client.hgetBuffer(key, id.slice(cut + 1)),
        options.readTimeoutMs,
      );
    };
    return (await Promise.all(ids.map(read))).map((body) => body ?? undefined);
  }

  /** Replies in the order of the commands; a failed one fails all. */
  async #runAll(commands: readonly Command[]): Promise<unknown[]> {
    const { readTimeoutMs } = this.#connection.options;
    const replies: unknown[] = [];
    for (let i = 0; i < commands.length; i += COMMANDS_AT_ONCE) {
      const part = commands.slice(i, i + COMMANDS_AT_ONCE).map((command) => [...command]);
      const results = await this.#connection.call('report', (client) => client.pipeline(part).exec(), readTimeoutMs);
      for (const [err, reply] of results ?? []) {
        if (err !== null) throw new StoreUnavailableError(`Redis refused a report: ${err.message}`, { cause: err });
        replies.push(reply);
      }
    }
    return replies;
  }
}

/** Starts of the cells of a granularity within a period, ascending. */
function listStarts({ from, to }: Period, granularity: Granularity): number[] {
  const starts: number[] = [];
  for (let start = cellStart(granularity, from); start < to; start = nextStart(start, granularity)) {
    if (start >= from) starts.push(start);
  }
  return starts;
}

function nextStart(start: number, granularity: Granularity): number {
  if (granularity === 'hour') return start + 3600;
  if (granularity === 'day') return start + DAY_SECONDS;
  return cellStart('month', start + 32 * DAY_SECONDS);
}

/** Dimensions by id; each is parsed once, and only if a cell has it. */
function indexDims(flat: readonly unknown[]): (id: string) => ReturnType<typeof parseDims> {
  const spelled = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) spelled.set(String(flat[i + 1]), String(flat[i]));
  const parsed = new Map<string, ReturnType<typeof parseDims>>();
  return (id) => {
    const known = parsed.get(id);
    if (known !== undefined) return known;
    const text = spelled.get(id);
    if (text === undefined) throw new StoreUnavailableError('the store holds a cell without its dimensions');
    const dims = parseDims(text);
    parsed.set(id, dims);
    return dims;
  };
}

/** The freeze through which each journal has claimed. */
function readClaimState(journals: ReadonlyMap<string, string>): string {
  return [...journals]
    .filter(([field]) => field.endsWith('|claimed'))
    .flat()
    .join(' ');
}

function sumLate(journals: ReadonlyMap<string, string>): number {
  let sum = 0;
  for (const [field, count] of journals) if (field.endsWith('|late')) sum += Number(count);
  return sum;
}

/** Fields and values in turn, as HGETALL returns them. */
function toRollupCells(
  start: number,
  flat: readonly unknown[],
  dimsOf: (id: string) => ReturnType<typeof parseDims>,
): RollupCell[] {
  const rows = new Map<number, bigint[]>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const field = String(flat[i]);
    const colon = field.indexOf(':');
    const id = readDigits(field, 0, colon);
    let values = rows.get(id);
    if (values === undefined) rows.set(id, (values = NO_CELL_VALUES.slice()));
    values[readDigits(field, colon + 1, field.length)] = BigInt(String(flat[i + 1]));
  }
  const cells: RollupCell[] = [];
  for (const [id, values] of rows) cells.push({ start, ...dimsOf(String(id)), metrics: toCellMetrics(values) });
  return cells;
}

const NO_CELL_VALUES: readonly bigint[] = CELL_METRICS.map(() => 0n);
const ZERO = 0x30;

/** The decimal number between two places of a text, without a text of its own: a month has hundreds of thousands of fields. */
function readDigits(text: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at += 1) value = value * 10 + text.charCodeAt(at) - ZERO;
  return value;
}

interface PoolFields {
  names: string;
  readonly values: bigint[];
}

const NO_BOOK_VALUES: readonly bigint[] = BOOK_METRICS.map(() => 0n);
const NAMES = 'names:';

function toBookCells(hour: number, flat: readonly unknown[], namesOf: (text: string) => PoolNames): BookCell[] {
  const pools = new Map<string, PoolFields>();
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const field = String(flat[i]);
    const colon = field.indexOf(':');
    const pool = field.slice(colon + 1);
    let found = pools.get(pool);
    if (found === undefined) pools.set(pool, (found = { names: '["",""]', values: NO_BOOK_VALUES.slice() }));
    if (field.startsWith(NAMES)) found.names = String(flat[i + 1]);
    else found.values[readDigits(field, 0, colon)] = BigInt(String(flat[i + 1]));
  }
  const cells: BookCell[] = [];
  for (const [pool, { names, values }] of pools) {
    const [deployments, gpu] = namesOf(names);
    cells.push({ hour, pool, deployments, gpu, metrics: toBookMetrics(values) });
  }
  return cells;
}

type PoolNames = readonly [deployments: string, gpu: string];

/** Hours repeat the names of their pools: each spelling is parsed once. */
function rememberNames(): (text: string) => PoolNames {
  const parsed = new Map<string, PoolNames>();
  return (text) => {
    const known = parsed.get(text);
    if (known !== undefined) return known;
    const names = JSON.parse(text) as PoolNames;
    parsed.set(text, names);
    return names;
  };
}

/** Names and scores in turn, as WITHSCORES returns them. */
function toHeads(day: number, flat: readonly string[]): BatchHead[] {
  const heads: BatchHead[] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) {
    const name = flat[i] ?? '';
    heads.push({
      id: `${day}/${name}`,
      firstEndedMs: Number(name.slice(0, name.indexOf('|'))),
      lastEndedMs: Number(flat[i + 1]),
    });
  }
  return heads;
}
