// What reports read, from SQLite. Read only; runs in the worker thread.
import type { BookCell, BooksStatus, Granularity, Period, RecordQuery, RollupCell } from '#domain/books.ts';
import { BOOK_METRICS, CELL_METRICS, type BookMetric, type SettledRecordJson } from '#domain/settlement.ts';
import { readRecordPage, type BatchSource } from '../read-record-page.ts';
import { parseDims, toCellMetrics } from '../rollup-cells.ts';
import { STORE_SCHEMA } from '../store-options.ts';
import { READ_BOOKS, READ_CELLS, toColumn } from './sql-columns.ts';
import { readLiveMembers, readStore } from './sqlite-members.ts';
import type { Row, Statements } from './statements.ts';

const LIST_BATCHES = `SELECT id, first_ended_ms, last_ended_ms FROM record_batches WHERE last_ended_ms BETWEEN ? AND ?
  ORDER BY last_ended_ms DESC, id DESC LIMIT ? OFFSET ?`;
const READ_BODY = 'SELECT body FROM record_batches WHERE id = ?';

const CELL_NAMES = CELL_METRICS.map(toColumn);

/** See BooksReader for what each function promises. */
export function readStatus(statements: Statements, nowMs: number): BooksStatus {
  return statements.snapshot(() => {
    const store = readStore(statements, nowMs);
    const { epoch, frontier, k, freezeHash } = store;
    return { epoch, schema: STORE_SCHEMA, nowMs, frontier, k, freezeHash, members: readLiveMembers(statements, store) };
  });
}

export function readRollups(statements: Statements, period: Period, granularity: Granularity): RollupCell[] {
  return statements.allExact(READ_CELLS, granularity, period.from, period.to).map((row) => ({
    start: Number(row['start']),
    ...parseDims(String(row['dims'])),
    metrics: toCellMetrics(CELL_NAMES.map((name) => toBigInt(row, name))),
  }));
}

export function readBooks(statements: Statements, period: Period): BookCell[] {
  return statements.allExact(READ_BOOKS, period.from, period.to).map((row) => ({
    hour: Number(row['hour']),
    pool: String(row['pool']),
    deployments: String(row['deployments']),
    gpu: String(row['gpu']),
    metrics: Object.fromEntries(
      BOOK_METRICS.map((metric) => [metric, toBigInt(row, toColumn(metric))] as const),
    ) as Record<BookMetric, bigint>,
  }));
}

function toBigInt(row: Row, name: string): bigint {
  const value = row[name];
  return typeof value === 'bigint' ? value : 0n;
}

export function readRecords(
  statements: Statements,
  query: RecordQuery,
): Promise<{ records: readonly SettledRecordJson[]; next: string | null }> {
  const source: BatchSource = {
    listBatches: async ({ fromMs, toMs, skip, limit }) =>
      statements.all(LIST_BATCHES, fromMs, toMs, limit, skip).map((row) => ({
        id: String(row['id']),
        firstEndedMs: Number(row['first_ended_ms']),
        lastEndedMs: Number(row['last_ended_ms']),
      })),
    readBodies: async (ids) =>
      ids.map((id) => {
        const body = statements.get(READ_BODY, Number(id))?.['body'];
        return body instanceof Uint8Array ? body : undefined;
      }),
  };
  return readRecordPage(query, source);
}
