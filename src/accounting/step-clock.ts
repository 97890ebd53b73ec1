// The engine's pace as its streams show it: decode steps per millisecond and sequence, per 100 ms. In continuous batching every running sequence
// makes the same steps, so the pace of the answers that stream dates the tokens of those that do not. Not here: what is dated by it (work-timeline.ts).
import { windowOf } from '#domain/window.ts';
import { answeredSequences } from './answered-sequences.ts';
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
  /** Part of the time from an instant to `toMs` in which streams showed the pace, 0 … 1. */
  knownPart(epochMs: number): number;
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

  /**
   * The curve over [fromMs, toMs]. Where nobody streamed the pace next to it goes on; or, with `steps`, what is missing to that many steps
   * is spread evenly. Null where nobody streamed at all and there are no `steps`, and for a span that is empty or longer than is remembered.
   */
  curve(fromMs: number, toMs: number, steps: number | null = null): StepCurve | null {
    const first = Math.floor(fromMs / BUCKET_MS);
    const length = Math.max(1, Math.ceil(toMs / BUCKET_MS) - first);
    if (!(toMs > fromMs) || length > BUCKETS_KEPT) return null;
    const span = { fromMs, toMs, paces: Array.from({ length }, (_, index) => this.#pace(first + index)) };
    const filled = steps === null ? continuePaces(span.paces) : spreadMissing(span, steps);
    return filled === null ? null : createCurve(span, filled);
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
    // Most rounds have only streams, or none.
    if (!attempts.some(needsClock) || !attempts.some(showsPace)) return;
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

/** Answers whose tokens nobody dates: those that do not stream, and streams that were cut before their count. */
function needsClock({ start, final }: TrackedAttempt): boolean {
  if (start === null || start.shape.work !== 'tokens' || start.shape.prefillOnly) return false;
  return !start.shape.stream || final?.whole === false;
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
  const sequences = answeredSequences(start.shape, final);
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

/** A span of buckets, the first one holding `fromMs`; a pace is in steps per ms, null where nobody streamed. */
interface PacedSpan {
  readonly fromMs: number;
  readonly toMs: number;
  readonly paces: readonly (number | null)[];
}

/** Start of a bucket, counted from the span's first, within the span. */
function edgeMs({ fromMs, toMs }: PacedSpan, index: number): number {
  return Math.min(toMs, Math.max(fromMs, (Math.floor(fromMs / BUCKET_MS) + index) * BUCKET_MS));
}

/** Unknown paces take the one before them, those at the start the first known; null where none is known. */
function continuePaces(paces: PacedSpan['paces']): readonly number[] | null {
  let last = paces.find((pace) => pace !== null) ?? null;
  if (last === null) return null;
  return paces.map((pace) => (last = pace ?? last) ?? 0);
}

/** Unknown paces are one and the same, such that the span has `steps` of them; 0 where the known ones have more. */
function spreadMissing(span: PacedSpan, steps: number): readonly number[] {
  let known = 0;
  let unknownMs = 0;
  for (const [index, pace] of span.paces.entries()) {
    const ms = edgeMs(span, index + 1) - edgeMs(span, index);
    if (pace === null) unknownMs += ms;
    else known += pace * ms;
  }
  const missing = unknownMs > 0 ? Math.max(0, steps - known) / unknownMs : 0;
  return span.paces.map((pace) => pace ?? missing);
}

function createCurve(span: PacedSpan, paces: readonly number[]): StepCurve {
  const { fromMs, toMs } = span;
  const first = Math.floor(fromMs / BUCKET_MS);
  // Steps before the start of each bucket.
  const cumulative = new Float64Array(paces.length + 1);
  for (const [index, pace] of paces.entries()) {
    cumulative[index + 1] = (cumulative[index] ?? 0) + pace * (edgeMs(span, index + 1) - edgeMs(span, index));
  }
  const total = cumulative[paces.length] ?? 0;
  return {
    fromMs,
    toMs,
    stepsBefore(epochMs) {
      if (epochMs <= fromMs) return 0;
      if (epochMs >= toMs) return total;
      const index = Math.floor(epochMs / BUCKET_MS) - first;
      return (cumulative[index] ?? 0) + (paces[index] ?? 0) * (epochMs - edgeMs(span, index));
    },
    instantBefore(steps) {
      const wanted = total - steps;
      if (wanted <= 0) return fromMs;
      let index = paces.length - 1;
      while (index > 0 && (cumulative[index] ?? 0) > wanted) index -= 1;
      const pace = paces[index] ?? 0;
      if (pace <= 0) return edgeMs(span, index + 1);
      return Math.min(toMs, edgeMs(span, index) + (wanted - (cumulative[index] ?? 0)) / pace);
    },
    knownPart(epochMs) {
      let knownMs = 0;
      for (let index = Math.max(0, Math.floor(epochMs / BUCKET_MS) - first); index < paces.length; index += 1) {
        if (span.paces[index] === null) continue;
        knownMs += edgeMs(span, index + 1) - Math.min(edgeMs(span, index + 1), Math.max(epochMs, edgeMs(span, index)));
      }
      return toMs > epochMs ? knownMs / (toMs - epochMs) : 1;
    },
  };
}
