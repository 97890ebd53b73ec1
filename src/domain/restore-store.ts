// The port through which `ledger rebuild` refills a store that lost its books. Not here: where they come from (ledger).
import type { BookCell, Granularity } from './books.ts';
import type { EntryLink } from './ledger.ts';
import type { FactBook } from './pool-facts.ts';
import type { LateClaim, Voucher } from './voucher.ts';
import type { CellKey, HealthChange, Publication, SettledRecordJson, ShareEntry, SyncMessage } from './settlement.ts';

/** What a cell holds in all. `values[i]` belongs to `CELL_METRICS[i]`. */
export interface RestoredCell extends Omit<CellKey, 'hour'> {
  readonly granularity: Granularity;
  /** First epoch second of the UTC hour, day or month. */
  readonly start: number;
  readonly values: readonly bigint[];
}

/** An applied claim with its records, and the journal's entry before it. */
export interface RestoredClaim {
  readonly message: SyncMessage;
  readonly previous: EntryLink | null;
  /** See LedgerEntry. */
  readonly closedThrough: number;
}

/** Freezes whose last window lies in one UTC hour, as LedgerReader.readFreezeHour returns them. */
export interface RestoredFreezes {
  readonly hour: number;
  readonly firstK: number;
  readonly previousHash: string;
  readonly digests: readonly string[];
}

export interface RestoredMember {
  readonly journal: string;
  readonly state: 'live' | 'left';
  readonly incarnation: number;
  /** Last message applied, and its hash; 0 and '' for none. */
  readonly seq: number;
  readonly hash: string;
  readonly sealedThrough: number;
  /** Freezes claimed. */
  readonly claimed: number;
  readonly blind: readonly (readonly [from: number, to: number])[];
  readonly entry: EntryLink | null;
  /** The latest messages, ascending. */
  readonly messages: readonly { readonly seq: number; readonly hash: string; readonly claimApplied: boolean | null }[];
  /** Unclaimed, ascending by k. */
  readonly shares: readonly ShareEntry[];
}

/** Everything but history: what settlement goes on from. */
export interface RestoredState {
  readonly epoch: string;
  readonly frontier: number;
  readonly k: number;
  readonly freezeHash: string;
  /** See LedgerHeads.entriesFrom. */
  readonly entriesFrom: number;
  readonly facts: FactBook;
  readonly vouchers: readonly Voucher[];
  readonly lateClaims: readonly LateClaim[];
  /** Epoch second before which everything is closed; 0 for nothing. */
  readonly closedThrough: number;
  /** Hashes of freezes that a claim may still name, ascending. */
  readonly chain: readonly { readonly k: number; readonly hash: string }[];
  readonly members: readonly RestoredMember[];
  readonly board: readonly { readonly journal: string; readonly publication: Publication }[];
  readonly health: readonly (HealthChange & { readonly journal: string })[];
}

/**
 * Implemented by both stores. Every `restore…` sets, and adds nothing, so that a rebuild that was interrupted can be run again. Until
 * `finishRestore` the store has no epoch: it takes no message, and nobody can join. Rejects with StoreUnavailableError.
 */
export interface StoreRestorer {
  /** False, and nothing changed, when the store holds books. */
  beginRestore(): Promise<boolean>;
  restoreCells(cells: readonly RestoredCell[]): Promise<void>;
  restoreBooks(books: readonly BookCell[]): Promise<void>;
  /** Records from an archive, which belong to no claim that is restored; `part` tells the calls of one day apart. */
  restoreRecords(day: number, part: number, records: readonly SettledRecordJson[]): Promise<void>;
  restoreClaims(claims: readonly RestoredClaim[]): Promise<void>;
  restoreFreezes(freezes: RestoredFreezes): Promise<void>;
  finishRestore(state: RestoredState): Promise<void>;
}
