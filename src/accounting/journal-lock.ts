// One process per journal directory: an open exclusive transaction on a small SQLite file, released by the kernel when the process dies.
// Node has no flock; that is all the file is for.
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Another process writes this journal. */
export class JournalLockedError extends Error {
  override name = 'JournalLockedError';
}

/** A held lock. */
export interface JournalLock {
  release(): void;
}

/** SQLITE_BUSY, the low byte of all its kinds. */
const BUSY = 5;

/**
 * Takes the lock of a directory at once; throws JournalLockedError when another process (or another journal here) holds it, and an error that
 * names the directory where nobody could: a full disk would else look like a journal in use.
 */
export function lockJournal(dir: string): JournalLock {
  const path = join(dir, 'lock.db');
  const before = statSync(path, { throwIfNoEntry: false });
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    db.exec('PRAGMA busy_timeout = 0');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db?.close();
    if (isBusy(error)) throw createLocked(dir, error);
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the journal ${dir} cannot be locked: ${reason}`, { cause: error });
  }
  const after = statSync(path, { throwIfNoEntry: false });
  // A journal at rest may have been removed while we opened its file.
  if (after === undefined || (before !== undefined && before.ino !== after.ino)) {
    db.close();
    throw createLocked(dir, new Error('the directory is gone'));
  }
  return { release: () => db.close() };
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === BUSY;
}

function createLocked(dir: string, cause: unknown): JournalLockedError {
  const text = `the journal ${dir} is in use by another process: stop it, or give this one its own journal.dir`;
  return new JournalLockedError(text, { cause });
}
