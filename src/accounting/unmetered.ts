// GPU activity that bypassed the gateway, moved out of idle once per pool and hour (settlement.md, Records, hours, months). Pure.
// Not here: who reads DCGM (telemetry), the freeze that carries the increments (frontier.ts).
import type { BookCell } from '#domain/books.ts';
import type { BookIncrement } from '#domain/settlement.ts';

/**
 * One increment per pool of a closed hour in which DCGM counted more activity than there was time with a request in flight: that part of the
 * capacity goes from idle to unmetered, ⌊capacity × ms ÷ (provisioned seconds × 1000)⌋, at most what is plainly idle (its sub-lines unavailable
 * and unobserved stay). Activity − time in flight is a lower bound: while requests of ours are in flight nobody can tell whose the activity
 * is, so nothing of ours is ever called unmetered. `books` are all of the hour; pools already reclassified are left alone.
 */
export function reclassifyUnmetered(books: readonly BookCell[]): readonly BookIncrement[] {
  return books.flatMap((book) => {
    const amount = unmeteredNanoUsd(book);
    if (amount <= 0n) return [];
    const { hour, pool, deployments, gpu } = book;
    return [
      {
        hour,
        pool,
        deployments,
        gpu,
        metrics: { idleNanoUsd: (-amount).toString(), unmeteredNanoUsd: amount.toString() },
      },
    ];
  });
}

function unmeteredNanoUsd({ metrics }: BookCell): bigint {
  const activeMs = metrics.deviceActiveMs - metrics.inFlightMs;
  if (activeMs <= 0n || metrics.provisionedSeconds <= 0n || metrics.unmeteredNanoUsd !== 0n) return 0n;
  const amount = (metrics.capacityNanoUsd * activeMs) / (metrics.provisionedSeconds * 1000n);
  const idle = metrics.idleNanoUsd - metrics.unavailableNanoUsd - metrics.unobservedNanoUsd;
  return amount < idle ? amount : idle;
}
