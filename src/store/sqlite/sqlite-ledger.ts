// A claim's effects in SQLite: books, rollups, records, charge lines; and their expiry. The caller holds the transaction.
import { BOOK_METRICS, type BookIncrement, type Claim } from '#domain/settlement.ts';
import { packLines, packRecords } from '../record-batches.ts';
import { cellStart, spreadIncrements } from '../rollup-cells.ts';
import { HOUR_CELLS_KEPT_MS, type StoreRetention } from '../store-options.ts';
import { ADD_CLAIMED, ADD_TO_BOOKS, ADD_TO_CELL } from './sql-columns.ts';
import type { Statements } from './statements.ts';

const ADD_DIMS = 'INSERT OR IGNORE INTO dims (dims) VALUES (?)';
const READ_DIMS_ID = 'SELECT id FROM dims WHERE dims = ?';
const ADD_BATCH = 'INSERT INTO record_batches (first_ended_ms, last_ended_ms, body) VALUES (?, ?, ?)';
const ADD_LINES = 'INSERT INTO claim_lines (journal, seq, day, body) VALUES (?, ?, ?, ?)';
const EXPIRE_CELLS = 'DELETE FROM rollups WHERE granularity = ? AND start < ?';
const EXPIRE_BOOKS = 'DELETE FROM books WHERE hour < ?';
// Bounded: a store that was closed for weeks must not block a freeze while it forgets them.
const EXPIRE_BATCHES = `DELETE FROM record_batches WHERE id IN
  (SELECT id FROM record_batches WHERE last_ended_ms < ? ORDER BY last_ended_ms LIMIT 5000)`;
const EXPIRE_LINES = `DELETE FROM claim_lines WHERE (journal, seq) IN
  (SELECT journal, seq FROM claim_lines WHERE day < ? ORDER BY day LIMIT 5000)`;

/** Moves the claim's amounts and keeps its records and lines. Neither checked nor repeatable here. */
export function applyClaim(statements: Statements, claim: Claim, author: { journal: string; seq: number }): void {
  for (const part of claim.pools) statements.run(ADD_CLAIMED, part.hour, part.pool, BigInt(part.nanoUsd));
  const ids = new Map<string, number>();
  for (const sum of spreadIncrements(claim.increments)) {
    const id = ids.get(sum.dims) ?? internDims(statements, sum.dims);
    ids.set(sum.dims, id);
    statements.run(ADD_TO_CELL, sum.granularity, sum.start, id, ...sum.values);
  }
  for (const batch of packRecords(claim.records)) {
    statements.run(ADD_BATCH, batch.firstEndedMs, batch.lastEndedMs, batch.body);
  }
  const first = claim.lines[0];
  if (first === undefined) return;
  statements.run(ADD_LINES, author.journal, author.seq, cellStart('day', first.hour), packLines(claim));
}

function internDims(statements: Statements, dims: string): number {
  statements.run(ADD_DIMS, dims);
  return Number(statements.get(READ_DIMS_ID, dims)?.['id']);
}

/** Adds one freeze's increments to the capacity books. */
export function addToBooks(statements: Statements, books: readonly BookIncrement[]): void {
  for (const book of books) {
    const values = BOOK_METRICS.map((metric) => BigInt(book.metrics[metric] ?? '0'));
    statements.run(ADD_TO_BOOKS, book.hour, book.pool, book.deployments, book.gpu, ...values);
  }
}

/** Deletes what its retention no longer covers. Cheap when there is nothing; called once per hour crossed by the frontier. */
export function expireRows(statements: Statements, retention: StoreRetention, nowMs: number): void {
  const rollupsFrom = Math.floor((nowMs - retention.rollupsMs) / 1000);
  const recordsFromMs = nowMs - retention.recordsMs;
  statements.run(EXPIRE_CELLS, 'hour', Math.floor((nowMs - HOUR_CELLS_KEPT_MS) / 1000));
  // A cell goes when all of it is older than the retention.
  statements.run(EXPIRE_CELLS, 'day', rollupsFrom - 86_400);
  statements.run(EXPIRE_CELLS, 'month', rollupsFrom - 31 * 86_400);
  statements.run(EXPIRE_BOOKS, rollupsFrom - 31 * 86_400);
  statements.run(EXPIRE_BATCHES, recordsFromMs);
  statements.run(EXPIRE_LINES, Math.floor(recordsFromMs / 1000) - 86_400);
}
