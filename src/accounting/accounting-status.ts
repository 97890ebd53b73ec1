// What readiness and metrics ask of accounting. Read only.
import type { PrefillPlace } from '#domain/metering.ts';
import { windowOf } from '#domain/window.ts';
import type { WantedFacts } from './pool-facts-from-config.ts';
import type { SyncLoop, SyncParts } from './sync-loop.ts';

export interface AccountingStatus {
  readonly storeUp: boolean;
  /** False while the journal cannot be written: not ready. */
  readonly journalOk: boolean;
  /** Messages the store has not acknowledged, and records not settled. */
  readonly journalPending: number;
  readonly unsettledRecords: number;
  /** Records held by the journal alone since there were too many: they settle at no cost after the next start. */
  readonly parkedRecords: number;
  /** Lines that the death of this process would lose, since the disk does not take them; and those that are lost already. */
  readonly journalLinesAtRisk: number;
  /** Writes to the journal that failed since the start. */
  readonly journalFailedLines: number;
  /** Seconds from the last frozen window to now; null before the store was joined. */
  readonly settlementLagSeconds: number | null;
  /** Publications that came after their window was frozen. */
  readonly lateCount: number;
  readonly skippedClaims: number;
  /** Attempts of which more (or less) was sealed than they turned out to have done, with no window left to correct it. */
  readonly overEstimates: number;
  readonly underEstimates: number;
  /** By deployment: GPU seconds in flight that are not sealed yet, at most. */
  readonly residualGpuSeconds: () => ReadonlyMap<string, number>;
  /** How often the store was seen to have lost what it had acknowledged. */
  readonly rollbacks: number;
  /** Journals of dead processes that this one settles now. */
  readonly adoptedJournals: number;
  /** Last frozen window as this process knows it. */
  readonly frontier: number | null;
  readonly sealedThrough: number | null;
  /** Why nothing is posted any more, or null. */
  readonly stoppedBecause: string | null;
  /** Posting is stopped only until the store has the books of this journal again. */
  readonly awaitsBooks: boolean;
}

/** A snapshot; costs nothing, but for `residualGpuSeconds`, which passes over the attempts that are not sealed. */
export function readStatus(
  parts: SyncParts,
  loop: SyncLoop,
  wantedFacts: () => ReadonlyMap<string, WantedFacts>,
): AccountingStatus {
  const { session, journal, messages, registry, clock } = parts;
  const frontier = session.reply?.frontier ?? null;
  const nowMs = clock.epochMs();
  return {
    storeUp: session.up,
    journalOk: journal.ok && !journal.isRemoved,
    journalPending: messages.pendingCount,
    unsettledRecords: registry.size,
    parkedRecords: registry.parkedCount,
    journalLinesAtRisk: journal.linesAtRisk,
    journalFailedLines: journal.failedLines,
    settlementLagSeconds: frontier === null ? null : Math.max(0, windowOf(nowMs) - frontier),
    lateCount: loop.counters.late,
    skippedClaims: loop.counters.skippedClaims,
    overEstimates: loop.counters.overEstimates,
    underEstimates: loop.counters.underEstimates,
    rollbacks: loop.counters.rollbacks,
    adoptedJournals: 0,
    residualGpuSeconds: () => readResidual(parts, wantedFacts(), nowMs),
    frontier,
    sealedThrough: messages.head.sealedThrough,
    stoppedBecause: loop.stoppedBecause,
    awaitsBooks: loop.isForeign,
  };
}

/** Time since the oldest unsealed work of each deployment began, at most back to what is sealed, times the pool's GPUs. */
function readResidual(
  { registry, messages }: SyncParts,
  facts: ReadonlyMap<string, WantedFacts>,
  nowMs: number,
): ReadonlyMap<string, number> {
  const sealedMs = ((messages.head.sealedThrough ?? 0) + 1) * 1000;
  const gpuSeconds = new Map<string, number>();
  for (const { start, features } of registry.unsealed()) {
    if (start === null || features === null) continue;
    const endMs = features.endMs ?? nowMs;
    const add = ({ pool, deployment }: PrefillPlace, fromMs: number, toMs: number) => {
      const busyMs = Math.max(0, toMs - Math.max(sealedMs, fromMs));
      const gpus = (facts.get(pool)?.gpuMillionths ?? 1_000_000) / 1_000_000;
      gpuSeconds.set(deployment, Math.max(gpuSeconds.get(deployment) ?? 0, (busyMs / 1000) * gpus));
    };
    // Where the first token is not seen, either side may have worked all the time.
    const { prefillBy, startMs } = start;
    if (prefillBy !== undefined) add(prefillBy, startMs, features.firstContentMs ?? endMs);
    add(start, prefillBy === undefined ? startMs : (features.firstContentMs ?? startMs), endMs);
  }
  return gpuSeconds;
}
