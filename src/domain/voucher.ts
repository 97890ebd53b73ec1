// Vouchers: what people, not gateways, did to the books. An adjustment moves money between rows, a close ends a month for good.
// Not here: making them (ledger), what reports show of them (reports).
import type { EntryLink } from './ledger.ts';
import type { NanoText } from './pool-facts.ts';
import type { CellIncrement, CellKey } from './settlement.ts';

/** One side of a correction; the lines of one correction sum to 0. Empty strings stand for "none". */
export interface CorrectionLine extends Omit<CellKey, 'hour'> {
  readonly nanoUsd: NanoText;
}

/** Money moved between rows, booked in one hour of an open month. */
export interface AdjustmentContent {
  readonly kind: 'adjustment';
  /** First epoch second of the UTC hour it stands in. */
  readonly hour: number;
  /** UTC month that it corrects, such as `2026-10`. */
  readonly corrects: string;
  readonly lines: readonly CorrectionLine[];
}

/** Unclaimed money of one pool and hour that a close gave to nobody. */
export interface WriteOff {
  readonly hour: number;
  readonly pool: string;
  readonly nanoUsd: NanoText;
}

/** From here on nothing before `to` changes. */
export interface CloseContent {
  readonly kind: 'close';
  /** UTC month, such as `2026-10`, and its epoch seconds, `to` exclusive. */
  readonly month: string;
  readonly from: number;
  readonly to: number;
  /** First second not settled when it was closed. */
  readonly settledThrough: number;
  /** Last entry of each journal: later ones are relabelled where they touch the month. */
  readonly heads: Readonly<Record<string, EntryLink | null>>;
  /** Hex SHA-256 over the month's books and cells as they are with the write-off. */
  readonly figures: string;
  readonly writeOff: readonly WriteOff[];
  /** What reports of the month need of the configuration, without secrets, as JSON text. */
  readonly config: string;
}

/** Links to the one before like an entry of a journal. */
export interface Voucher {
  /** From 1, without gaps. */
  readonly n: number;
  /** Chosen by its author; unique. */
  readonly id: string;
  /** Epoch milliseconds of the store's clock. */
  readonly atMs: number;
  readonly author: string;
  readonly reason: string;
  readonly content: AdjustmentContent | CloseContent;
  readonly previousHash: string;
  /** Hex SHA-256 of the previous hash and the canonical JSON of everything else. */
  readonly hash: string;
}

/** Money of a closed month that was claimed later: a pair of corrections in an open hour, made by the store when it applied the claim. */
export interface LateClaim {
  readonly journal: string;
  readonly seq: number;
  /** Hour it stands in, and first second of the month whose money it is. */
  readonly hour: number;
  readonly corrects: number;
  readonly lines: readonly CorrectionLine[];
}

/** What a close changes beside the list: set only if nothing it was computed from has changed. */
export interface CloseEffect {
  /** Books of the written-off hours as they were read, nanodollars. */
  readonly books: readonly (WriteOff & { readonly chargedNanoUsd: NanoText; readonly claimedNanoUsd: NanoText })[];
  readonly increments: readonly CellIncrement[];
}

/** The writing side for vouchers. Rejects with StoreUnavailableError. */
export interface VoucherStore {
  /**
   * Appends a voucher if its number and previous hash follow the last one, its hour is open, and, for a close, no entry was applied since
   * `heads`; `stale` changed nothing: read again.
   */
  addVoucher(voucher: Voucher, effect: CloseEffect | null): Promise<'added' | 'stale'>;
}
