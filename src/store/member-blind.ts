// The ranges of windows in which a member was not running, as a store keeps them: bounded, trimmed behind the frontier.

/** Inclusive. */
export type WindowRange = readonly [from: number, to: number];

/** A member that restarts more often than this between two freezes has its oldest ranges joined into one. */
const RANGES_MAX = 64;

/** `known` and `added` without what ends at or before the frontier; never more than RANGES_MAX ranges. */
export function mergeBlind(
  known: readonly WindowRange[],
  added: readonly WindowRange[],
  frontier: number,
): WindowRange[] {
  const ranges = [...known, ...added].filter(([from, to]) => from <= to && to > frontier);
  while (ranges.length > RANGES_MAX) {
    const [first, second, ...rest] = ranges;
    if (first === undefined || second === undefined) break;
    ranges.splice(0, ranges.length, [Math.min(first[0], second[0]), Math.max(first[1], second[1])], ...rest);
  }
  return ranges;
}
