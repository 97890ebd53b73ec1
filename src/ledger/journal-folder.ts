// Reads the retained segments of a journal folder for a rebuild, while its gateway may be writing. Not here: what follows from them (journal-facts.ts).
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeEntry, type JournalEntry } from '#accounting/journal-entry.ts';
import { listSegments, segmentPath } from '#accounting/journal-segments.ts';

/** The folder cannot be used; the message says why and what to do. */
export class JournalFolderError extends Error {
  override name = 'JournalFolderError';
}

/** What a rebuild asks of a folder; a test may put lines in its place. */
export interface JournalSource {
  /** For messages. */
  readonly name: string;
  readonly bytes: number;
  /** Starts of the folder's gateway so far. */
  readonly incarnation: number;
  /** Every whole and undamaged line in the order it was written; `onBytes` after each segment. */
  read(onBytes: (bytes: number) => void): Generator<JournalEntry>;
}

/** Takes stock of the folder's segments; those written later are not read. Throws JournalFolderError. */
export function openJournalFolder(dir: string): JournalSource {
  const isFolder = existsSync(dir) && statSync(dir).isDirectory();
  const numbers = isFolder ? listSegments(dir) : [];
  if (numbers.length === 0) {
    const there = isFolder ? `holds no journal (${readdirSync(dir).length} files)` : 'is no folder';
    throw new JournalFolderError(`${dir} ${there}: --journal must name the journal.dir of a gateway`);
  }
  const sizes = numbers.map((number) => statSync(segmentPath(dir, number)).size);
  return {
    name: dir,
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    incarnation: readIncarnation(dir),
    *read(onBytes) {
      for (const [i, number] of numbers.entries()) {
        yield* readSegment(dir, number);
        onBytes(sizes[i] ?? 0);
      }
    },
  };
}

function* readSegment(dir: string, number: number): Generator<JournalEntry> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(segmentPath(dir, number));
  } catch (err) {
    throw new JournalFolderError(`segment ${number} of ${dir} cannot be read: run the rebuild again`, { cause: err });
  }
  for (let offset = 0; offset < bytes.length;) {
    const end = bytes.indexOf(0x0a, offset);
    // The last line may be half written: nobody was told of it.
    if (end === -1) return;
    const entry = decodeEntry(bytes.toString('utf8', offset, end));
    if (entry !== null) yield entry;
    offset = end + 1;
  }
}

function readIncarnation(dir: string): number {
  const path = join(dir, 'identity.json');
  const identity = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as { incarnation?: unknown }) : {};
  return Number.isSafeInteger(identity.incarnation) ? Number(identity.incarnation) : 1;
}
