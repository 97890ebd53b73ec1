// GET /api/requests: single records, those settled from the books and those of this gateway that still wait for their money.
import { isRealDate } from '#config/calendar.ts';
import type { BooksReader, RecordQuery } from '#domain/books.ts';
import type { Outcome, UsageRecord } from '#domain/usage-record.ts';
import { toSettledRecordJson, toUnsettledRecordJson } from '#reports/record-json.ts';
import { ReportParameterError } from '#reports/report-error.ts';
import type { RequestHandler } from 'express';
import { formatCursor, parseCursor, unknownCursor } from './request-cursor.ts';
import type { RequestCursor } from './request-cursor.ts';
import { readQuery } from './read-query.ts';

export interface RequestsRouteOptions {
  readonly books: BooksReader;
  /** Finished records of this gateway that are not settled yet, in any order. */
  readonly unsettled: () => readonly UsageRecord[] | Promise<readonly UsageRecord[]>;
}

const PARAMETERS = [
  'team',
  'project',
  'model',
  'deployment',
  'keyId',
  'user',
  'outcome',
  'requestId',
  'from',
  'to',
  'limit',
  'cursor',
] as const;

type Query = Partial<Record<(typeof PARAMETERS)[number], string>>;

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;

const OUTCOMES: readonly Outcome[] = [
  'completed',
  'client_aborted',
  'upstream_error',
  'timed_out',
  'rejected',
  'interrupted',
];

/**
 * `{"requests":[…],"next"}`: first what is not settled, then the books, each newest first; `next` is null on the last page. A record
 * that settles between two pages may stand on both, never on none.
 */
export function createRequestsRoute({ books, unsettled }: RequestsRouteOptions): RequestHandler {
  return async (req, res) => {
    const query = readQuery(req, PARAMETERS);
    const filter = parseFilter(query);
    const cursor = parseCursor(query.cursor);
    const waiting = readWaiting(await unsettled(), filter, cursor);
    const page = waiting.slice(0, filter.limit);
    const last = page.at(-1);
    if (waiting.length > filter.limit && last !== undefined) {
      const next = formatCursor({ kind: 'unsettled', endedAtMs: last.endedAtMs, recordId: last.recordId });
      res.json({ requests: page.map(toUnsettledRecordJson), next });
      return;
    }
    const settled = await readSettled(books, filter, { cursor, room: filter.limit - page.length });
    const known = new Set(settled.records.map(({ recordId }) => recordId));
    res.json({
      requests: [
        ...page.filter(({ recordId }) => !known.has(recordId)).map(toUnsettledRecordJson),
        ...settled.records.map(toSettledRecordJson),
      ],
      next: settled.next,
    });
  };
}

/** Matching records after the cursor; none once it has reached the books. */
function readWaiting(
  records: readonly UsageRecord[],
  filter: RecordQuery,
  cursor: RequestCursor | null,
): UsageRecord[] {
  if (cursor?.kind === 'settled') return [];
  const sorted = records.filter((record) => isMeant(record, filter)).sort(compareNewestFirst);
  return cursor === null ? sorted : sorted.filter((record) => compareNewestFirst(record, cursor) > 0);
}

async function readSettled(
  books: BooksReader,
  filter: RecordQuery,
  { cursor, room }: { cursor: RequestCursor | null; room: number },
): Promise<{ records: Awaited<ReturnType<BooksReader['readRecords']>>['records']; next: string | null }> {
  // A page full of waiting records: the books begin on the next one.
  if (room === 0) return { records: [], next: formatCursor({ kind: 'settled', store: '' }) };
  const store = cursor?.kind === 'settled' ? cursor.store : '';
  const page = await books
    .readRecords({ ...filter, limit: room, ...(store === '' ? {} : { cursor: store }) })
    .catch((error: unknown) => {
      // The store's own part of a cursor that was changed on its way.
      throw error instanceof RangeError ? unknownCursor() : error;
    });
  return {
    records: page.records,
    next: page.next === null ? null : formatCursor({ kind: 'settled', store: page.next }),
  };
}

function compareNewestFirst(
  a: Pick<UsageRecord, 'endedAtMs' | 'recordId'>,
  b: Pick<UsageRecord, 'endedAtMs' | 'recordId'>,
): number {
  if (a.endedAtMs !== b.endedAtMs) return b.endedAtMs - a.endedAtMs;
  if (a.recordId === b.recordId) return 0;
  return a.recordId < b.recordId ? 1 : -1;
}

function isMeant(record: UsageRecord, filter: RecordQuery): boolean {
  const fields = ['team', 'project', 'model', 'deployment', 'keyId', 'user', 'outcome'] as const;
  return (
    fields.every((field) => filter[field] === undefined || record[field] === filter[field]) &&
    (filter.requestId === undefined ||
      record.requestId === filter.requestId ||
      record.clientRequestId === filter.requestId) &&
    record.endedAtMs >= (filter.fromMs ?? Number.NEGATIVE_INFINITY) &&
    record.endedAtMs < (filter.toMs ?? Number.POSITIVE_INFINITY)
  );
}

function parseFilter({ outcome, from, to, limit, cursor: _cursor, ...names }: Query): RecordQuery {
  const fromMs = from === undefined ? undefined : parseInstant('from', from);
  const toMs = to === undefined ? undefined : parseInstant('to', to);
  if (fromMs !== undefined && toMs !== undefined && fromMs >= toMs)
    throw new ReportParameterError('to', 'must be later than from');
  return {
    ...names,
    ...(outcome === undefined ? {} : { outcome: parseOutcome(outcome) }),
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(toMs === undefined ? {} : { toMs }),
    limit: parseLimit(limit),
  };
}

function parseOutcome(text: string): Outcome {
  const outcome = OUTCOMES.find((candidate) => candidate === text);
  if (outcome === undefined) throw new ReportParameterError('outcome', `must be one of ${OUTCOMES.join(', ')}`);
  return outcome;
}

function parseLimit(text: string | undefined): number {
  if (text === undefined) return LIMIT_DEFAULT;
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > LIMIT_MAX) throw new ReportParameterError('limit', `must be 1 to ${LIMIT_MAX}`);
  return limit;
}

function parseInstant(parameter: string, text: string): number {
  const isInstant = /^\d{4}-\d{2}-\d{2}([Tt]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?([Zz]|[+-]\d{2}:\d{2}))?$/.test(text);
  const epochMs = isInstant && isRealDate(text.slice(0, 10)) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(epochMs)) {
    throw new ReportParameterError(
      parameter,
      'must be a date such as 2026-11-01 or an instant such as 2026-11-01T08:00:00Z',
    );
  }
  return epochMs;
}
