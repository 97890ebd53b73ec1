// How increments of hours spread over hour, day and month cells, and how a cell's dimensions are spelled in a store.
import type { Granularity } from '#domain/books.ts';
import {
  BOOK_METRICS,
  type BookMetric,
  CELL_METRICS,
  type CellIncrement,
  type CellKey,
  type CellMetric,
} from '#domain/settlement.ts';

export const GRANULARITIES: readonly Granularity[] = ['hour', 'day', 'month'];

/** First second of the UTC hour, day or month that holds an epoch second: `('day', 90000)` → `86400`. */
export function cellStart(granularity: Granularity, second: number): number {
  if (granularity === 'hour') return Math.floor(second / 3600) * 3600;
  if (granularity === 'day') return Math.floor(second / 86_400) * 86_400;
  const date = new Date(second * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) / 1000;
}

/** Sums to add to one cell: `values[i]` belongs to `CELL_METRICS[i]`. */
export interface CellSum {
  readonly granularity: Granularity;
  /** Epoch second of the cell's first second. */
  readonly start: number;
  /** See `formatDims`. */
  readonly dims: string;
  readonly values: bigint[];
}

/** Every increment once per granularity, those of one cell summed, so that a store adds to each cell once. */
export function spreadIncrements(increments: readonly CellIncrement[]): CellSum[] {
  const sums = new Map<string, CellSum>();
  for (const increment of increments) {
    const dims = formatDims(increment);
    for (const granularity of GRANULARITIES) {
      const start = cellStart(granularity, increment.hour);
      const id = `${granularity} ${start} ${dims}`;
      const sum = sums.get(id) ?? { granularity, start, dims, values: CELL_METRICS.map(() => 0n) };
      sums.set(id, sum);
      for (const [i, metric] of CELL_METRICS.entries()) {
        sum.values[i] = (sum.values[i] ?? 0n) + BigInt(increment.metrics[metric] ?? '0');
      }
    }
  }
  return [...sums.values()];
}

export type CellDims = Omit<CellKey, 'hour'>;

/** JSON of `[team, project, keyId, model, deployment]`: unambiguous whatever the names hold. */
export function formatDims(dims: CellDims): string {
  return JSON.stringify([dims.team, dims.project, dims.keyId, dims.model, dims.deployment]);
}

/** Inverse of `formatDims`; throws on anything else, which only a damaged store holds. */
export function parseDims(text: string): CellDims {
  const parts: unknown = JSON.parse(text);
  if (!Array.isArray(parts) || parts.length !== 5) throw new SyntaxError('the store holds damaged dimensions');
  const [team, project, keyId, model, deployment] = parts.map(String);
  return {
    team: team ?? '',
    project: project ?? '',
    keyId: keyId ?? '',
    model: model ?? '',
    deployment: deployment ?? '',
  };
}

/** Names the values of a cell, in the order of CELL_METRICS; a metric the store does not hold yet is zero. */
export function toCellMetrics(values: ArrayLike<bigint | undefined>): Record<CellMetric, bigint> {
  return nameValues(CELL_METRICS, values);
}

/** The same for books, in the order of BOOK_METRICS. */
export function toBookMetrics(values: ArrayLike<bigint | undefined>): Record<BookMetric, bigint> {
  return nameValues(BOOK_METRICS, values);
}

/** One shape for all: a report reads hundreds of thousands of them. */
function nameValues<Name extends string>(
  names: readonly Name[],
  values: ArrayLike<bigint | undefined>,
): Record<Name, bigint> {
  const named: Partial<Record<Name, bigint>> = {};
  for (let i = 0; i < names.length; i += 1) named[names[i] as Name] = values[i] ?? 0n;
  return named as Record<Name, bigint>;
}
