// The engine's pace as its streams show it: decode steps per millisecond and sequence, per 100 ms. In continuous batching every running sequence
// makes the same steps, so the pace of the answers that stream dates the tokens of those that do not. Not here: what is dated by it (work-timeline.ts).
import { windowOf } from '#domain/window.ts';
import { BUCKET_MS } from './attempt-features.ts';
import type { TrackedAttempt } from './tracked-attempt.ts';

/** A quarter of an hour of pace is remembered; an older bucket is overwritten by a newer one. */
const BUCKETS_KEPT = 9000;
const MAX_CLOCKS = 1000;
/** Stream time in one bucket below which it says too little. */
const SAMPLE_MS = 30;

/** Steps of one sequence since `fromMs`, as a function of time; instants are epoch ms. */
export interface StepCurve {
  readonly fromMs: number;
  readonly toMs: number;
  /** Steps between `fromMs` and an instant; never decreases, 0 before and constant after the span. */
  stepsBefore(epochMs: number): number;
  /** The latest instant that has so many steps between itself and `toMs`; `fromMs` where the whole span has fewer. */
  instantBefore(steps: number): number;
}

/** The pace of one deployment on one pool. */
export class StepClock {
  readonly #numbers = new Float64Array(BUCKETS_KEPT).fill(-1);
  readonly #steps = new Float64Array(BUCKETS_KEPT);
  readonly #ms = new Float64Array(BUCKETS_KEPT);

