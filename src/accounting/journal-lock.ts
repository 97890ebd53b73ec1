// One process per journal directory: an open exclusive transaction on a small SQLite file, released by the kernel when the process dies.
// Node has no flock; that is all the file is for.
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
  const db = new DatabaseSync(join(dir, 'lock.db'));
  try {
    db.exec('PRAGMA busy_timeout = 0');
    db.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    db.close();
    const text = `the journal ${dir} is in use by another process: stop it, or give this one its own journal.dir`;
    throw new JournalLockedError(text, { cause: error });
  }
  return { release: () => db.close() };
}
