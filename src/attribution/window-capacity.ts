// What time costs: capacity of runs of windows in nanodollars, in closed form, so that an hour sums to its price exactly.
// Not here: how a window's capacity is divided (freeze-window.ts), which windows are provisioned (accounting/provisioning.ts).
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';

/**
 * Capacity of the windows `from` … `to` (inclusive, within one UTC hour) at R nanodollars per pool-hour:
 * ⌊R(s2+1)/3600⌋ − ⌊R·s1/3600⌋ with s the second of the hour. It telescopes: the sum over single windows is the same, and a whole hour
 * is R. Throws RangeError when the run crosses an hour. Source: settlement.md. R = 2.5e9: seconds 0, 1, 2 → 694444, 694444, 694445.
 */
export function capacityNanoUsd(hourNanoUsd: bigint, from: number, to: number): bigint {
  const hour = hourOf(from);
  if (to < from || hourOf(to) !== hour) throw new RangeError(`no run of windows within one hour: ${from} to ${to}`);
  const perHour = BigInt(SECONDS_PER_HOUR);
  return (hourNanoUsd * BigInt(to - hour + 1)) / perHour - (hourNanoUsd * BigInt(from - hour)) / perHour;
}
