// The mark of a journal that is at rest: its process left the store and owed nothing. Not here: who looks at it (adopt-journals.ts).
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '#domain/log.ts';
import { syncDirectory } from './journal-identity.ts';
import { lockJournal } from './journal-lock.ts';

/** Marks a journal whose lock is held; `atMs` (epoch ms) is when it left. Without the mark it is only looked at again: an error is logged. */
export function markAtRest(dir: string, atMs: number, log: Log): void {
  try {
    writeFileSync(markPath(dir), JSON.stringify({ atMs }), { mode: 0o600 });
  } catch (error) {
    log.warn({ err: error, dir }, 'the journal could not be marked as settled; it is looked at again');
  }
}

/** When the journal came to rest, epoch ms; null for one that owes something, or may. */
export function readRest(dir: string): number | null {
  if (!existsSync(markPath(dir))) return null;
  try {
    const mark: unknown = JSON.parse(readFileSync(markPath(dir), 'utf8'));
    if (typeof mark !== 'object' || mark === null || !('atMs' in mark)) return null;
    return typeof mark.atMs === 'number' ? mark.atMs : null;
  } catch {
    // Torn by a power cut, or taken up by another process just now.
    return null;
  }
}

/** The journal is written again. Durably: a mark that came back after a power cut would have it deleted with what it owes. */
export function endRest(dir: string): void {
  if (!existsSync(markPath(dir))) return;
  rmSync(markPath(dir), { force: true });
  syncDirectory(dir);
}

/** Removes a journal at rest that nobody holds; false where somebody does, or has taken it up meanwhile. Throws the system's error. */
export function removeAtRest(dir: string): boolean {
  const lock = lockJournal(dir);
  try {
    if (readRest(dir) === null) return false;
    // Under another name first: a process that looks for a free journal never finds half of one.
    const gone = `${dir}.gone`;
    rmSync(gone, { recursive: true, force: true });
    renameSync(dir, gone);
    rmSync(gone, { recursive: true, force: true });
    return true;
  } finally {
    lock.release();
  }
}

function markPath(dir: string): string {
  return join(dir, 'at-rest.json');
}
