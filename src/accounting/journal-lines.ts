// Journal lines read again from their segments. Not here: writing them (journal.ts), what a line looks like (journal-entry.ts).
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Log } from '#domain/log.ts';
import { decodeEntry, type JournalEntry } from './journal-entry.ts';
import { segmentPath } from './journal-segments.ts';

/** Where one line stands. */
export interface LineLocation {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

interface JournalFolder {
  readonly dir: string;
  readonly log: Log;
}

/** Reads one line again; null when it is gone or damaged. */
export function readLine({ dir, log }: JournalFolder, location: LineLocation): JournalEntry | null {
  try {
    const fd = openSync(segmentPath(dir, location.segment), 'r');
    try {
      const line = Buffer.allocUnsafe(location.length);
      const length = readSync(fd, line, 0, location.length, location.offset);
      return length === location.length ? decodeEntry(line.toString('utf8', 0, length - 1)) : null;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    log.error({ err: error, segment: location.segment }, 'a journal line could not be read');
    return null;
  }
}

/** Every readable line of a segment in its order; damaged ones are logged and left out. Throws the system's error when it cannot be read. */
export function* readSegment(
  { dir, log }: JournalFolder,
  segment: number,
): Generator<{ readonly entry: JournalEntry; readonly location: LineLocation }> {
  const bytes = readFileSync(segmentPath(dir, segment));
  let offset = 0;
  let damaged = 0;
  while (offset < bytes.length) {
    const end = bytes.indexOf(0x0a, offset);
    const stop = end === -1 ? bytes.length : end;
    const entry = decodeEntry(bytes.toString('utf8', offset, stop));
    if (entry === null) damaged += 1;
    else yield { entry, location: { segment, offset, length: stop + 1 - offset } };
    offset = stop + 1;
  }
  if (damaged > 0) log.error({ segment, damaged }, 'damaged journal lines were left out');
}
