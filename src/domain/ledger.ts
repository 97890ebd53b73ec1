// What `ledger verify` and `ledger export` read from a store: applied claims as they were sent, freeze digests, unclaimed shares. Read only.
import type { SettledRecordJson, ShareEntry, SyncMessage } from './settlement.ts';

/** Names one kept entry: an applied claim message that moved money or delivered records. */
export interface EntryLink {
  /** First epoch second of the UTC day of the message's sealedThrough, under which the store keeps it; never decreases within a journal. */
  readonly day: number;
  readonly seq: number;
  /** Hash of the message. */
  readonly hash: string;
}

export interface EntryName {
  readonly journal: string;
  readonly seq: number;
}

/** A record of an entry as the store holds it now. */
export interface KeptRecord {
  /** Null: its batch left the store, or cannot be read (see `batch`). */
  readonly record: SettledRecordJson | null;
  /** First 8 hex digits of SHA-256 of the record's JSON when it was stored. */
  readonly digest: string;
  /** The same of what stands there now; null without a record. */
  readonly digestNow: string | null;
  /** First epoch second of the UTC day of the batch's last ending: gone with that day's retention. */
  readonly batchDay: number;
}

/** One applied claim. `message.claim.records` is empty: they stand in `records`, in the order in which they were sent. */
export interface LedgerEntry {
  readonly message: SyncMessage;
  /** The journal's entry before this one as the store linked it; null for the first. */
  readonly previous: EntryLink | null;
  /** Epoch second before which everything was closed when it was applied; 0 for nothing (domain/relabel-claim.ts). */
  readonly closedThrough: number;
  readonly records: readonly KeptRecord[];
}

export interface LedgerHeads {
  readonly epoch: string;
  readonly nowMs: number;
  /** Last frozen window; null before the first member joined. */
  readonly frontier: number | null;
  readonly k: number;
  readonly freezeHash: string;
  /** Claims of windows from this epoch second on are kept as entries: 0 unless an older program wrote the store before. */
  readonly entriesFrom: number;
  /** Everything before this epoch second is closed; 0 for nothing. */
  readonly closedThrough: number;
  /** Last entry of each journal the store knows; null where it has none. */
  readonly journals: Readonly<Record<string, EntryLink | null>>;
}

/** Freezes whose last window lies in one UTC hour. */
export interface FreezeHour {
  readonly hour: number;
  /** Number of the first, and the chain hash before it. */
  readonly firstK: number;
  readonly previousHash: string;
  /** Hex SHA-256 of each freeze's content, ascending by k: hash(k) = SHA-256(hash(k − 1) + digest(k)). */
  readonly digests: readonly string[];
}

/** The auditing side of a store. Rejects with StoreUnavailableError like BooksReader. */
export interface LedgerReader {
  /** One consistent snapshot. */
  readHeads(): Promise<LedgerHeads>;
  /** Names of a UTC day's entries, ordered by journal and number. */
  listEntries(day: number): Promise<readonly EntryName[]>;
  /** In the order of `names` (at most 64); null for one that is missing or cannot be read. */
  readEntries(day: number, names: readonly EntryName[]): Promise<readonly (LedgerEntry | null)[]>;
  /** Null when no freeze of the hour is kept. */
  readFreezeHour(hour: number): Promise<FreezeHour | null>;
  /** At most 64 unclaimed shares of a journal with k > `afterK`, ascending. */
  readUnclaimed(journal: string, afterK: number): Promise<readonly ShareEntry[]>;
}