  /** Says again what streams showed in a bucket (number: epoch ms ÷ 100): their decode steps, and their decode time in ms, in all. */
  put(bucket: number, steps: number, ms: number): void {
    const index = bucket % BUCKETS_KEPT;
    if ((this.#numbers[index] ?? -1) > bucket) return;
    this.#numbers[index] = bucket;
    this.#steps[index] = steps;
    this.#ms[index] = ms;
  }

  /** The curve over [fromMs, toMs]; where nobody streamed the pace next to it goes on. Null where nobody streamed at all, or it is forgotten. */
  curve(fromMs: number, toMs: number): StepCurve | null {
    const first = Math.floor(fromMs / BUCKET_MS);
    const length = Math.max(1, Math.ceil(toMs / BUCKET_MS) - first);
    if (!(toMs > fromMs) || length > BUCKETS_KEPT) return null;
    const paces = Array.from({ length }, (_, index) => this.#pace(first + index));
    return fillPaces(paces) ? createCurve(paces as number[], fromMs, toMs) : null;
  }

  /** Steps of one sequence in a window, null where nobody streamed in it. */
  stepsIn(window: number): number | null {
    return this.curve(window * 1000, (window + 1) * 1000)?.stepsBefore((window + 1) * 1000) ?? null;
  }

  /** Steps per ms, null where unknown. */
  #pace(bucket: number): number | null {
    const index = bucket % BUCKETS_KEPT;
    const ms = this.#ms[index] ?? 0;
    return this.#numbers[index] === bucket && ms >= SAMPLE_MS ? (this.#steps[index] ?? 0) / ms : null;
  }
}

/** The clocks of one process, by pool and deployment. */
export class StepClocks {
  readonly #byEngine = new Map<string, StepClock>();

  /** Null until `observe` saw streams there. */
  find(pool: string, deployment: string): StepClock | null {
    return this.#byEngine.get(`${pool}\n${deployment}`) ?? null;
  }

  /**
   * Reads the pace of the windows that are sealed next, (sealedThrough … to], and as far beyond as answers reach that are dated now, from the
   * attempts that are not sealed; called before anything is dropped. Engines on which every answer streams need no clock and get none.
   */
  observe(
    attempts: readonly TrackedAttempt[],
    { sealedThrough, to }: { readonly sealedThrough: number; readonly to: number },
  ): void {
    const fromMs = (sealedThrough + 1) * 1000;
    const untilMs = attempts.reduce((latest, attempt) => Math.max(latest, dueUntil(attempt, to)), (to + 1) * 1000);
    const needed = new Set(attempts.filter(needsClock).map(engineOf));
    const sums = new Map<string, Map<number, PaceSums>>();
    for (const attempt of attempts) {
      const engine = engineOf(attempt);
      if (!needed.has(engine) || !showsPace(attempt)) continue;
      const buckets = sums.get(engine) ?? new Map<number, PaceSums>();
      sums.set(engine, buckets);
      addPace(buckets, attempt, { fromMs, untilMs });
    }
    for (const [engine, buckets] of sums) {
      const clock = this.#clock(engine);
      for (const [bucket, { counted, seen }] of buckets) {
        const { steps, ms } = counted.ms >= SAMPLE_MS ? counted : seen;
        clock?.put(bucket, steps, ms);
      }
    }
  }

  #clock(engine: string): StepClock | null {
    const known = this.#byEngine.get(engine);
    if (known !== undefined) return known;
    if (this.#byEngine.size >= MAX_CLOCKS) return null;
    const created = new StepClock();
    this.#byEngine.set(engine, created);
    return created;
  }
}

function engineOf({ start }: TrackedAttempt): string {
  return start === null ? '' : `${start.pool}\n${start.deployment}`;
}

function needsClock({ start }: TrackedAttempt): boolean {
  return start !== null && start.shape.work === 'tokens' && !start.shape.stream && !start.shape.prefillOnly;
}

/** End of a finished answer whose tokens will be dated at this sealing. */
function dueUntil(attempt: TrackedAttempt, to: number): number {
  const { features, timeline } = attempt;
  if (!needsClock(attempt) || features === null || timeline !== null || windowOf(features.startMs) > to) return 0;
  return features.endMs ?? 0;
}

function showsPace({ start, features }: TrackedAttempt): boolean {
  return start?.shape.stream === true && start.shape.work === 'tokens' && features?.firstContentMs !== null;
}

/** Steps and stream time in a bucket: of answers whose tokens the engine counted, and of all. */
interface PaceSums {
  readonly counted: { steps: number; ms: number };
  readonly seen: { steps: number; ms: number };
}

/** An event holds as many steps as the engine's count says, else one; the first of each sequence belongs to the prefill. */
function addPace(
  buckets: Map<number, PaceSums>,
  attempt: TrackedAttempt,
  span: { readonly fromMs: number; readonly untilMs: number },
): void {
  const { features, final, start } = attempt;
  const firstMs = features?.firstContentMs ?? null;
  if (features === null || start === null || firstMs === null || features.events === 0) return;
  const endMs = features.endMs ?? features.lastByteMs ?? firstMs;
  const said = final?.whole === true ? final.tokens.output : null;
  const output = said === null ? null : said + (final?.tokens.reasoning ?? 0);
  const { sequences } = start.shape;
  const perEvent = (output ?? features.events) / features.events;
  const untilMs = Math.min(endMs, Math.ceil(span.untilMs / BUCKET_MS) * BUCKET_MS);
  for (let bucket = Math.floor(Math.max(firstMs, span.fromMs) / BUCKET_MS); bucket * BUCKET_MS < untilMs; bucket += 1) {
    const ms = Math.min(endMs, (bucket + 1) * BUCKET_MS) - Math.max(firstMs, bucket * BUCKET_MS);
    const prefilled = firstMs >= bucket * BUCKET_MS ? sequences : 0;
    const steps = Math.max(0, features.eventsIn(bucket) * perEvent - prefilled);
    const sums = buckets.get(bucket) ?? { counted: { steps: 0, ms: 0 }, seen: { steps: 0, ms: 0 } };
    buckets.set(bucket, sums);
    for (const sum of output === null ? [sums.seen] : [sums.seen, sums.counted]) {
      sum.steps += steps;
      sum.ms += ms * sequences;
    }
  }
}

/** Unknown paces take the one before them, those at the start the first known; false where none is known. */
function fillPaces(paces: (number | null)[]): paces is number[] {
  let last = paces.find((pace) => pace !== null) ?? null;
  if (last === null) return false;
  for (const [index, pace] of paces.entries()) {
    last = pace ?? last;
    paces[index] = last;
  }
  return true;
}

function createCurve(paces: readonly number[], fromMs: number, toMs: number): StepCurve {
  const first = Math.floor(fromMs / BUCKET_MS);
  const edgeMs = (index: number): number => Math.min(toMs, Math.max(fromMs, (first + index) * BUCKET_MS));
  // cumulative[i]: steps before the start of bucket i.
  const cumulative = new Float64Array(paces.length + 1);
  for (const [index, pace] of paces.entries()) {
    cumulative[index + 1] = (cumulative[index] ?? 0) + pace * (edgeMs(index + 1) - edgeMs(index));
  }
  const total = cumulative[paces.length] ?? 0;
  const stepsBefore = (epochMs: number): number => {
    if (epochMs <= fromMs) return 0;
    if (epochMs >= toMs) return total;
    const index = Math.floor(epochMs / BUCKET_MS) - first;
    return (cumulative[index] ?? 0) + (paces[index] ?? 0) * (epochMs - edgeMs(index));
  };
  const instantBefore = (steps: number): number => {
    const wanted = total - steps;
    if (wanted <= 0) return fromMs;
    let index = paces.length - 1;
    while (index > 0 && (cumulative[index] ?? 0) > wanted) index -= 1;
    const pace = paces[index] ?? 0;
    return pace > 0 ? Math.min(toMs, edgeMs(index) + (wanted - (cumulative[index] ?? 0)) / pace) : edgeMs(index + 1);
  };
  return { fromMs, toMs, stepsBefore, instantBefore };
}
