// Compares rollup cells with each other: days with their hours, months with their days. Not here: hours with claims (check-hour.ts).
import type { BooksReader, Granularity, RollupCell } from '#domain/books.ts';
import { type Breakage, createBreakage } from './breakage.ts';
import { addToCell, type CellSums, findDifference, nameCell } from './cell-sums.ts';

/** Cells of one granularity summed over a period, by their dimensions. */
export function sumCells(cells: readonly RollupCell[]): CellSums {
  const sums: CellSums = new Map();
  for (const cell of cells) addToCell(sums, nameCell(cell), cell.metrics);
  return sums;
}

/** Null when the cells of a period (one UTC day or month) are the sums of the finer cells in it. */
export async function checkSpan(
  books: BooksReader,
  span: { readonly from: number; readonly to: number },
  [coarse, fine]: readonly [coarse: Granularity, fine: Granularity],
): Promise<Breakage | null> {
  const expected = sumCells(await books.readRollups(span, fine));
  const found = sumCells(await books.readRollups(span, coarse));
  const wrong = findDifference(expected, found);
  if (wrong === null) return null;
  return createBreakage(
    'cell',
    { id: `${coarse} ${wrong.cell}`, hour: span.from },
    { expected: `${wrong.metric} ${wrong.expected} over its ${fine}s`, found: `${wrong.metric} ${wrong.found}` },
  );
}
