// What the engines' own statistics and DCGM say about the GPUs, kept by window until the window is sealed and published.
// Not here: asking them (telemetry), what it means for busy time (attribution/busy-time.ts).
import type { WindowActivity } from '#domain/busy-source.ts';
import { hourOf, windowOf } from '#domain/window.ts';

/** What is told of one window of one pool. */
export interface ToldWindow {
  readonly pool: string;
  readonly window: number;
  readonly activity?: WindowActivity;
  readonly deviceActiveMs?: number;
}

/** Time of which somebody knows how long the GPUs worked in it. Epoch ms of the store's clock. */
export interface CoveredSpan {
  readonly pool: string;
  readonly source: WindowActivity['source'];
  readonly fromMs: number;
  readonly toMs: number;
  /** 0 … toMs − fromMs. */
  readonly busyMs: number;
}

const WINDOW_MS = 1000;
/** Spans that meet within this time are one: instants are rounded on their way. */
const JOINT_MS = 1;
/** Ten minutes of a hundred pools; beyond, the oldest windows are forgotten. */
const WINDOWS_MAX = 60_000;

interface Coverage {
  fromMs: number;
  toMs: number;
  busyMs: number;
}

interface Entry {
  readonly pool: string;
  readonly window: number;
  readonly covered: Partial<Record<WindowActivity['source'], Coverage>>;
  deviceActiveMs: number;
}

/** Filled by pollers, emptied by sealing; the same process does both, so nothing is lost between. */
export class DeviceActivity {
  readonly #entries = new Map<string, Entry>();
  #sealedThrough = Number.NEGATIVE_INFINITY;

  /** Spans of one pool and source in order; one that does not follow the one before begins the coverage of its window anew. */
  cover(span: CoveredSpan): void {
    const lengthMs = span.toMs - span.fromMs;
    if (!(lengthMs > 0) || !Number.isFinite(lengthMs) || lengthMs > WINDOWS_MAX * WINDOW_MS) return;
    for (let window = windowOf(span.fromMs); window * WINDOW_MS < span.toMs; window += 1) {
      const fromMs = Math.max(0, span.fromMs - window * WINDOW_MS);
      const toMs = Math.min(WINDOW_MS, span.toMs - window * WINDOW_MS);
      const busyMs = (Math.min(span.busyMs, lengthMs) * (toMs - fromMs)) / lengthMs;
      this.#coverPart(span, window, { fromMs, toMs, busyMs });
    }
  }

  /**
   * GPU activity that DCGM counted between two instants (epoch ms), mean over the pool's GPUs. It is told in the first window still open at its
   * end; the part that lies in an hour before is left out, since that hour's books may be closed.
   */
  addActive(pool: string, sample: { readonly fromMs: number; readonly toMs: number; readonly activeMs: number }): void {
    const lengthMs = sample.toMs - sample.fromMs;
    if (!(lengthMs > 0) || !(sample.activeMs > 0)) return;
    const window = windowOf(sample.toMs);
    const open = Math.max(window, this.#sealedThrough + 1);
    if (hourOf(open) !== hourOf(window)) return;
    const fromMs = Math.max(sample.fromMs, hourOf(window) * WINDOW_MS);
    const entry = this.#entry(pool, open);
    if (entry !== null) entry.deviceActiveMs += (sample.activeMs * (sample.toMs - fromMs)) / lengthMs;
  }

  /** What is known of windows up to `through`, ascending, and forgets it: they are sealed now, and nothing may be told of them afterwards. */
  take(through: number): readonly ToldWindow[] {
    this.#sealedThrough = Math.max(this.#sealedThrough, through);
    const taken: Entry[] = [];
    for (const [key, entry] of this.#entries) {
      if (entry.window > through) continue;
      taken.push(entry);
      this.#entries.delete(key);
    }
    return taken.sort((a, b) => a.window - b.window).map(toTold);
  }

  #coverPart({ pool, source }: CoveredSpan, window: number, part: Coverage): void {
    const entry = this.#entry(pool, window);
    if (entry === null || !(part.toMs > part.fromMs)) return;
    const known = entry.covered[source];
    if (known === undefined || part.fromMs > known.toMs + JOINT_MS) {
      entry.covered[source] = part;
      return;
    }
    known.toMs = Math.max(known.toMs, part.toMs);
    known.busyMs += part.busyMs;
  }

  #entry(pool: string, window: number): Entry | null {
    if (window <= this.#sealedThrough) return null;
    const key = `${window}\n${pool}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { pool, window, covered: {}, deviceActiveMs: 0 };
      this.#entries.set(key, entry);
      for (const oldest of this.#entries.keys()) {
        if (this.#entries.size <= WINDOWS_MAX) break;
        this.#entries.delete(oldest);
      }
    }
    return entry;
  }
}

function toTold({ pool, window, covered, deviceActiveMs }: Entry): ToldWindow {
  const activity = toActivity('engine', covered.engine) ?? toActivity('dcgm', covered.dcgm);
  return {
    pool,
    window,
    ...(activity === null ? {} : { activity }),
    ...(deviceActiveMs > 0 ? { deviceActiveMs: Math.round(deviceActiveMs) } : {}),
  };
}

/** Whole milliseconds; a coverage that vanishes by rounding says nothing. */
function toActivity(source: WindowActivity['source'], coverage: Coverage | undefined): WindowActivity | null {
  if (coverage === undefined) return null;
  const fromMs = Math.round(coverage.fromMs);
  const toMs = Math.round(coverage.toMs);
  if (fromMs >= toMs) return null;
  return { source, fromMs, toMs, busyMs: Math.min(toMs - fromMs, Math.round(coverage.busyMs)) };
}
