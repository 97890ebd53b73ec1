// The messages between the SQLite client and its worker thread. No behaviour.
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LeaseStore } from '#domain/lease-store.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import type { LearnerStore } from '#domain/learner-store.ts';
import type { StoreRestorer } from '#domain/restore-store.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import type { VoucherStore } from '#domain/voucher.ts';
import type { StoreRetention } from '../store-options.ts';

/** What the worker answers, by the names of the ports' methods. */
export type StoreCalls = SettlementStore &
  BooksReader &
  LedgerReader &
  LeaseStore &
  LearnerStore &
  StoreRestorer &
  VoucherStore &
  ArchiveMarks;
export type CallName = keyof StoreCalls;

export interface WorkerSettings {
  readonly path: string;
  readonly retention: StoreRetention;
}

export interface WorkerRequest {
  readonly id: number;
  readonly name: CallName;
  readonly args: readonly unknown[];
  /** Epoch milliseconds that stand for the host's clock in tests; null: read it when the call runs. */
  readonly nowMs: number | null;
}

export type WorkerResponse =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | {
      readonly id: number;
      readonly ok: false;
      readonly kind: 'unavailable' | 'schema' | 'range';
      readonly message: string;
    };
