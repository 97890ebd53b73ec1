// A month's books and cells as one hash: what a close promises not to change, and `ledger verify` recomputes.
import { createHash } from 'node:crypto';
import type { BookCell, BooksReader, RollupCell } from '#domain/books.ts';
import { BOOK_METRICS, type CellIncrement, CELL_METRICS } from '#domain/settlement.ts';
import type { WriteOff } from '#domain/voucher.ts';
import { addToCell, type CellSums, nameCell, parseMetrics } from './cell-sums.ts';
import type { LedgerMonth } from './ledger-month.ts';

/** Hour books and day cells of the month, and what a write-off would add to them. */
export interface MonthFigures {
  readonly books: readonly BookCell[];
  readonly cells: readonly RollupCell[];
}

export async function readMonthFigures(books: BooksReader, { from, to }: LedgerMonth): Promise<MonthFigures> {
  return { books: await books.readBooks({ from, to }), cells: await books.readRollups({ from, to }, 'day') };
}

/** Hex SHA-256; independent of the order in which a store answers. */
export function hashFigures(
  { books, cells }: MonthFigures,
  added: { readonly writeOff: readonly WriteOff[]; readonly increments: readonly CellIncrement[] },
): string {
  const lines = books.map(({ hour, pool, metrics }) => {
    const written = added.writeOff.filter((part) => part.hour === hour && part.pool === pool);
    const claimed = written.reduce((sum, part) => sum + BigInt(part.nanoUsd), metrics.claimedNanoUsd);
    const values = BOOK_METRICS.map((metric) => (metric === 'claimedNanoUsd' ? claimed : metrics[metric]));
    return JSON.stringify([hour, pool, ...values.map(String)]);
  });
  const sums: CellSums = new Map();
  for (const cell of cells) addToCell(sums, `${cell.start} ${nameCell(cell)}`, cell.metrics);
  for (const part of added.increments) {
    addToCell(sums, `${Math.floor(part.hour / 86_400) * 86_400} ${nameCell(part)}`, parseMetrics(part));
  }
  for (const [name, values] of sums) {
    lines.push(JSON.stringify([name, ...CELL_METRICS.map((metric) => String(values[metric] ?? 0n))]));
  }
  return createHash('sha256').update(lines.toSorted().join('\n')).digest('hex');
}
