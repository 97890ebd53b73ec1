// Usage over time for the admin plane: report rows per hour, day or month, without idle. The bill is chargeback.ts's.
import type { BooksReader, Granularity } from '#domain/books.ts';
import type { Config } from '#config/config.ts';
import { createContext } from './chargeback.ts';
import { nextStart, startOf } from './cover-period.ts';
import { needsRecords } from './dimensions.ts';
import type { Dimension } from './dimensions.ts';
import { readCells } from './read-report.ts';
import { ReportParameterError } from './report-error.ts';
import type { ReportPeriod } from './report-period.ts';
import { sumRows } from './report-rows.ts';
import type { ReportRow } from './report-shape.ts';

export interface UsageRequest {
  readonly books: BooksReader;
  readonly config: Pick<Config, 'teams'>;
  readonly period: ReportPeriod;
  readonly granularity: Granularity;
  readonly groupBy: readonly Dimension[];
  /** Null: every team. */
  readonly team: string | null;
}

export interface UsageBucket {
  /** Epoch seconds: a whole UTC hour, day or month. */
  readonly start: number;
  readonly end: number;
  readonly row: ReportRow;
}

export interface Usage {
  /** First epoch second not settled yet; null before the first gateway joined the books. */
  readonly settledThrough: number | null;
  /** Ascending by start, then by dimensions; stretches without usage have none. */
  readonly buckets: readonly UsageBucket[];
}

/** `hour`, `day` or `month`; throws a ReportParameterError for anything else. */
export function parseGranularity(text: string): Granularity {
  if (text === 'hour' || text === 'day' || text === 'month') return text;
  throw new ReportParameterError('granularity', `must be hour, day or month; got "${text}"`);
}

/**
 * Reads whole UTC buckets: all that overlap the period. Rejects with StoreUnavailableError, or ReportParameterError for dimensions of
 * single records and for hours older than 35 days.
 */
export async function readUsage({ books, config, period, granularity, groupBy, team }: UsageRequest): Promise<Usage> {
  if (needsRecords(groupBy) || groupBy.includes('day')) {
    throw new ReportParameterError(
      'groupBy',
      'cannot hold day, user or tag:NAME here; use granularity, or a chargeback report',
    );
  }
  const status = await books.readStatus();
  const whole = { from: startOf(period.from, granularity), to: nextStart(period.to - 1, granularity) };
  const cells = await readCells(books, { period: whole, coarsest: granularity, nowMs: status.nowMs });
  const kept = team === null ? cells : cells.filter((cell) => cell.team === team);
  const byStart = Map.groupBy(kept, ({ start }) => startOf(start, granularity));
  const starts = [...byStart.keys()].sort((a, b) => a - b);
  const buckets = starts.flatMap((start) => {
    const rows = sumRows({
      groupBy,
      context: createContext(period, config),
      sources: byStart.get(start) ?? [],
      idleShares: [],
      idleShared: false,
    });
    return rows.map((row) => ({ start, end: nextStart(start, granularity), row }));
  });
  return { settledThrough: status.frontier === null ? null : status.frontier + 1, buckets };
}
