// A claim's effects in SQLite: books, rollups, records, charge lines; and their expiry. The caller holds the transaction.
import type { EntryLink } from '#domain/ledger.ts';
import type { MessageText } from '#domain/message-text.ts';
import { BOOK_METRICS, type BookIncrement, type Claim, type SyncMessage } from '#domain/settlement.ts';
import { relabelClaim } from '#domain/relabel-claim.ts';
import { formatLink, leavesEntry, packEntry } from '../claim-entries.ts';
import { packRecords } from '../record-batches.ts';
import { cellStart, spreadIncrements } from '../rollup-cells.ts';
import {
  FREEZE_DIGESTS_KEPT_MS,
  HOUR_CELLS_KEPT_MS,
  leavesAfterExport,
  type StoreRetention,
} from '../store-options.ts';
import { internDims } from './intern-dims.ts';
import { ADD_CLAIMED, ADD_TO_BOOKS, ADD_TO_CELL } from './sql-columns.ts';
import { takeOutOfArchive } from './sqlite-archive-marks.ts';
import { addLateClaim, readClosedThrough } from './sqlite-vouchers.ts';
import type { Statements } from './statements.ts';

export const ADD_BATCH = `INSERT INTO record_batches (first_ended_ms, last_ended_ms, journal, seq, part, body)
  VALUES (?, ?, ?, ?, ?, ?)`;
export const ADD_ENTRY = 'INSERT INTO claim_entries (journal, seq, day, previous, body) VALUES (?, ?, ?, ?, ?)';
const EXPIRE_CELLS = 'DELETE FROM rollups WHERE granularity = ? AND start < ?';
/** Hours of the first and last UTC day of a month stay as long as days do (isMonthEdge): months of other time zones end within them. */
export const EXPIRE_HOURS = `DELETE FROM rollups WHERE granularity = 'hour' AND start < ? AND (start < ? OR
  (strftime('%m', start - 86400, 'unixepoch') = strftime('%m', start, 'unixepoch')
   AND strftime('%m', start + 86400, 'unixepoch') = strftime('%m', start, 'unixepoch')))`;
const EXPIRE_BOOKS = 'DELETE FROM books WHERE hour < ?';
// Bounded: a store that was closed for weeks must not block a freeze while it forgets them.
const EXPIRE_BATCHES = `DELETE FROM record_batches WHERE id IN
  (SELECT id FROM record_batches WHERE last_ended_ms < ? ORDER BY last_ended_ms LIMIT 5000)`;
const EXPIRE_ENTRIES = `DELETE FROM claim_entries WHERE (journal, seq) IN
  (SELECT journal, seq FROM claim_entries WHERE day < ? ORDER BY day LIMIT 5000)`;
const EXPIRE_DIGESTS = 'DELETE FROM freeze_digests WHERE hour < ?';
const EXPIRE_FREEZE_HOURS = 'DELETE FROM freeze_hours WHERE hour < ?';

/** Moves the claim's amounts, keeps its records and the claim itself; returns the journal's last entry. Neither checked nor repeatable here. */
export function applyClaim(
  statements: Statements,
  {
    message,
    claim,
    text,
    previous,
  }: { message: SyncMessage; claim: Claim; text: MessageText; previous: EntryLink | null },
): EntryLink | null {
  const closedThrough = readClosedThrough(statements);
  const { pools, increments, late } = relabelClaim(message, claim, closedThrough);
  for (const part of pools) statements.run(ADD_CLAIMED, part.hour, part.pool, BigInt(part.nanoUsd));
  const ids = new Map<string, number>();
  for (const sum of spreadIncrements(increments)) {
    const id = ids.get(sum.dims) ?? internDims(statements, sum.dims);
    ids.set(sum.dims, id);
    statements.run(ADD_TO_CELL, sum.granularity, sum.start, id, ...sum.values);
  }
  if (late !== null) addLateClaim(statements, late);
  const { journal, seq, hash, sealedThrough } = message;
  const packed = packRecords(text.records);
  for (const [part, batch] of packed.batches.entries()) {
    statements.run(ADD_BATCH, batch.firstEndedMs, batch.lastEndedMs, journal, seq, part, batch.body);
  }
  const recordDays = packed.batches.map(({ lastEndedMs }) => cellStart('day', Math.floor(lastEndedMs / 1000)));
  takeOutOfArchive(statements, recordDays);
  if (!leavesEntry(claim, packed)) return previous;
  const { day, body } = packEntry({ sealedThrough, shell: text.shell }, packed, closedThrough);
  takeOutOfArchive(statements, [day]);
  statements.run(ADD_ENTRY, journal, seq, day, formatLink(previous), body);
  return { day, seq, hash };
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
  // Records and entries leave by whole UTC days.
  const recordsFrom = cellStart('day', Math.floor((nowMs - retention.recordsMs) / 1000));
  const digestsFrom = Math.floor((nowMs - Math.min(FREEZE_DIGESTS_KEPT_MS, retention.recordsMs)) / 1000) - 3600;
  statements.run(EXPIRE_HOURS, Math.floor((nowMs - HOUR_CELLS_KEPT_MS) / 1000), rollupsFrom - 86_400);
  // A cell goes when all of it is older than the retention.
  statements.run(EXPIRE_CELLS, 'day', rollupsFrom - 86_400);
  statements.run(EXPIRE_CELLS, 'month', rollupsFrom - 31 * 86_400);
  statements.run(EXPIRE_BOOKS, rollupsFrom - 31 * 86_400);
  if (!leavesAfterExport(retention)) {
    statements.run(EXPIRE_BATCHES, recordsFrom * 1000);
    statements.run(EXPIRE_ENTRIES, recordsFrom);
  }
  statements.run(EXPIRE_DIGESTS, digestsFrom);
  statements.run(EXPIRE_FREEZE_HOURS, digestsFrom);
}
