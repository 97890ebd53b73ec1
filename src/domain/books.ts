// What reports read from a store: rollup cells, capacity books, settled records, facts. Read only.
import type { FactBook } from './pool-facts.ts';
import type { BookMetric, CellKey, CellMetric, Member, SettledRecordJson } from './settlement.ts';
import type { LateClaim, Voucher } from './voucher.ts';
import type { Outcome } from './usage-record.ts';

/** `start` replaces the hour by the first second of the cell's hour, UTC day or UTC month. */
export interface RollupCell extends Omit<CellKey, 'hour'> {
  readonly start: number;
  readonly metrics: Readonly<Record<CellMetric, bigint>>;
}

export interface BookCell {
  readonly hour: number;
  readonly pool: string;
  readonly deployments: string;
  readonly gpu: string;
  readonly metrics: Readonly<Record<BookMetric, bigint>>;
}

/** Epoch seconds, `from` inclusive, `to` exclusive, both whole hours. */
export interface Period {
  readonly from: number;
  readonly to: number;
}

export type Granularity = 'hour' | 'day' | 'month';

export interface RecordQuery {
  readonly team?: string;
  readonly project?: string;
  readonly model?: string;
  /** The record's own, or one that it was charged on (`prefillBy`). */
  readonly deployment?: string;
  readonly keyId?: string;
  readonly user?: string;
  readonly outcome?: Outcome;
  /** Matches requestId or clientRequestId. */
  readonly requestId?: string;
  /** Epoch milliseconds of the end of the attempt, `from` inclusive, `to` exclusive. */
  readonly fromMs?: number;
  readonly toMs?: number;
  /** 1 … 1000. */
  readonly limit: number;
  /** Opaque, from an earlier answer's `next`. */
  readonly cursor?: string;
}

export interface BooksStatus {
  readonly epoch: string;
  readonly schema: number;
  readonly nowMs: number;
  readonly frontier: number | null;
  /** Freezes so far and the chain hash at the last one. */
  readonly k: number;
  readonly freezeHash: string;
  /** Another text after every claim that was applied: what was read between two equal ones belongs together. */
  readonly claimState: string;
  /** Publications that came after their window was frozen, of all periods, by the journals that the store remembers (35 days of its own time). */
  readonly latePublications: number;
  readonly members: readonly Member[];
}

/** The reporting side of a store. Rejects with StoreUnavailableError like SettlementStore. */
export interface BooksReader {
  readStatus(): Promise<BooksStatus>;
  readFacts(): Promise<FactBook>;
  /**
   * Cells of the given granularity whose start lies in the period, in no particular order. The period is aligned to it by the caller;
   * hour cells are kept 35 days (those of a month's first and last UTC day longer), day and month cells for `retention.rollups`.
   */
  readRollups(period: Period, granularity: Granularity): Promise<readonly RollupCell[]>;
  readBooks(period: Period): Promise<readonly BookCell[]>;
  /** All, ascending by number: adjustments and closes are few. */
  readVouchers(): Promise<readonly Voucher[]>;
  /** Those whose hour lies in the period, in no particular order. */
  readLateClaims(period: Period): Promise<readonly LateClaim[]>;
  /** Newest first by the end of the attempt; `next` is null on the last page. */
  readRecords(
    query: RecordQuery,
  ): Promise<{ readonly records: readonly SettledRecordJson[]; readonly next: string | null }>;
}
