// Cells and books out of packed rows, in the thread of the caller. Not here: reading them (sqlite-books.ts, in the worker).
import type { BookCell, RollupCell } from '#domain/books.ts';
import { parseDims, toBookMetrics, toCellMetrics } from '../rollup-cells.ts';
import { type PackedRows, unpackRows } from './packed-rows.ts';

/** Rows of `readRollups`. */
export function toRollupCells(rows: PackedRows): RollupCell[] {
  const known = new Map<string, ReturnType<typeof parseDims>>();
  return unpackRows(rows, ([text = ''], values) => {
    let dims = known.get(text);
    if (dims === undefined) known.set(text, (dims = parseDims(text)));
    return { start: Number(values[0]), ...dims, metrics: toCellMetrics(values.subarray(1)) };
  });
}

/** Rows of `readBooks`. */
export function toBookCells(rows: PackedRows): BookCell[] {
  return unpackRows(rows, ([pool = '', deployments = '', gpu = ''], values) => ({
    hour: Number(values[0]),
    pool,
    deployments,
    gpu,
    metrics: toBookMetrics(values.subarray(1)),
  }));
}
