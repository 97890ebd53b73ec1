// Which days stand in the archive, in SQLite; runs in the worker thread. Not here: writing the archive.
import type { Statements } from './statements.ts';

const DAY_MS = 86_400_000;
const BEGUN = 'begun';
const READ = 'SELECT day, hash FROM archived_days WHERE hash <> ?';
const BEGIN = 'INSERT OR REPLACE INTO archived_days (day, hash) VALUES (?, ?)';
const FINISH = 'UPDATE archived_days SET hash = ? WHERE day = ? AND hash = ?';
const IS_DONE = 'SELECT 1 AS found FROM archived_days WHERE day = ? AND hash <> ?';
const FORGET = 'DELETE FROM archived_days WHERE day = ?';
// Bounded, so that a claim never waits for a whole day to be deleted.
const DROP_BATCHES = `DELETE FROM record_batches WHERE id IN
  (SELECT id FROM record_batches WHERE last_ended_ms >= ? AND last_ended_ms < ? LIMIT 2000)`;
const DROP_ENTRIES = `DELETE FROM claim_entries WHERE (journal, seq) IN
  (SELECT journal, seq FROM claim_entries WHERE day = ? LIMIT 2000)`;

/** See ArchiveMarks for what each function promises. */
export function readExported(statements: Statements): Map<number, string> {
  return new Map(statements.all(READ, BEGUN).map(({ day, hash }) => [Number(day), String(hash)]));
}

export function beginExport(statements: Statements, day: number): void {
  statements.run(BEGIN, day, BEGUN);
}

export function finishExport(statements: Statements, day: number, ledgerHash: string): boolean {
  return statements.run(FINISH, ledgerHash, day, BEGUN) === 1;
}

export function dropDay(statements: Statements, day: number): boolean {
  return statements.transact(() => {
    if (statements.get(IS_DONE, day, BEGUN) === undefined) return true;
    const batches = statements.run(DROP_BATCHES, day * 1000, day * 1000 + DAY_MS);
    if (batches + statements.run(DROP_ENTRIES, day) > 0) return false;
    statements.run(FORGET, day);
    return true;
  });
}

/** The caller holds the transaction. */
export function takeOutOfArchive(statements: Statements, days: readonly number[]): void {
  for (const day of new Set(days)) statements.run(FORGET, day);
}
