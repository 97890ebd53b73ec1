// Time zones of reports: only those whose offset is a whole number of hours, since the books are kept per UTC hour.
import { ReportParameterError } from './report-error.ts';

/** A checked IANA zone or fixed offset with the formatter that knows its offsets. */
export interface TimeZone {
  readonly name: string;
  readonly formatter: Intl.DateTimeFormat;
  /** Local date by UTC hour, filled as asked: a report asks for the same few hours for each of its cells. */
  readonly dayByHour: Map<number, string>;
}

/** Throws a ReportParameterError for an unknown zone. Whole hours are checked where the period is known (checkWholeHours). */
export function parseTimeZone(name: string): TimeZone {
  try {
    const formatter = new Intl.DateTimeFormat('en-US', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    });
    return { name, formatter, dayByHour: new Map() };
  } catch {
    throw new ReportParameterError(
      'timezone',
      `must be an IANA time zone such as Europe/Berlin, or UTC; got "${name}"`,
    );
  }
}

/** Seconds to add to UTC for local time at an instant (epoch seconds). Astronomical old offsets included. */
export function offsetAt(epochSeconds: number, { formatter }: TimeZone): number {
  const parts: Record<string, number> = {};
  for (const { type, value } of formatter.formatToParts(epochSeconds * 1000)) parts[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
  return Date.UTC(year, month - 1, day, hour, minute, second) / 1000 - epochSeconds;
}

/** Offsets hold for months: half an hour that comes and goes within a period (Lord Howe's winter) is met by looking once a week. */
const LOOK_SECONDS = 7 * 86_400;

/** Throws a ReportParameterError when the zone's offset is not whole hours all through a period (epoch seconds). */
export function checkWholeHours(zone: TimeZone, { from, to }: { readonly from: number; readonly to: number }): void {
  const isWhole = (instant: number): boolean => offsetAt(instant, zone) % 3600 === 0;
  let isWholeThroughout = isWhole(to);
  for (let instant = from; isWholeThroughout && instant < to; instant += LOOK_SECONDS)
    isWholeThroughout = isWhole(instant);
  if (isWholeThroughout) return;
  throw new ReportParameterError(
    'timezone',
    `${zone.name} is not whole hours from UTC; the books are kept per UTC hour, so use UTC or a zone of whole hours`,
  );
}

/** Epoch second of a local wall-clock time; of two equal ones the earlier, in a gap the instant after it. */
export function instantOf(local: { year: number; month: number; day: number; hour: number }, zone: TimeZone): number {
  const asUtc = Date.UTC(local.year, local.month - 1, local.day, local.hour) / 1000;
  const candidates = [asUtc - offsetAt(asUtc - 86_400, zone), asUtc - offsetAt(asUtc + 86_400, zone)];
  const exact = candidates.filter((instant) => instant + offsetAt(instant, zone) === asUtc);
  return exact.length > 0 ? Math.min(...exact) : Math.max(...candidates);
}

/** Local date of an instant (epoch seconds): `2026-11-01`. For zones of whole hours, where a UTC hour lies in one date. */
export function dayOf(epochSeconds: number, zone: TimeZone): string {
  const hour = Math.floor(epochSeconds / 3600);
  const known = zone.dayByHour.get(hour);
  if (known !== undefined) return known;
  const start = hour * 3600;
  const day = new Date((start + offsetAt(start, zone)) * 1000).toISOString().slice(0, 10);
  zone.dayByHour.set(hour, day);
  return day;
}
