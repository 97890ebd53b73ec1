// Attempts of closed months that are counted in a day of an open one, from the day's own entries. Not here: why they are (domain/relabel-claim.ts).
import type { LedgerReader } from '#domain/ledger.ts';
import { relabelClaim } from '#domain/relabel-claim.ts';
import type { CellIncrement } from '#domain/settlement.ts';

const DAY_SECONDS = 86_400;
const ENTRIES_AT_ONCE = 64;

/** Attempts and rejections that stand in the UTC day (its first epoch second) and ended before the month was open. */
export async function countMovedIn(ledger: LedgerReader, day: number): Promise<bigint> {
  const names = await ledger.listEntries(day);
  let moved = 0n;
  for (let i = 0; i < names.length; i += ENTRIES_AT_ONCE) {
    for (const entry of await ledger.readEntries(day, names.slice(i, i + ENTRIES_AT_ONCE))) {
      const claim = entry?.message.claim ?? null;
      if (entry === null || claim === null) continue;
      const effects = relabelClaim(entry.message, claim, entry.closedThrough);
      moved += countIn(day, effects.increments) - countIn(day, claim.increments);
    }
  }
  return moved;
}

function countIn(day: number, increments: readonly CellIncrement[]): bigint {
  return increments
    .filter(({ hour }) => hour >= day && hour < day + DAY_SECONDS)
    .reduce((sum, { metrics }) => sum + BigInt(metrics.attempts ?? '0') + BigInt(metrics.rejectedRequests ?? '0'), 0n);
}
