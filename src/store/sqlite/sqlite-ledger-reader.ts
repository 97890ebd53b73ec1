// What `ledger verify` and `ledger export` read, from SQLite. Read only; runs in the worker thread.
import type { EntryName, FreezeHour, LedgerEntry, LedgerHeads } from '#domain/ledger.ts';
import type { ShareEntry } from '#domain/settlement.ts';
import { parseLink, readEntryBody, restoreEntry } from '../claim-entries.ts';
import { SHARES_PER_REPLY } from '../store-options.ts';
import { readStore } from './sqlite-members.ts';
import type { Statements } from './statements.ts';

const READ_ENTRIES_FROM = 'SELECT entries_from, closed_through FROM store WHERE id = 1';
const READ_LINKS = 'SELECT journal, entry FROM members';
const LIST_ENTRIES = 'SELECT journal, seq FROM claim_entries WHERE day = ? ORDER BY journal, seq';
const READ_ENTRY = 'SELECT previous, body FROM claim_entries WHERE journal = ? AND seq = ? AND day = ?';
const READ_BATCHES = 'SELECT part, body FROM record_batches WHERE journal = ? AND seq = ?';
const READ_FREEZE_HOUR = 'SELECT first_k, previous_hash FROM freeze_hours WHERE hour = ?';
const READ_DIGESTS = 'SELECT digest FROM freeze_digests WHERE hour = ? ORDER BY k';
const READ_UNCLAIMED = 'SELECT entry FROM shares WHERE journal = ? AND k > ? ORDER BY k LIMIT ?';

/** See LedgerReader for what each function promises. */
export function readHeads(statements: Statements, nowMs: number): LedgerHeads {
  return statements.snapshot(() => {
    const { epoch, frontier, k, freezeHash } = readStore(statements, nowMs);
    const links = statements.all(READ_LINKS);
    return {
      epoch,
      nowMs,
      frontier,
      k,
      freezeHash,
      entriesFrom: Number(statements.get(READ_ENTRIES_FROM)?.['entries_from']),
      closedThrough: Number(statements.get(READ_ENTRIES_FROM)?.['closed_through']),
      journals: Object.fromEntries(links.map((row) => [String(row['journal']), parseLink(String(row['entry']))])),
    };
  });
}

export function listEntries(statements: Statements, day: number): EntryName[] {
  return statements.all(LIST_ENTRIES, day).map((row) => ({ journal: String(row['journal']), seq: Number(row['seq']) }));
}

export function readEntries(
  statements: Statements,
  day: number,
  names: readonly EntryName[],
): readonly (LedgerEntry | null)[] {
  return names.map(({ journal, seq }) => {
    const row = statements.get(READ_ENTRY, journal, seq, day);
    const body = row?.['body'];
    if (!(body instanceof Uint8Array)) return null;
    const bodies: (Uint8Array | undefined)[] = [];
    for (const batch of statements.all(READ_BATCHES, journal, seq)) {
      const { part, body: records } = batch;
      if (records instanceof Uint8Array) bodies[Number(part)] = records;
    }
    try {
      const entry = readEntryBody(body);
      const places = entry.batches.map((_, part) => bodies[part]);
      return restoreEntry(entry, parseLink(String(row?.['previous'])), places);
    } catch {
      // Damaged: the reader is told that it cannot be read.
      return null;
    }
  });
}

export function readFreezeHour(statements: Statements, hour: number): FreezeHour | null {
  return statements.snapshot(() => {
    const row = statements.get(READ_FREEZE_HOUR, hour);
    const digests = statements.all(READ_DIGESTS, hour).map(({ digest }) => toHex(digest));
    if (row === undefined) return null;
    return { hour, firstK: Number(row['first_k']), previousHash: String(row['previous_hash']), digests };
  });
}

export function readUnclaimed(statements: Statements, journal: string, afterK: number): ShareEntry[] {
  return statements
    .all(READ_UNCLAIMED, journal, afterK, SHARES_PER_REPLY)
    .map((row) => JSON.parse(String(row['entry'])) as ShareEntry);
}

function toHex(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : '';
}
