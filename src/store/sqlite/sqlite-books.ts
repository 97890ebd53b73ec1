// What reports read, from SQLite. Read only; runs in the worker thread.
import type { BooksStatus, Granularity, Period, RecordQuery } from '#domain/books.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { readRecordPage, type BatchSource } from '../read-record-page.ts';
import { STORE_SCHEMA } from '../store-options.ts';
import { type PackedRows, packRows } from './packed-rows.ts';
import { READ_BOOKS, READ_CELLS } from './sql-columns.ts';
import { readLiveMembers, readStore } from './sqlite-members.ts';
import type { Statements } from './statements.ts';

const LIST_BATCHES = `SELECT id, first_ended_ms, last_ended_ms FROM record_batches WHERE last_ended_ms BETWEEN ? AND ?
  ORDER BY last_ended_ms DESC, id DESC LIMIT ? OFFSET ?`;
const READ_CLAIMED = 'SELECT journal, claimed FROM members ORDER BY journal';
const SUM_LATE = 'SELECT COALESCE(SUM(late_publications), 0) AS late FROM members';
const READ_BODY = 'SELECT body FROM record_batches WHERE id = ?';

/** See BooksReader for what each function promises. */
export function readStatus(statements: Statements, nowMs: number): BooksStatus {
  return statements.snapshot(() => {
    const store = readStore(statements, nowMs);
    const { epoch, frontier, k, freezeHash } = store;
    const claimState = statements
      .all(READ_CLAIMED)
      .map((row) => `${String(row['journal'])} ${String(row['claimed'])}`)
      .join(' ');
    const members = readLiveMembers(statements, store);
    const latePublications = Number(statements.get(SUM_LATE)?.['late'] ?? 0);
    return { epoch, schema: STORE_SCHEMA, nowMs, frontier, k, freezeHash, claimState, latePublications, members };
  });
}

/** Rows of `toRollupCells` (unpack-cells.ts). */
export function readRollups(statements: Statements, period: Period, granularity: Granularity): PackedRows {
  return packRows(statements.iterateExact(READ_CELLS, granularity, period.from, period.to), 1);
}

/** Rows of `toBookCells` (unpack-cells.ts). */
export function readBooks(statements: Statements, period: Period): PackedRows {
  return packRows(statements.iterateExact(READ_BOOKS, period.from, period.to), 3);
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
