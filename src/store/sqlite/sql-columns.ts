// The columns of the domain's metric lists and the statements built from them. No other SQL.
import { BOOK_METRICS, CELL_METRICS } from '#domain/settlement.ts';

/** `costNanoUsd` → `cost_nano_usd`. */
export function toColumn(metric: string): string {
  return metric.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export const CELL_COLUMNS = CELL_METRICS.map(toColumn);
export const BOOK_COLUMNS = BOOK_METRICS.map(toColumn);

const places = (count: number) => Array.from({ length: count }, () => '?').join(', ');
const additions = (columns: readonly string[]) =>
  columns.map((name) => `${name} = ${name} + excluded.${name}`).join(', ');

/** Adds to one rollup cell: granularity, start, dims_id, then CELL_METRICS in order. */
export const ADD_TO_CELL = `INSERT INTO rollups (granularity, start, dims_id, ${CELL_COLUMNS.join(', ')})
  VALUES (${places(3 + CELL_COLUMNS.length)})
  ON CONFLICT (granularity, start, dims_id) DO UPDATE SET ${additions(CELL_COLUMNS)}`;

/** Adds to the books of one pool and hour: hour, pool, deployments, gpu, then BOOK_METRICS in order. The latest names win. */
export const ADD_TO_BOOKS = `INSERT INTO books (hour, pool, deployments, gpu, ${BOOK_COLUMNS.join(', ')})
  VALUES (${places(4 + BOOK_COLUMNS.length)})
  ON CONFLICT (hour, pool) DO UPDATE SET deployments = excluded.deployments, gpu = excluded.gpu, ${additions(BOOK_COLUMNS)}`;

/** Moves a claimed amount (nanodollars) within the books of one hour and pool, which a freeze has written before. */
export const ADD_CLAIMED = `INSERT INTO books (hour, pool, deployments, gpu, ${BOOK_COLUMNS.join(', ')})
  VALUES (?, ?, '', '', ${BOOK_COLUMNS.map((name) => (name === 'claimed_nano_usd' ? '?' : '0')).join(', ')})
  ON CONFLICT (hour, pool) DO UPDATE SET claimed_nano_usd = claimed_nano_usd + excluded.claimed_nano_usd`;

/** Text first, then integers: see packed-rows.ts. */
export const READ_CELLS = `SELECT dims, start, ${CELL_COLUMNS.join(', ')} FROM rollups JOIN dims ON dims.id = dims_id
  WHERE granularity = ? AND start >= ? AND start < ?`;

export const READ_BOOKS = `SELECT pool, deployments, gpu, hour, ${BOOK_COLUMNS.join(', ')} FROM books
  WHERE hour >= ? AND hour < ?`;
