// A weekly schedule in local time as spans of UTC windows, over daylight saving. Not here: what the spans are used for (provisioning.ts).
import type { ScheduleRule } from '#domain/pool-facts.ts';

/** Inclusive range of windows. */
export type Span = readonly [from: number, to: number];

const DAY_SECONDS = 86_400;
const MINUTES_PER_DAY = 1440;
/** No zone lies further off UTC than 14 h; the rest is margin. */
const OFFSET_MAX_SECONDS = 16 * 3600;

/** One formatter per zone; the tz database has some 600 names, and only names a config holds come here. */
const formatters = new Map<string, Intl.DateTimeFormat>();

/**
 * Spans of windows in which any rule says "provisioned", clipped to `from` … `to` (inclusive), ascending and disjoint.
 * A rule's span begins on each of its local week days at `fromMinute` and ends before `toMinute`, on the next day when that is not later.
 * Where clocks go back, the span runs from the first to the last instant that shows its times; where they go forward over one of its
 * times, that time is the instant of the change. Throws RangeError on an unknown zone.
 */
export function findScheduledSpans(
  rules: readonly ScheduleRule[],
  range: { readonly from: number; readonly to: number },
): readonly Span[] {
  const spans: [number, number][] = [];
  // Two days of margin on either side: a zone may be a day away from UTC, and a span may run into the next day.
  const firstDay = Math.floor(range.from / DAY_SECONDS) - 2;
  const lastDay = Math.floor(range.to / DAY_SECONDS) + 2;
  for (const rule of rules) {
    const endMinute = rule.toMinute > rule.fromMinute ? rule.toMinute : rule.toMinute + MINUTES_PER_DAY;
    for (let day = firstDay; day <= lastDay; day += 1) {
      const localStart = day * DAY_SECONDS + rule.fromMinute * 60;
      const localEnd = day * DAY_SECONDS + endMinute * 60;
      const far = localStart - OFFSET_MAX_SECONDS > range.to || localEnd + OFFSET_MAX_SECONDS < range.from;
      if (far || !rule.days.includes(isoWeekday(day))) continue;
      const start = findInstants(localStart, rule.timezone).first;
      const end = findInstants(localEnd, rule.timezone).last - 1;
      if (end >= range.from && start <= range.to && start <= end) {
        spans.push([Math.max(start, range.from), Math.min(end, range.to)]);
      }
    }
  }
  return joinSpans(spans);
}

/** 1 Monday … 7 Sunday of a day counted from 1970-01-01, a Thursday. */
function isoWeekday(day: number): number {
  return ((((day + 3) % 7) + 7) % 7) + 1;
}

function joinSpans(spans: readonly [number, number][]): readonly Span[] {
  const joined: [number, number][] = [];
  for (const span of spans.toSorted((a, b) => a[0] - b[0])) {
    const previous = joined.at(-1);
    if (previous !== undefined && span[0] <= previous[1] + 1) previous[1] = Math.max(previous[1], span[1]);
    else joined.push([...span]);
  }
  return joined;
}

/** UTC seconds at which a zone's clocks show a local time (seconds as if it were UTC): once, twice, or at the change that skipped it. */
function findInstants(localSeconds: number, timezone: string): { readonly first: number; readonly last: number } {
  const offsetBefore = offsetSeconds(localSeconds - DAY_SECONDS, timezone);
  const offsetAfter = offsetSeconds(localSeconds + DAY_SECONDS, timezone);
  const byBefore = localSeconds - offsetBefore;
  if (offsetBefore === offsetAfter) return { first: byBefore, last: byBefore };
  const byAfter = localSeconds - offsetAfter;
  const showsBefore = offsetSeconds(byBefore, timezone) === offsetBefore;
  const showsAfter = offsetSeconds(byAfter, timezone) === offsetAfter;
  if (showsBefore || showsAfter) {
    return { first: showsBefore ? byBefore : byAfter, last: showsAfter ? byAfter : byBefore };
  }
  const change = findChange(byAfter, byBefore, timezone);
  return { first: change, last: change };
}

/** First second after `low` with the offset of `high`. */
function findChange(low: number, high: number, timezone: string): number {
  const offset = offsetSeconds(high, timezone);
  let before = low;
  let after = high;
  while (after - before > 1) {
    const middle = Math.floor((before + after) / 2);
    if (offsetSeconds(middle, timezone) === offset) after = middle;
    else before = middle;
  }
  return after;
}

function offsetSeconds(epochSeconds: number, timezone: string): number {
  const parts = readFormatter(timezone).formatToParts(epochSeconds * 1000);
  const valueOf = (type: Intl.DateTimeFormatPartTypes): number =>
    Number(parts.find((part) => part.type === type)?.value);
  const local = Date.UTC(
    valueOf('year'),
    valueOf('month') - 1,
    valueOf('day'),
    valueOf('hour'),
    valueOf('minute'),
    valueOf('second'),
  );
  return Math.round(local / 1000) - epochSeconds;
}

function readFormatter(timezone: string): Intl.DateTimeFormat {
  const known = formatters.get(timezone);
  if (known !== undefined) return known;
  const formatter = new Intl.DateTimeFormat('en-US', {
    timeZone: timezone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  });
  formatters.set(timezone, formatter);
  return formatter;
}
