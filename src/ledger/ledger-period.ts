// Days and periods on the command line of `ledger`: UTC dates or instants at a whole hour. Not here: local time zones (reports).

/** A flag that cannot be used: exit 2. */
export class LedgerFlagError extends Error {
  override name = 'LedgerFlagError';
}

const DAY_SECONDS = 86_400;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:00(:00(\.0+)?)?Z$/;

/** Epoch second of `2026-11-22` (its first) or `2026-11-22T10:00Z`; null for undefined. Throws LedgerFlagError. */
export function parseHour(flag: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const epochMs = DATE.test(text) || INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  const isReal = Number.isFinite(epochMs) && new Date(epochMs).toISOString().startsWith(text.slice(0, 10));
  if (!isReal) {
    throw new LedgerFlagError(
      `${flag} must be a UTC day such as 2026-11-22, or a whole hour such as 2026-11-22T10:00Z`,
    );
  }
  return epochMs / 1000;
}

/** First epoch second of the UTC day `2026-11-22`. Throws LedgerFlagError. */
export function parseDay(flag: string, text: string): number {
  if (!DATE.test(text)) throw new LedgerFlagError(`${flag} must be a UTC day such as 2026-11-22`);
  return parseHour(flag, text) ?? 0;
}

/** First seconds of the UTC days from `from` (inclusive) to `to` (exclusive). */
export function listDays(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / DAY_SECONDS)) }, (_, i) => from + i * DAY_SECONDS);
}

/** `2026-11-22` of the first second of a UTC day. */
export function formatDay(day: number): string {
  return new Date(day * 1000).toISOString().slice(0, 10);
}
