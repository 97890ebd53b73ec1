// When each kind of Redis key expires, in epoch seconds. Pure.
import type { Granularity } from '#domain/books.ts';
import { isMonthEdge } from '#domain/window.ts';
import {
  FREEZE_DIGESTS_KEPT_MS,
  HOUR_CELLS_KEPT_MS,
  leavesAfterExport,
  type StoreRetention,
} from '../store-options.ts';

const DAY_SECONDS = 86_400;
/** Months are longer than their first day says, and a day's last record is younger than its first. */
const CELL_SPAN_SECONDS = { hour: 3600, day: DAY_SECONDS, month: 31 * DAY_SECONDS } as const;

/** Records and entries of a UTC day; 0: never, they leave after their export. */
export function recordsExpiry(day: number, retention: StoreRetention): number {
  if (leavesAfterExport(retention)) return 0;
  return day + DAY_SECONDS + Math.ceil(retention.recordsMs / 1000);
}

/** Cells of one hour, day or month. */
export function cellsExpiry(granularity: Granularity, start: number, retention: StoreRetention): number {
  const keptMs = granularity === 'hour' && !isMonthEdge(start) ? HOUR_CELLS_KEPT_MS : retention.rollupsMs;
  return start + CELL_SPAN_SECONDS[granularity] + Math.ceil(keptMs / 1000);
}

/** Capacity books of an hour. */
export function booksExpiry(hour: number, retention: StoreRetention): number {
  return hour + CELL_SPAN_SECONDS.month + Math.ceil(retention.rollupsMs / 1000);
}

/** Digests of the freezes of an hour. */
export function digestsExpiry(hour: number, retention: StoreRetention): number {
  const keptMs = Math.min(FREEZE_DIGESTS_KEPT_MS, retention.recordsMs);
  return hour + CELL_SPAN_SECONDS.hour + Math.ceil(keptMs / 1000);
}
