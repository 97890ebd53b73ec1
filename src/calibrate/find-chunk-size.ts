// How many prompt tokens the engine computes in one iteration (chunked prefill): seen in the gaps between the tokens of a
// companion stream, which gets one token per iteration whatever else is computed in it.

/** What the companion saw while a prompt of `promptTokens` was computed beside it. Gaps in ms, in order. */
export interface CompanionGaps {
  readonly promptTokens: number;
  /** Usual gap while nothing else ran. */
  readonly baseMs: number;
  readonly gapsMs: readonly number[];
}

/** A gap with a chunk in it is longer than the usual one by this part of the longest excess. */
const CHUNK_EXCESS_SHARE = 0.2;
/** Excess below which nothing can be told: jitter. */
const EXCESS_MIN_MS = 3;
/** Servers are set to powers of two nearly always; an estimate this near to one (as a ratio) means it. */
const POWER_RATIO_MAX = 1.35;

/**
 * Most prompt tokens of an iteration; null where the prompt was computed in one. A chunk that is not the last is full, so the size is the
 * prompt's length times a full chunk's part of the excess time.
 */
export function findChunkSize({ promptTokens, baseMs, gapsMs }: CompanionGaps): number | null {
  const excess = readExcess(gapsMs, baseMs);
  const longest = Math.max(0, ...excess);
  if (longest < EXCESS_MIN_MS) return null;
  const chunks = excess.filter((ms) => ms >= CHUNK_EXCESS_SHARE * longest);
  if (chunks.length < 2) return null;
  const total = chunks.reduce((sum, ms) => sum + ms, 0);
  // The last chunk is the rest; the others are equally long, though later ones read more context.
  const full = chunks.slice(0, -1);
  const mean = full.reduce((sum, ms) => sum + ms, 0) / full.length;
  // A rest shorter than the least share goes unseen.
  const bounds = { min: promptTokens / (chunks.length + CHUNK_EXCESS_SHARE), max: promptTokens / (chunks.length - 1) };
  const estimate = Math.min(Math.max((promptTokens * mean) / total, bounds.min), bounds.max);
  const power = 2 ** Math.round(Math.log2(estimate));
  const ratio = Math.max(power / estimate, estimate / power);
  // The companion's own token may count against the limit of an iteration.
  const fits = power >= bounds.min * 0.99 && power <= bounds.max * 1.03;
  return ratio <= POWER_RATIO_MAX && fits ? power : Math.round(estimate);
}

/** A token that came late makes its gap longer and the next as much shorter: what is missing there is taken back here. */
function readExcess(gapsMs: readonly number[], baseMs: number): readonly number[] {
  return gapsMs.map((gapMs, index) => {
    const missingMs = Math.max(0, baseMs - (gapsMs[index + 1] ?? baseMs));
    return Math.max(0, gapMs - baseMs - missingMs);
  });
}
