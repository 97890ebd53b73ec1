// Dates, times of day, week days and time zones as they are written in the config. Zone arithmetic is not done here.

const DATE = /^(\d{4})-(\d{2})-(\d{2})$/;
const INSTANT = /^(\d{4}-\d{2}-\d{2})[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;
const DAY_NAMES = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** Epoch milliseconds of a date (midnight UTC) or an RFC 3339 instant; undefined if it is neither, or no real date. */
export function parseInstant(text: string): number | undefined {
  const date = DATE.test(text) ? text : INSTANT.exec(text)?.[1];
  if (date === undefined || !isRealDate(date)) return undefined;
  const epochMs = Date.parse(text.replace(' ', 'T').toUpperCase());
  return Number.isNaN(epochMs) ? undefined : epochMs;
}

/** Whether `YYYY-MM-DD` is a day of the calendar: `Date.parse` turns 30 February into 2 March; a price must not. */
export function isRealDate(date: string): boolean {
  const epochMs = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(epochMs) && new Date(epochMs).toISOString().startsWith(date);
}

/** Minutes after midnight of `HH:MM`, 0 … 1440 (`24:00`); undefined for anything else. */
export function parseMinuteOfDay(text: string): number | undefined {
  const match = /^(\d{1,2}):(\d{2})$/.exec(text);
  if (match === null) return undefined;
  const minute = Number(match[1]) * 60 + Number(match[2]);
  return Number(match[2]) < 60 && minute <= 1440 ? minute : undefined;
}

/**
 * ISO week days, ascending without repetition, of `mon-fri`, `sat,sun`, `fri-mon` and combinations; undefined for
 * anything else.
 */
export function parseWeekDays(text: string): readonly number[] | undefined {
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const names = part.trim().split('-');
    const first = DAY_NAMES.findIndex((day) => day === names[0]?.trim());
    const last = names.length === 1 ? first : DAY_NAMES.findIndex((day) => day === names[1]?.trim());
    if (names.length > 2 || first < 0 || last < 0) return undefined;
    for (let day = first; ; day = (day + 1) % DAY_NAMES.length) {
      days.add(day + 1);
      if (day === last) break;
    }
  }
  return [...days].sort((left, right) => left - right);
}

/** Whether the platform knows the IANA time zone `name`. */
export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
