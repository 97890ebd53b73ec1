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

/** Takes the lock of a directory at once; throws JournalLockedError when another process (or another journal here) holds it. */
export function lockJournal(dir: string): JournalLock {
  const path = join(dir, 'lock.db');
  const before = statSync(path, { throwIfNoEntry: false });
  const db = new DatabaseSync(path);
  try {
    db.exec('PRAGMA busy_timeout = 0');
    db.exec('BEGIN EXCLUSIVE');
    const after = statSync(path, { throwIfNoEntry: false });
    // A journal at rest may have been removed while we opened its file.
    if (after === undefined || (before !== undefined && before.ino !== after.ino))
      throw new Error('the directory is gone');
  } catch (error) {
    db.close();
    const text = `the journal ${dir} is in use by another process: stop it, or give this one its own journal.dir`;
    throw new JournalLockedError(text, { cause: error });
  }
  return { release: () => db.close() };
}
