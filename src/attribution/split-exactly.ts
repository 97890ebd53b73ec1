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
  if (total < 0n) throw new RangeError('a total to be split must not be negative');
  const shares = new Map<string, bigint>();
  let weightSum = 0n;
  for (const [id, weight] of weights) {
    if (weight < 0n) throw new RangeError(`the weight of ${id} is negative`);
    if (shares.has(id)) throw new RangeError(`the id ${id} stands twice in one split`);
    shares.set(id, 0n);
    weightSum += weight;
  }
  if (weightSum === 0n) return shares;
  let left = total;
  const remainders: { readonly id: string; readonly remainder: bigint }[] = [];
  for (const [id, weight] of weights) {
    const product = total * weight;
    const quotient = product / weightSum;
    shares.set(id, quotient);
    left -= quotient;
    const remainder = product % weightSum;
    // Without a remainder an id can never be among the `left` largest: those number at most the non-zero ones.
    if (remainder > 0n) remainders.push({ id, remainder });
  }
  if (left === 0n) return shares;
  remainders.sort(compareRemainders);
  for (const { id } of remainders.slice(0, Number(left))) shares.set(id, (shares.get(id) ?? 0n) + 1n);
  return shares;
}

function compareRemainders(
  a: { readonly id: string; readonly remainder: bigint },
  b: { readonly id: string; readonly remainder: bigint },
): number {
  if (a.remainder !== b.remainder) return a.remainder > b.remainder ? -1 : 1;
  return a.id < b.id ? -1 : 1;
}
