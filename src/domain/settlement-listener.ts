// Told of what the store accepted, for metrics: each gateway counts what it settled itself.
import type { BookIncrement, CellIncrement, SettledRecordJson } from './settlement.ts';

/** Must not throw. Each increment is told once, after the store applied it. */
export interface SettlementListener {
  /** `records`: those that the claim settled. */
  claimApplied(increments: readonly CellIncrement[], records: readonly SettledRecordJson[]): void;
  booksCommitted(books: readonly BookIncrement[]): void;
}
