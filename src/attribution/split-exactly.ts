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
  let weightSum = 0n;
  for (const weight of weights) {
    if (weight < 0n) throw new RangeError(`the weight of ${ids[weights.indexOf(weight)] ?? ''} is negative`);
    weightSum += weight;
  }
  if (weightSum === 0n || total === 0n) return weights.map(() => 0n);
  let left = total;
  const remainders: bigint[] = [];
  const parts: bigint[] = [];
  for (const weight of weights) {
    // The whole weight needs no division: most splits among phases are of this kind.
    if (weight === weightSum) {
      parts.push(total);
      remainders.push(0n);
      left = 0n;
      continue;
    }
    const product = total * weight;
    const quotient = product / weightSum;
    parts.push(quotient);
    remainders.push(product - quotient * weightSum);
    left -= quotient;
  }
  if (left > 0n) addLeft(Number(left), ids, { parts, remainders });
  return parts;
}

/** One more for each of the `left` largest remainders: at least so many are not zero. */
function addLeft(
  left: number,
  ids: readonly string[],
  { parts, remainders }: { readonly parts: bigint[]; readonly remainders: readonly bigint[] },
): void {
  const order = [...remainders.keys()].filter((index) => remainders[index] !== 0n);
  order.sort((a, b) => {
    const [first, second] = [remainders[a] ?? 0n, remainders[b] ?? 0n];
    if (first !== second) return first > second ? -1 : 1;
    return (ids[a] ?? '') < (ids[b] ?? '') ? -1 : 1;
  });
  for (const index of order.slice(0, left)) parts[index] = (parts[index] ?? 0n) + 1n;
}
