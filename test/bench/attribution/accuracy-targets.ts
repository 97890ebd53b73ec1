// What attribution is held to, and what a cell missed of it. Source: issue 4 and attribution.md, "Where the profile comes from".
import type { Cell } from './run-matrix.ts';

/** Errors as fractions. */
export const accuracyTargets = { median: 0.05, p95: 0.2, worstTeam: 0.05, idle: 0.01 } as const;

/** The targets this cell misses, by name; `books` where a nanodollar is missing, a publication was late or a record is not settled. */
export function missedTargets({ charges, books }: Cell): readonly string[] {
  const missed: string[] = [];
  if (charges.median > accuracyTargets.median) missed.push('median');
  if (charges.p95 > accuracyTargets.p95) missed.push('p95');
  if (Math.abs(charges.worstTeam.error) > accuracyTargets.worstTeam) missed.push('team');
  if (books === null) return missed;
  if (Math.abs(books.idleError) > accuracyTargets.idle) missed.push('idle');
  if (books.differenceNanoUsd !== 0n || books.residualGpuMicros !== 0n || books.unsettled > 0) missed.push('books');
  return missed;
}

/** True where the cell may fail the run: exact books are asked of every source, accuracy of those that are held to it. */
export function failsRun(cell: Cell): boolean {
  const missed = missedTargets(cell);
  return cell.held ? missed.length > 0 : missed.includes('books');
}
