// Which span of time a report covers, from the words a person typed. Reading the cells of it is read-report.ts's.
import { SECONDS_PER_HOUR } from '#domain/window.ts';
import { ReportParameterError } from './report-error.ts';
import { checkWholeHours, instantOf, offsetAt, parseTimeZone } from './time-zone.ts';
import type { TimeZone } from './time-zone.ts';

/** Epoch seconds, `from` inclusive, `to` exclusive. `from` is a whole hour; `to` is one too unless it is "now". */
export interface ReportPeriod {
  readonly from: number;
  readonly to: number;
  readonly timezone: TimeZone;
}

export interface PeriodRequest {
  readonly month?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly timezone?: string | undefined;
}

/** Longest period of one report: retention keeps no more, and it bounds what is read. */
const PERIOD_MAX_SECONDS = 800 * 86_400;

/**
 * `month` or `from`/`to` (dates or RFC 3339 of whole hours) in the time zone; without either this month until now, and `to` alone
 * missing means now. Throws a ReportParameterError naming the parameter.
 */
export function parsePeriod(request: PeriodRequest, nowMs: number): ReportPeriod {
  const timezone = parseTimeZone(request.timezone ?? 'UTC');
  const now = Math.floor(nowMs / 1000);
  const period = request.month === undefined ? parseSpan(request, timezone, now) : parseMonth(request, timezone);
  if (period.from >= period.to) throw new ReportParameterError('to', 'must be later than from');
  if (period.to - period.from > PERIOD_MAX_SECONDS) {
    throw new ReportParameterError('to', 'must be at most 800 days after from');
  }
  checkWholeHours(timezone, period);
  return { ...period, timezone };
}

/** The next whole hour at or after an instant (epoch seconds): what has to be read to cover it. */
export function ceilHour(epochSeconds: number): number {
  return Math.ceil(epochSeconds / SECONDS_PER_HOUR) * SECONDS_PER_HOUR;
}

/** Years of four digits that begin with none: `Date.UTC` reads 26 as 1926. */
const MONTH = /^([1-9]\d{3})-(0[1-9]|1[0-2])$/;
const INSTANT =
  /^([1-9]\d{3})-(\d{2})-(\d{2})(?:[Tt ](\d{2}):00(?::00(?:\.0+)?)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?$/;

interface Span {
  readonly from: number;
  readonly to: number;
}

function parseMonth(request: PeriodRequest, timezone: TimeZone): Span {
  if (request.from !== undefined || request.to !== undefined) {
    throw new ReportParameterError('month', 'cannot stand beside from or to; give one of them');
  }
  const match = MONTH.exec(request.month ?? '');
  if (match === null) throw new ReportParameterError('month', `must look like 2026-11; got "${request.month ?? ''}"`);
  const start = { year: Number(match[1]), month: Number(match[2]), day: 1, hour: 0 };
  return { from: instantOf(start, timezone), to: instantOf({ ...start, month: start.month + 1 }, timezone) };
}

function parseSpan(request: PeriodRequest, timezone: TimeZone, now: number): Span {
  const to = request.to === undefined ? now : parseInstant('to', request.to, timezone);
  if (request.from !== undefined) return { from: parseInstant('from', request.from, timezone), to };
  if (request.to !== undefined) throw new ReportParameterError('from', 'is required where to is given');
  const local = new Date((now + offsetAt(now, timezone)) * 1000);
  const start = { year: local.getUTCFullYear(), month: local.getUTCMonth() + 1, day: 1, hour: 0 };
  const from = instantOf(start, timezone);
  // At the first instant of a month there is nothing to report yet but the hour that begins.
  return { from, to: Math.max(to, from + 1) };
}

function parseInstant(parameter: string, text: string, timezone: TimeZone): number {
  const expectation = `must be a date such as 2026-11-01 or a whole hour such as 2026-11-01T08:00:00Z; got "${text}"`;
  const match = INSTANT.exec(text);
  if (match === null) throw new ReportParameterError(parameter, expectation);
  const local = { year: Number(match[1]), month: Number(match[2]), day: Number(match[3]), hour: Number(match[4] ?? 0) };
  const asUtc = new Date(Date.UTC(local.year, local.month - 1, local.day, local.hour));
  const real = asUtc.getUTCMonth() + 1 === local.month && asUtc.getUTCDate() === local.day && local.hour < 24;
  if (!real) throw new ReportParameterError(parameter, expectation);
  const instant = match[5] === undefined ? instantOf(local, timezone) : asUtc.getTime() / 1000 - parseOffset(match[5]);
  if (instant % SECONDS_PER_HOUR !== 0 && match[5] !== undefined)
    throw new ReportParameterError(parameter, expectation);
  return instant;
}

/** `Z` → 0, `+01:00` → 3600 (seconds). */
function parseOffset(text: string): number {
  if (text.toUpperCase() === 'Z') return 0;
  const seconds = Number(text.slice(1, 3)) * 3600 + Number(text.slice(4, 6)) * 60;
  return text.startsWith('-') ? -seconds : seconds;
}
