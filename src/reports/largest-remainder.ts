// Divides an integer amount without losing or inventing a unit: for idle shares and for the cents of a report.

/**
 * Splits `total` in proportion to `weights` (not negative, same order as the result): every share is floored, the units left over go
 * to the largest remainders, ties to the earlier index. The shares sum to `total` exactly; all are 0 when the weights sum to 0.
 * Source: attribution-and-finops.md §5.10 (Hamilton's method). Example: 100 by [1, 1, 1] → [34, 33, 33].
 */
export function splitByLargestRemainder(total: bigint, weights: readonly bigint[]): bigint[] {
  const sum = weights.reduce((all, weight) => all + weight, 0n);
  if (sum === 0n) return weights.map(() => 0n);
  return roundToSum({ numerators: weights.map((weight) => total * weight), denominator: sum, total });
}

/**
 * Rounds nanodollar amounts to whole cents whose sum is the rounded (half up) sum of the amounts. Amounts may be negative.
 * Example: three rows of 3_333_333n (0.33 cents each) → [1n, 0n, 0n].
 */
export function roundToCents(amountsNanoUsd: readonly bigint[]): bigint[] {
  const sum = amountsNanoUsd.reduce((all, amount) => all + amount, 0n);
  const total = floorDivide(sum + NANO_PER_CENT / 2n, NANO_PER_CENT);
  return roundToSum({ numerators: amountsNanoUsd, denominator: NANO_PER_CENT, total });
}

/** `dividend / divisor` rounded half up, for a positive divisor: -1n / 2n → 0n, 3n / 2n → 2n. */
export function divideHalfUp(dividend: bigint, divisor: bigint): bigint {
  return floorDivide(2n * dividend + divisor, 2n * divisor);
}

const NANO_PER_CENT = 10_000_000n;

interface Rounding {
  readonly numerators: readonly bigint[];
  /** Positive. */
  readonly denominator: bigint;
  /** At least Σ floors, at most Σ floors + the number of shares. */
  readonly total: bigint;
}

function roundToSum({ numerators, denominator, total }: Rounding): bigint[] {
  const shares = numerators.map((numerator) => floorDivide(numerator, denominator));
  const remainders = numerators.map((numerator, index) => numerator - (shares[index] ?? 0n) * denominator);
  const left = Number(total - shares.reduce((all, share) => all + share, 0n));
  const order = [...shares.keys()].sort((a, b) => compareDescending(remainders[a], remainders[b]) || a - b);
  for (const index of order.slice(0, left)) shares[index] = (shares[index] ?? 0n) + 1n;
  return shares;
}

function compareDescending(a: bigint | undefined, b: bigint | undefined): number {
  if (a === b || a === undefined || b === undefined) return 0;
  return a > b ? -1 : 1;
}

function floorDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  return dividend % divisor < 0n ? quotient - 1n : quotient;
}
