// Which rollup cells cover a period: whole UTC months and days where they fit, hours at the edges. Pure; reading is read-report.ts's.
import type { Granularity, Period } from '#domain/books.ts';
import { isMonthEdge } from '#domain/window.ts';
import { ReportParameterError } from './report-error.ts';

/** One read of the plan: the period is aligned to its granularity. */
export interface CoverPart {
  readonly period: Period;
  readonly granularity: Granularity;
}

export interface CoverRequest {
  /** Whole UTC hours. */
  readonly period: Period;
  /** The coarsest cells that still tell what is asked. */
  readonly coarsest: Granularity;
  /** Epoch second of now: no cell lies later, so a period that reaches beyond it may be read in coarser cells. */
  readonly now: number;
}

/**
 * Hour cells are kept this long (settlement.md, "Records, hours, months"); days, months and the hours of a month's first and last UTC day
 * for `retention.rollups`.
 */
export const HOUR_CELL_SECONDS = 35 * 86_400;

/** Gateways may be 2 s ahead of the store (settlement.md, "Terms"); the rest is time for the reads themselves. */
const AHEAD_SECONDS = 60;

/**
 * Disjoint reads that cover exactly the cells of the period, in order. Throws a ReportParameterError when hour cells would be needed
 * that are older than 35 days and not at the edge of a month.
 */
export function coverPeriod(request: CoverRequest): readonly CoverPart[] {
  const parts: CoverPart[] = [];
  const end = request.period.to > request.now + AHEAD_SECONDS ? Infinity : request.period.to;
  let at = request.period.from;
  while (at < request.period.to) {
    const granularity = coarsestAt(at, end, request.coarsest);
    if (granularity === 'hour') checkKept(at, request.now);
    const next = nextStart(at, granularity);
    const last = parts.at(-1);
    if (last !== undefined && last.granularity === granularity) {
      parts[parts.length - 1] = { granularity, period: { from: last.period.from, to: next } };
    } else {
      parts.push({ granularity, period: { from: at, to: next } });
    }
    at = next;
  }
  return parts;
}

/** First second of the UTC hour, day or month that holds an instant (epoch seconds). */
export function startOf(epochSeconds: number, granularity: Granularity): number {
  if (granularity === 'hour') return Math.floor(epochSeconds / 3600) * 3600;
  if (granularity === 'day') return Math.floor(epochSeconds / 86_400) * 86_400;
  const date = new Date(epochSeconds * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth()) / 1000;
}

/** First second of the UTC hour, day or month after the one that holds an instant (epoch seconds). */
export function nextStart(epochSeconds: number, granularity: Granularity): number {
  if (granularity === 'hour') return startOf(epochSeconds, 'hour') + 3600;
  if (granularity === 'day') return startOf(epochSeconds, 'day') + 86_400;
  const date = new Date(epochSeconds * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1) / 1000;
}

const COARSE_FIRST = ['month', 'day', 'hour'] as const;

function coarsestAt(at: number, end: number, coarsest: Granularity): Granularity {
  const allowed = COARSE_FIRST.slice(COARSE_FIRST.indexOf(coarsest));
  return allowed.find((unit) => startOf(at, unit) === at && nextStart(at, unit) <= end) ?? 'hour';
}

function checkKept(hour: number, now: number): void {
  if (hour >= now - HOUR_CELL_SECONDS || isMonthEdge(hour)) return;
  throw new ReportParameterError(
    'from',
    'hour figures are kept 35 days; for older periods use whole months, or whole UTC days (timezone UTC, from and to at midnight)',
  );
}
