// Windows: whole seconds of the store's clock, numbered by their epoch second, and the UTC hours that hold them.

/** Seconds in one hour: the grain of rollups and books. */
export const SECONDS_PER_HOUR = 3600;

/** Number of the window that holds an instant (epoch milliseconds): `1500.7` → `1`. */
export function windowOf(epochMs: number): number {
  return Math.floor(epochMs / 1000);
}

/** First second of the UTC hour that holds a window (both epoch seconds). */
export function hourOf(window: number): number {
  return window - (((window % SECONDS_PER_HOUR) + SECONDS_PER_HOUR) % SECONDS_PER_HOUR);
}

const SECONDS_PER_DAY = 86_400;

/**
 * Whether an instant (epoch seconds) lies in the first or last UTC day of a month: a month of any time zone begins and ends within such
 * days, so their hour figures are kept as long as those of whole days.
 */
export function isMonthEdge(epochSeconds: number): boolean {
  const month = monthOf(epochSeconds);
  return monthOf(epochSeconds - SECONDS_PER_DAY) !== month || monthOf(epochSeconds + SECONDS_PER_DAY) !== month;
}

function monthOf(epochSeconds: number): number {
  return new Date(epochSeconds * 1000).getUTCMonth();
}

/** RFC 3339 UTC without fraction: `0` → `1970-01-01T00:00:00Z`. */
export function formatSecond(epochSeconds: number): string {
  return new Date(epochSeconds * 1000).toISOString().replace('.000Z', 'Z');
}
