// Checks the books and cells of one UTC hour against what was frozen and claimed. Pure: the caller reads.
import type { BookCell, RollupCell } from '#domain/books.ts';
import { type Breakage, createBreakage } from './breakage.ts';
import { findDifference } from './cell-sums.ts';
import { sumCells } from './check-cells.ts';
import type { HourSums } from './increment-spool.ts';

export interface HourFacts {
  readonly hour: number;
  readonly books: readonly BookCell[];
  /** Null where they have left the store. */
  readonly cells: readonly RollupCell[] | null;
  /** What the entries moved; null where not all of them are kept. */
  readonly claimed: HourSums | null;
  /** Nanodollars of unclaimed shares by pool; null while the hour is being frozen. */
  readonly unclaimed: ReadonlyMap<string, bigint> | null;
  /** Nanodollars by pool that a close gave to nobody: their shares may be claimed later, as corrections of another month. */
  readonly writtenOff: ReadonlyMap<string, bigint>;
}

/** First identity of settlement.md that does not hold, or null. */
export function checkHour(facts: HourFacts): Breakage | null {
  for (const book of facts.books.toSorted((left, right) => (left.pool < right.pool ? -1 : 1))) {
    const broken = checkBook(book, facts);
    if (broken !== null) return broken;
  }
  const missing = [...(facts.claimed?.claimed.keys() ?? []), ...(facts.unclaimed?.keys() ?? [])].find(
    (pool) => !facts.books.some((book) => book.pool === pool),
  );
  if (missing !== undefined) return tell(facts.hour, missing, 'books of the pool', 'none');
  return facts.cells === null ? null : checkCells(facts.cells, facts);
}

function checkBook({ pool, metrics }: BookCell, { hour, claimed, unclaimed, writtenOff }: HourFacts): Breakage | null {
  const { capacityNanoUsd, chargedNanoUsd, idleNanoUsd, unmeteredNanoUsd, claimedNanoUsd } = metrics;
  const sum = chargedNanoUsd + idleNanoUsd + unmeteredNanoUsd;
  if (sum !== capacityNanoUsd) {
    return tell(
      hour,
      pool,
      `capacityNanoUsd ${sum} = charged + idle + unmetered`,
      `capacityNanoUsd ${capacityNanoUsd}`,
    );
  }
  const pending = chargedNanoUsd - claimedNanoUsd;
  if (pending < 0n) return tell(hour, pool, `claimedNanoUsd ≤ ${chargedNanoUsd}`, `claimedNanoUsd ${claimedNanoUsd}`);
  if (claimed !== null && (claimed.claimed.get(pool) ?? 0n) !== claimedNanoUsd) {
    const expected = `claimedNanoUsd ${claimed.claimed.get(pool) ?? 0n}`;
    return tell(hour, pool, `${expected} by the claims`, `claimedNanoUsd ${claimedNanoUsd}`);
  }
  const isLate = (open: bigint) => open > pending && open <= pending + (writtenOff.get(pool) ?? 0n);
  const open = unclaimed?.get(pool) ?? 0n;
  if (unclaimed !== null && open !== pending && !isLate(open)) {
    const expected = `chargedNanoUsd ${claimedNanoUsd + (unclaimed.get(pool) ?? 0n)}`;
    return tell(hour, pool, `${expected} = claimed + unclaimed shares`, `chargedNanoUsd ${chargedNanoUsd}`);
  }
  return null;
}

function checkCells(cells: readonly RollupCell[], { hour, books, claimed }: HourFacts): Breakage | null {
  const found = sumCells(cells);
  const wrong = claimed === null ? null : findDifference(claimed.cells, found);
  if (wrong !== null) {
    return createBreakage(
      'cell',
      { id: `hour ${wrong.cell}`, hour },
      { expected: `${wrong.metric} ${wrong.expected} by the claims`, found: `${wrong.metric} ${wrong.found}` },
    );
  }
  const cost = cells.reduce((sum, cell) => sum + cell.metrics.costNanoUsd, 0n);
  const moved = books.reduce((sum, book) => sum + book.metrics.claimedNanoUsd, 0n);
  if (cost === moved) return null;
  return createBreakage(
    'cell',
    { id: 'hour, all cells', hour },
    { expected: `costNanoUsd ${moved} claimed in the books`, found: `costNanoUsd ${cost}` },
  );
}

/** capacity − idle − unmetered − pending − what the teams' cells hold, in nanodollars: 0 unless the books are wrong. */
export function differenceOf({
  books,
  cells,
}: {
  readonly books: readonly BookCell[];
  readonly cells: readonly RollupCell[];
}): bigint {
  const booked = books.reduce((sum, { metrics }) => {
    const pending = metrics.chargedNanoUsd - metrics.claimedNanoUsd;
    return sum + metrics.capacityNanoUsd - metrics.idleNanoUsd - metrics.unmeteredNanoUsd - pending;
  }, 0n);
  return booked - cells.reduce((sum, cell) => sum + cell.metrics.costNanoUsd, 0n);
}

function tell(hour: number, pool: string, expected: string, found: string): Breakage {
  return createBreakage('book', { id: pool, hour }, { expected, found });
}
