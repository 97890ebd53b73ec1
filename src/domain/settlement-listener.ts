// Told of what the store accepted, for metrics: each gateway counts what it settled itself.
import type { BookIncrement, CellIncrement } from './settlement.ts';

/** Must not throw. Each increment is told once, after the store applied it. */
export interface SettlementListener {
  claimApplied(increments: readonly CellIncrement[]): void;
  booksCommitted(books: readonly BookIncrement[]): void;
}
