// Vouchers and late claims in SQLite; runs in the worker thread. Not here: what they mean (domain/voucher.ts).
import type { Period } from '#domain/books.ts';
import type { CloseEffect, LateClaim, Voucher } from '#domain/voucher.ts';
import { formatLink } from '../claim-entries.ts';
import { spreadIncrements } from '../rollup-cells.ts';
import { ADD_CLAIMED, ADD_TO_CELL } from './sql-columns.ts';
import { internDims } from './intern-dims.ts';
import type { Statements } from './statements.ts';

const READ_ALL = 'SELECT body FROM vouchers ORDER BY n';
const READ_LAST = 'SELECT n, hash FROM vouchers ORDER BY n DESC LIMIT 1';
const ADD = 'INSERT INTO vouchers (n, id, hash, body) VALUES (?, ?, ?, ?)';
const READ_CLOSED = 'SELECT epoch, closed_through FROM store WHERE id = 1';
const CLOSE = 'UPDATE store SET closed_through = ? WHERE id = 1';
const READ_LINKS = 'SELECT journal, entry FROM members';
const READ_BOOK = 'SELECT charged_nano_usd, claimed_nano_usd FROM books WHERE hour = ? AND pool = ?';
const READ_LATE = 'SELECT body FROM late_claims WHERE hour >= ? AND hour < ? ORDER BY hour, journal, seq';
const ADD_LATE = 'INSERT OR REPLACE INTO late_claims (journal, seq, hour, body) VALUES (?, ?, ?, ?)';

/** Epoch second before which everything is closed; 0 for nothing. */
export function readClosedThrough(statements: Statements): number {
  return Number(statements.get(READ_CLOSED)?.['closed_through']);
}

/** See VoucherStore. */
export function addVoucher(statements: Statements, voucher: Voucher, effect: CloseEffect | null): 'added' | 'stale' {
  return statements.transact(() => {
    const { n, previousHash, content } = voucher;
    const last = statements.get(READ_LAST);
    const follows = Number(last?.['n'] ?? 0) + 1 === n && String(last?.['hash'] ?? '') === previousHash;
    const openFrom = content.kind === 'close' ? content.from : content.hour;
    const isLost = statements.get(READ_CLOSED)?.['epoch'] === '';
    if (isLost || !follows || openFrom < readClosedThrough(statements)) return 'stale';
    if (content.kind === 'close') {
      const isStale = statements
        .all(READ_LINKS)
        .some(({ journal, entry }) => entry !== formatLink(content.heads[String(journal)] ?? null));
      if (isStale || !applyClose(statements, effect)) return 'stale';
      statements.run(CLOSE, content.to);
    }
    writeVoucher(statements, voucher);
    return 'added';
  });
}

/** Without any check. The caller holds the transaction. */
export function writeVoucher(statements: Statements, voucher: Voucher): void {
  statements.run(ADD, voucher.n, voucher.id, voucher.hash, JSON.stringify(voucher));
}

/** False where a book is not as it was read; the caller's transaction has changed nothing by then. */
function applyClose(statements: Statements, effect: CloseEffect | null): boolean {
  const books = effect?.books ?? [];
  const isSame = books.every(({ hour, pool, chargedNanoUsd, claimedNanoUsd }) => {
    const row = statements.allExact(READ_BOOK, hour, pool)[0];
    return row?.['charged_nano_usd'] === BigInt(chargedNanoUsd) && row['claimed_nano_usd'] === BigInt(claimedNanoUsd);
  });
  if (!isSame) return false;
  for (const { hour, pool, nanoUsd } of books) statements.run(ADD_CLAIMED, hour, pool, BigInt(nanoUsd));
  for (const { granularity, start, dims, values } of spreadIncrements(effect?.increments ?? [])) {
    statements.run(ADD_TO_CELL, granularity, start, internDims(statements, dims), ...values);
  }
  return true;
}

/** Ascending by number. */
export function readVouchers(statements: Statements): Voucher[] {
  return statements.all(READ_ALL).map(({ body }) => JSON.parse(String(body)) as Voucher);
}

/** Those that stand in an hour of the period. */
export function readLateClaims(statements: Statements, { from, to }: Period): LateClaim[] {
  return statements.all(READ_LATE, from, to).map(({ body }) => JSON.parse(String(body)) as LateClaim);
}

/** The caller holds the transaction. */
export function addLateClaim(statements: Statements, late: LateClaim): void {
  statements.run(ADD_LATE, late.journal, late.seq, late.hour, JSON.stringify(late));
}
