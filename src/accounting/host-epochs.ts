// Which books the journals of a host belong to: a process with a new journal must not begin others beside them. Not here: joining (join-store.ts).
import { closeSync, openSync, readSync } from 'node:fs';
import { decodeEntry, type JournalEntry } from './journal-entry.ts';
import { listSegments, segmentPath } from './journal-segments.ts';
import { listJournals } from './journal-slots.ts';

/** Every segment opens with what its journal belongs to; only the first may say so a little later. */
const BEGIN_BYTES_MAX = 1024 * 1024;

/** Epochs that the journals below `journal.dir` name; empty on a host that never joined a store. Throws the system's error. */
export function readHostEpochs(root: string): ReadonlySet<string> {
  const epochs = listJournals(root).map(readEpoch);
  return new Set(epochs.filter((epoch) => epoch !== null));
}

/** By the newest segment that says so; null where none does, or the journal was at rest and has just been removed. */
function readEpoch(dir: string): string | null {
  try {
    for (const segment of listSegments(dir).toReversed()) {
      const epoch = findEpoch(segmentPath(dir, segment));
      if (epoch !== null) return epoch;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return null;
}

function findEpoch(path: string): string | null {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(BEGIN_BYTES_MAX);
    const lines = bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0)).split('\n');
    for (const line of lines) {
      const epoch = epochOf(decodeEntry(line));
      if (epoch !== null) return epoch;
    }
    return null;
  } finally {
    closeSync(fd);
  }
}

function epochOf(entry: JournalEntry | null): string | null {
  if (entry?.t === 'head') return entry.head.epoch;
  return entry?.t === 'message' ? entry.message.epoch : null;
}
