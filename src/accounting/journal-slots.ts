// The journals of one host: each process has its own directory below `journal.dir`, and takes the first that nobody holds.
// Not here: what stands in one (journal.ts), what becomes of those whose process died (adopt-journals.ts).
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasIdentity } from './journal-identity.ts';
import { JournalLockedError } from './journal-lock.ts';

const SLOT_NAME = /^process-([1-9]\d{0,5})$/;

/** Journals of one host at most; far above any number of processes that could have died since the last start. */
const SLOTS_MAX = 1000;

/**
 * Directories below `root` that hold a journal, in the order in which a process takes them: `root` itself where an earlier version wrote
 * there, then `process-1`, `process-2` … Empty where `root` does not exist.
 */
export function listJournals(root: string): string[] {
  if (!existsSync(root)) return [];
  const slots = readdirSync(root)
    .map((name) => Number(SLOT_NAME.exec(name)?.[1] ?? 0))
    .filter((number) => number > 0)
    .sort((a, b) => a - b)
    .map((number) => slotPath(root, number));
  return [root, ...slots].filter(hasIdentity);
}

/**
 * Opens the first journal that no living process holds, else a new one; a journal whose process died is taken up where it stopped.
 * `open` throws JournalLockedError for a directory that another process holds; that, and any other error of the first free one, passes.
 */
export function openFreeJournal<T>(root: string, open: (dir: string) => T): T {
  for (const dir of listJournals(root)) {
    const opened = tryOpen(dir, open);
    if (opened !== null) return opened.journal;
  }
  for (let number = 1; number <= SLOTS_MAX; number += 1) {
    const dir = slotPath(root, number);
    if (hasIdentity(dir)) continue;
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const opened = tryOpen(dir, open);
    if (opened !== null) return opened.journal;
  }
  throw new JournalLockedError(
    `all ${SLOTS_MAX} journals below ${root} are in use: remove those of processes long gone`,
  );
}

function tryOpen<T>(dir: string, open: (dir: string) => T): { readonly journal: T } | null {
  try {
    return { journal: open(dir) };
  } catch (error) {
    if (error instanceof JournalLockedError) return null;
    throw error;
  }
}

function slotPath(root: string, number: number): string {
  return join(root, `process-${number}`);
}
