// Divides an integer among weights without loss: the one function by which money and GPU time are shared out.
// Not here: what the weights are (work-model.ts).

/**
 * Shares of `total` in proportion to the weights, by largest remainder: each id gets ⌊total·w/Σw⌋, and one more goes to the
 * ids with the largest total·w mod Σw, ties to the smaller id (by UTF-16 code units, so that every process agrees).
 * Σ shares = `total` exactly, except that all shares are 0 when Σw = 0; the caller decides what that means.
 * Independent of the order of `weights`; the map keeps it. Throws RangeError on a negative total or weight, or a repeated id.
 * Source: settlement.md, Arithmetic. `splitExactly(231249n, [['A', 7n], ['B', 5n]])` → A 134895, B 96354.
 */
export function splitExactly(
  total: bigint,
  weights: readonly (readonly [id: string, weight: bigint])[],
): Map<string, bigint> {
  const ids = weights.map(([id]) => id);
  const parts = splitInOrder(
    total,
    ids,
    weights.map(([, weight]) => weight),
  );
  const shares = new Map<string, bigint>();
  for (const [index, id] of ids.entries()) {
    if (shares.has(id)) throw new RangeError(`the id ${id} stands twice in one split`);
    shares.set(id, parts[index] ?? 0n);
  }
  return shares;
}

/**
 * The same shares by position, for callers that split thousands of times a second: `weights[i]` belongs to `ids[i]`, and so does part i of
 * the answer. The caller knows that no id stands twice.
 */
export function splitInOrder(total: bigint, ids: readonly string[], weights: readonly bigint[]): bigint[] {
  if (total < 0n) throw new RangeError('a total to be split must not be negative');
  const parts: bigint[] = [];
  let weightSum = 0n;
  let first = -1;
  let last = -1;
  let count = 0;
  for (let index = 0; index < weights.length; index += 1) {
    const weight = weights[index] ?? 0n;
    parts.push(0n);
    if (weight === 0n) continue;
    if (weight < 0n) throw new RangeError(`the weight of ${ids[index] ?? ''} is negative`);
    weightSum += weight;
    if (count === 0) first = index;
    last = index;
    count += 1;
  }
  if (count === 0 || total === 0n) return parts;
  // Most splits are among one or two: an attempt's phases, or the attempts of a quiet window.
  if (count === 1) parts[first] = total;
  else if (count > 2) splitAmongMany(total, { ids, weights, weightSum, parts });
  else {
    const firstIsSmaller = (ids[first] ?? '') < (ids[last] ?? '');
    const part = splitInTwo(total, { weight: weights[first] ?? 0n, weightSum, winsTies: firstIsSmaller });
    parts[first] = part;
    parts[last] = total - part;
  }
  return parts;
}

/** The first part of two. Their remainders sum to Σw or are both 0, so that one unit at most is left, for the larger. */
function splitInTwo(
  total: bigint,
  { weight, weightSum, winsTies }: { readonly weight: bigint; readonly weightSum: bigint; readonly winsTies: boolean },
): bigint {
  const [numbers, divisor] = [Number(total), Number(weightSum)];
  // Below 2^53 floats are integers, too, and make no garbage.
  if (numbers * divisor <= Number.MAX_SAFE_INTEGER) {
    const product = numbers * Number(weight);
    const remainder = product % divisor;
    const other = divisor - remainder;
    const isMore = remainder !== 0 && (remainder > other || (remainder === other && winsTies));
    return BigInt((product - remainder) / divisor + (isMore ? 1 : 0));
  }
  const product = total * weight;
  const quotient = product / weightSum;
  const remainder = product - quotient * weightSum;
  const other = weightSum - remainder;
  const isMore = remainder !== 0n && (remainder > other || (remainder === other && winsTies));
  return isMore ? quotient + 1n : quotient;
}

interface Split {
  readonly ids: readonly string[];
  readonly weights: readonly bigint[];
  readonly weightSum: bigint;
  /** Filled here. */
  readonly parts: bigint[];
}

function splitAmongMany(total: bigint, split: Split): void {
  const { weights, weightSum, parts } = split;
  const remainders = new Float64Array(weights.length);
  let left = total;
  for (let index = 0; index < weights.length; index += 1) {
    const weight = weights[index] ?? 0n;
    if (weight === 0n) continue;
    const product = total * weight;
    const quotient = product / weightSum;
    parts[index] = quotient;
    remainders[index] = Number(product - quotient * weightSum);
    left -= quotient;
  }
  if (left > 0n) addLeft(total, split, { left: Number(left), remainders });
}

/**
 * One more for each of the `left` largest remainders: at least so many are not zero. Rounded to floats their order stays, but for those that become
 * equal; only these are compared exactly.
 */
function addLeft(
  total: bigint,
  { ids, weights, weightSum, parts }: Split,
  { left, remainders }: { readonly left: number; readonly remainders: Float64Array },
): void {
  const least = remainders.toSorted()[remainders.length - left] ?? 0;
  const ties: number[] = [];
  let wanted = left;
  for (let index = 0; index < remainders.length; index += 1) {
    const remainder = remainders[index] ?? 0;
    if (remainder === least) ties.push(index);
    if (remainder <= least) continue;
    parts[index] = (parts[index] ?? 0n) + 1n;
    wanted -= 1;
  }
  const exactly = (index: number): bigint => (total * (weights[index] ?? 0n)) % weightSum;
  if (ties.length > wanted) {
    ties.sort((a, b) => {
      const difference = exactly(b) - exactly(a);
      if (difference !== 0n) return difference > 0n ? 1 : -1;
      return (ids[a] ?? '') < (ids[b] ?? '') ? -1 : 1;
    });
  }
  for (const index of ties.slice(0, wanted)) parts[index] = (parts[index] ?? 0n) + 1n;
}
