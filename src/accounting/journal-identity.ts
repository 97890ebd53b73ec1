// Who this journal is: a UUID made once per directory, and a counter of its starts. Not here: its lines (journal.ts).
import { randomUUID } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface JournalIdentity {
  /** UUID: the member's name in the store. */
  readonly journal: string;
  /** Starts so far, this one included; a store fences older ones. */
  readonly incarnation: number;
}

/** Reads the identity of a locked directory and counts this start, durably; a new directory gets a new UUID. Throws on a damaged file. */
export function readJournalIdentity(dir: string): JournalIdentity {
  const path = identityPath(dir);
  const before = existsSync(path) ? parseIdentity(path) : { journal: randomUUID() as string, incarnation: 0 };
  return writeIdentity(dir, { journal: before.journal, incarnation: before.incarnation + 1 });
}

/** True where a journal was once opened. */
export function hasIdentity(dir: string): boolean {
  return existsSync(identityPath(dir));
}

/** Gives the directory a new UUID at its first start, durably. */
export function renewJournalIdentity(dir: string): JournalIdentity {
  return writeIdentity(dir, { journal: randomUUID(), incarnation: 1 });
}

function writeIdentity(dir: string, identity: JournalIdentity): JournalIdentity {
  const path = identityPath(dir);
  const fd = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(fd, JSON.stringify(identity));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
  syncDirectory(dir);
  return identity;
}

function identityPath(dir: string): string {
  return join(dir, 'identity.json');
}

/** Makes renames, creations and deletions in a directory durable. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function parseIdentity(path: string): JournalIdentity {
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (typeof value === 'object' && value !== null && 'journal' in value && 'incarnation' in value) {
    const { journal, incarnation } = value;
    if (typeof journal === 'string' && Number.isSafeInteger(incarnation)) {
      return { journal, incarnation: Number(incarnation) };
    }
  }
  throw new Error(`${path} is not the identity of a journal`);
}
