// The part of a claim's check that needs no store: its own sums, in bigint. What it is due is checked by each store.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CELL_METRICS, type Claim } from '#domain/settlement.ts';

/** Records have no part in it. */
type CheckedClaim = Omit<Claim, 'records'>;

const INTEGER = /^-?\d{1,18}$/;

/** Lines that are summed between two turns of the event loop. */
const LINES_PER_TURN = 512;

/**
 * True when every amount is a decimal integer of at most 18 digits (so that it fits 64 bits) and
 * Σ lines = Σ increments' costNanoUsd = Σ pools = totalNanoUsd. A claim for which it is false is skipped by both stores.
 */
export function claimBalances(claim: CheckedClaim): boolean {
  return balancesWith(claim, sumLines(claim.lines));
}

/** The same, while the event loop turns. */
export async function claimBalancesInTurns(claim: CheckedClaim): Promise<boolean> {
  const { lines } = claim;
  let sum: bigint | null = 0n;
  for (let from = 0; from < lines.length && sum !== null; from += LINES_PER_TURN) {
    const part = sumLines(lines.slice(from, from + LINES_PER_TURN));
    sum = part === null ? null : sum + part;
    await nextTurn();
  }
  return balancesWith(claim, sum);
}

function balancesWith(claim: CheckedClaim, lines: bigint | null): boolean {
  if (!INTEGER.test(claim.totalNanoUsd) || claim.k < claim.k0) return false;
  const pools = sumExactly(claim.pools.map((part) => part.nanoUsd));
  const cells = sumExactly(claim.increments.map((increment) => increment.metrics.costNanoUsd ?? '0'));
  const total = BigInt(claim.totalNanoUsd);
  return lines === total && pools === total && cells === total && claim.increments.every(hasIntegerMetrics);
}

function sumLines(lines: Claim['lines']): bigint | null {
  return sumExactly(lines.map((line) => line.costNanoUsd));
}

function hasIntegerMetrics({ metrics }: Claim['increments'][number]): boolean {
  return CELL_METRICS.every((metric) => {
    const value = metrics[metric];
    return value === undefined || INTEGER.test(value);
  });
}

/** Null when any amount is not a decimal integer. */
function sumExactly(amounts: readonly string[]): bigint | null {
  let sum = 0n;
  for (const amount of amounts) {
    if (!INTEGER.test(amount)) return null;
    sum += BigInt(amount);
  }
  return sum;
}
