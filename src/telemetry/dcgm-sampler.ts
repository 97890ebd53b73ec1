// From page to page of a DCGM exporter: joules used and how active the GPUs were. State of one set of GPUs.
// Not here: the page (dcgm-text.ts), asking for it (create-telemetry.ts).
import type { GpuReading } from './dcgm-text.ts';
import type { KnownStretch } from './iteration-coverage.ts';

/** What one page added. Instants are ms of our monotonic clock. */
export interface DeviceSample {
  readonly joules: number;
  /** Activity between two collections of the exporter, mean over the GPUs; null while the page has not changed, or does not tell. */
  readonly active: KnownStretch | null;
  /** A stretch of time that may stand for busy time: known to its second, at most as busy as said. */
  readonly busy: KnownStretch | null;
}

/** After a longer silence nothing is said of the time between: the exporter, or the one who asked before, was away. */
const SILENCE_MAX_MS = 120_000;
/** Coarser collections cannot tell one second from the next. */
const BUSY_SAMPLE_MAX_MS = 1500;
/** More than any GPU draws: a counter that jumps further was not counting. */
const WATTS_MAX = 5000;

/** Monitoring itself, and rounding, show an idle GPU at a fraction of a percent. */
const NOISE = 0.01;

interface Collection {
  readonly atMs: number;
  readonly readings: readonly GpuReading[];
}

/** Feed it every page, in order. */
export class DcgmSampler {
  #last: Collection | null = null;
  /** The newest collection whose length is known: it ended when the page changed. */
  #collected: (KnownStretch & { readonly isFine: boolean }) | null = null;

  /** `readings` of one page, read at `atMs`; `share` of these GPUs is ours (a fraction under MIG, or of an exporter that shows more). */
  take(readings: readonly GpuReading[], atMs: number, share: number): DeviceSample {
    const last = this.#last;
    if (last === null || atMs - last.atMs > SILENCE_MAX_MS) {
      this.#last = { atMs, readings };
      this.#collected = null;
      return { joules: 0, active: null, busy: null };
    }
    if (!hasChanged(last.readings, readings)) return { joules: 0, active: null, busy: null };
    this.#last = { atMs, readings };
    const lengthMs = atMs - last.atMs;
    const active = readActivity(readings, { fromMs: last.atMs, toMs: atMs });
    return {
      joules: share * sumJoules(last.readings, readings, lengthMs),
      active,
      busy: this.#collect(readings, active),
    };
  }

  /**
   * The exporter collects at some moment before the page is read, so that what the GPUs did between two pages stands in the page at its end or in the
   * next: the more active of both is an upper bound, and only that may take the place of time in flight.
   */
  #collect(readings: readonly GpuReading[], active: KnownStretch | null): KnownStretch | null {
    const before = this.#collected;
    const isFine = active !== null && readings.every(({ engineActive }) => engineActive !== null);
    this.#collected = active === null ? null : { ...active, isFine: isFine && isShort(active) };
    if (before === null || active === null || !before.isFine || !this.#collected?.isFine) return null;
    const ratio = Math.max(ratioOf(before), ratioOf(active));
    return { fromMs: before.fromMs, toMs: before.toMs, busyMs: ratio * (before.toMs - before.fromMs) };
  }
}

function isShort({ fromMs, toMs }: KnownStretch): boolean {
  return toMs - fromMs <= BUSY_SAMPLE_MAX_MS;
}

function ratioOf({ fromMs, toMs, busyMs }: KnownStretch): number {
  return busyMs / (toMs - fromMs);
}

/** Energy counters move with every collection; where there are none every page counts as one. */
function hasChanged(before: readonly GpuReading[], now: readonly GpuReading[]): boolean {
  if (before.length !== now.length) return true;
  if (now.every(({ energyJoules, powerWatts }) => energyJoules === null && powerWatts === null)) return true;
  return now.some((reading, index) => {
    const other = before[index];
    return (
      other?.uuid !== reading.uuid ||
      other.energyJoules !== reading.energyJoules ||
      other.powerWatts !== reading.powerWatts ||
      other.engineActive !== reading.engineActive
    );
  });
}

function readActivity(
  readings: readonly GpuReading[],
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): KnownStretch | null {
  const ratios = readings.map(({ engineActive, utilisation }) => engineActive ?? utilisation);
  const known = ratios.filter((ratio) => ratio !== null);
  // A GPU that tells nothing is not a GPU that did nothing.
  if (known.length === 0 || known.length < ratios.length) return null;
  const mean = known.reduce((sum, ratio) => sum + ratio, 0) / known.length;
  return { fromMs, toMs, busyMs: mean < NOISE ? 0 : mean * (toMs - fromMs) };
}

/** Of each GPU once, also where its slices repeat it: the counter's difference, else power × time. A counter that fell was reset: nothing is known of that time. */
function sumJoules(before: readonly GpuReading[], now: readonly GpuReading[], lengthMs: number): number {
  const seconds = lengthMs / 1000;
  const earlier = new Map(before.map((reading) => [reading.uuid, reading]));
  const gpus = new Map(now.map((reading) => [reading.uuid, reading]));
  let joules = 0;
  for (const [uuid, { energyJoules, powerWatts }] of gpus) {
    const from = earlier.get(uuid)?.energyJoules ?? null;
    const used =
      energyJoules !== null && from !== null
        ? energyJoules - from
        : energyJoules === null
          ? watts(powerWatts) * seconds
          : 0;
    if (used > 0 && used <= WATTS_MAX * seconds) joules += used;
  }
  return joules;
}

function watts(power: number | null): number {
  return power ?? 0;
}
