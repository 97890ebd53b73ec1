// What a report's rows do not say by themselves: work still to be settled, work that came too late, work nobody can be named for. Pure.
import type { Period } from '#domain/books.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { ReportSource } from './read-report.ts';
import type { ReportCorrection, ReportOutstanding } from './report-shape.ts';

export interface OutstandingRequest {
  readonly source: Pick<ReportSource, 'cells' | 'status'>;
  readonly period: Period;
  /** Of the period, of every team. */
  readonly corrections: readonly ReportCorrection[];
  readonly isClosed: boolean;
  readonly pendingNanoUsd: bigint;
  readonly unsettledRequests: number | null | undefined;
}

/** A closed period has nothing to wait for, and no count that goes on. */
export function sumOutstanding(request: OutstandingRequest): ReportOutstanding {
  const { source, corrections, isClosed, pendingNanoUsd, unsettledRequests = null } = request;
  const sum = (lines: readonly ReportCorrection[]): bigint => lines.reduce((total, { nanoUsd }) => total + nanoUsd, 0n);
  const charged = source.cells.reduce(
    (total, { team, metrics }) => (team === UNATTRIBUTED ? total + metrics.costNanoUsd : total),
    0n,
  );
  return {
    pendingNanoUsd,
    unfrozenSeconds: isClosed ? 0 : countUnfrozen(request),
    unsettledRequests: isClosed ? null : unsettledRequests,
    // The lines of one correction sum to 0: what it moved are those above 0.
    lateNanoUsd: sum(corrections.filter(({ kind, nanoUsd }) => kind === 'late' && nanoUsd > 0n)),
    lateWindowsOfAllPeriods: isClosed ? null : source.status.latePublications,
    unattributedNanoUsd: charged + sum(corrections.filter(({ team }) => team === UNATTRIBUTED)),
  };
}

/** Requests of these records that ended in the period, counted as in rows: a retried one once, rejected ones not. */
export function countUnsettled(records: readonly UsageRecord[], { from, to }: Period): number {
  const isMeant = ({ endedAtMs, lastAttempt, outcome }: UsageRecord) =>
    lastAttempt && outcome !== 'rejected' && endedAtMs >= from * 1000 && endedAtMs < to * 1000;
  return records.filter(isMeant).length;
}

function countUnfrozen({ source, period }: OutstandingRequest): number | null {
  const { frontier, nowMs } = source.status;
  if (frontier === null) return null;
  const passedTo = Math.min(period.to, Math.floor(nowMs / 1000));
  return Math.max(0, passedTo - Math.max(period.from, frontier + 1));
}
