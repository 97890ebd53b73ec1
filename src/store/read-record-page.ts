// Pages of settled records, newest first, out of batches that overlap in time. The batches come from either store.
import type { RecordQuery } from '#domain/books.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { BATCH_SPAN_MS, unpackRecords } from './record-batches.ts';

export interface BatchHead {
  /** What `readBodies` takes; opaque here. */
  readonly id: string;
  readonly firstEndedMs: number;
  readonly lastEndedMs: number;
}

export interface BatchSource {
  /** Up to `limit` heads with `fromMs` ≤ lastEndedMs ≤ `toMs`, latest first (ties by id, descending), `skip` of them left out. */
  listBatches(range: { fromMs: number; toMs: number; skip: number; limit: number }): Promise<readonly BatchHead[]>;
  /** In the order of `ids`; a body that expired in between is undefined. */
  readBodies(ids: readonly string[]): Promise<readonly (Uint8Array | undefined)[]>;
}

interface Position {
  readonly endedAtMs: number;
  readonly recordId: string;
}

const HEADS_AT_ONCE = 64;
/** An attempt cannot outlast this (contract: requestTimeout), so a UUIDv7 of the gateway says within which time its record ended. */
const ATTEMPT_SPAN_MS = 2 * 3_600_000;

/** See BooksReader.readRecords. Throws a RangeError for a cursor or limit that no earlier answer gave. */
export async function readRecordPage(
  query: RecordQuery,
  source: BatchSource,
): Promise<{ records: readonly SettledRecordJson[]; next: string | null }> {
  if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > 1000) {
    throw new RangeError('limit must be an integer from 1 to 1000');
  }
  const after = query.cursor === undefined ? null : parseCursor(query.cursor);
  const range = readRange(query, after);
  const madeMs = query.requestId === undefined ? null : readUuidTime(query.requestId);
  if (madeMs === null) return collectPage({ query, after, range }, source);
  // A second of slack for the slewed clock of the gateway that made the id.
  const later = { ...range, fromMs: Math.max(range.fromMs, madeMs - 1000) };
  const soon = { ...later, toMs: Math.min(range.toMs, madeMs + ATTEMPT_SPAN_MS) };
  const page = await collectPage({ query, after, range: soon }, source);
  // An id that a caller made may be older than its request by any time: that of a job which waited.
  return page.records.length > 0 || soon.toMs === later.toMs
    ? page
    : collectPage({ query, after, range: later }, source);
}

interface Range {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Sought {
  readonly query: RecordQuery;
  /** Last record of the page before. */
  readonly after: Position | null;
  readonly range: Range;
}

async function collectPage(
  { query, after, range: { fromMs, toMs } }: Sought,
  source: BatchSource,
): Promise<{ records: readonly SettledRecordJson[]; next: string | null }> {
  const matches = (record: SettledRecordJson) =>
    record.endedAtMs >= fromMs &&
    record.endedAtMs < toMs &&
    (after === null || compare(record, after) > 0) &&
    matchesQuery(record, query);
  // Sorted newest first; only its head is final while batches that end later than it may follow.
  let found: SettledRecordJson[] = [];
  // Batches that arrive between two looks push the others down, so that some are listed twice.
  const seen = new Set<string>();
  for (let skip = 0; ; skip += HEADS_AT_ONCE) {
    const range = { fromMs, toMs: toMs - 1 + BATCH_SPAN_MS, skip, limit: HEADS_AT_ONCE };
    const heads = await source.listBatches(range);
    const wanted = heads.filter((head) => head.firstEndedMs < toMs && !seen.has(head.id));
    for (const head of wanted) seen.add(head.id);
    for (const body of await source.readBodies(wanted.map((head) => head.id))) {
      if (body !== undefined) found.push(...unpackRecords(body).filter(matches));
    }
    // One more than a page tells whether there is a next one.
    found = found.sort(compare).slice(0, query.limit + 1);
    const horizonMs = heads.at(-1)?.lastEndedMs ?? -Infinity;
    const extra = found[query.limit];
    const isFinal = heads.length < HEADS_AT_ONCE || (extra !== undefined && extra.endedAtMs > horizonMs);
    if (isFinal) break;
  }
  const records = found.slice(0, query.limit);
  const last = records.at(-1);
  return { records, next: found.length > query.limit && last !== undefined ? formatCursor(last) : null };
}

/** Negative when `left` comes first: later endings first, ties by record id, descending. */
function compare(left: Position, right: Position): number {
  if (left.endedAtMs !== right.endedAtMs) return right.endedAtMs - left.endedAtMs;
  if (left.recordId === right.recordId) return 0;
  return left.recordId > right.recordId ? -1 : 1;
}

function readRange(query: RecordQuery, after: Position | null): Range {
  const toMs = query.toMs ?? Number.MAX_SAFE_INTEGER - BATCH_SPAN_MS;
  return { fromMs: query.fromMs ?? 0, toMs: after === null ? toMs : Math.min(toMs, after.endedAtMs + 1) };
}

/** Milliseconds in the first 48 bits of a UUIDv7 (RFC 9562 §5.7); null for any other id. */
function readUuidTime(id: string): number | null {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.test(id)) return null;
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

const FILTERS = ['team', 'project', 'model', 'keyId', 'user', 'outcome'] as const;

function matchesQuery(record: SettledRecordJson, query: RecordQuery): boolean {
  const { requestId, deployment } = query;
  if (requestId !== undefined && record.requestId !== requestId && record.clientRequestId !== requestId) return false;
  if (deployment !== undefined && record.deployment !== deployment && !isChargedOn(record, deployment)) return false;
  return FILTERS.every((name) => query[name] === undefined || record[name] === query[name]);
}

function isChargedOn({ charges }: SettledRecordJson, deployment: string): boolean {
  return charges.some((charge) => charge.deployment === deployment);
}

function formatCursor({ endedAtMs, recordId }: Position): string {
  return Buffer.from(JSON.stringify([endedAtMs, recordId])).toString('base64url');
}

function parseCursor(cursor: string): Position {
  try {
    const [endedAtMs, recordId] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    if (typeof endedAtMs === 'number' && typeof recordId === 'string') return { endedAtMs, recordId };
  } catch {
    // Falls through: whatever is wrong with it, it is not one of ours.
  }
  throw new RangeError('unknown cursor');
}
