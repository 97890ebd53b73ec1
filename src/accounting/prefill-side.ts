// An attempt whose prompt is computed on GPUs of their own: its work and its time in flight, divided between their pool and its own.
// Not here: when the work was done (work-timeline.ts), windows (window-slices.ts).
import { BUCKETS_PER_WINDOW, createSliceFeatures, type SliceFeatures } from '#attribution/work-model.ts';
import { addSealed, placeLateFacts, type SealedSums } from './late-facts.ts';
import type { AttemptIdentity } from './tracked-attempt.ts';
import { ALWAYS, decodeSteps, flightBetween, type InstantRange, totalsOf } from './window-slices.ts';
import type { WorkTimeline } from './work-timeline.ts';

/** One attempt's work in one window. */
export interface SlicePart {
  readonly window: number;
  readonly timeline: WorkTimeline;
  readonly features: SliceFeatures;
}

/** The part of it that one pool did; its time in flight there lies `within`. */
export interface PooledPart extends SlicePart {
  readonly pool: string;
  readonly deployment: string;
  readonly within: InstantRange;
}

const WINDOW_MS = 1000;
const PREFILL_FEATURES = ['p', 'q', 'prefillSteps'] as const;
const DECODE_FEATURES = ['d', 'k'] as const;

/**
 * The pools' parts of a slice: the whole without a prefill elsewhere; else p, q and the prefill's step there, d, k and the other steps here, and
 * each millisecond in flight on one side of the hand-over. The parts sum to the slice exactly; one with nothing in it is left out.
 */
export function divideSlice(start: AttemptIdentity, part: SlicePart): readonly PooledPart[] {
  const { pool, deployment, prefillBy } = start;
  if (prefillBy === undefined) return [{ ...part, pool, deployment, within: ALWAYS }];
  const { window, timeline, features } = part;
  const atMs = handOverMs(start, timeline);
  const [there, here] = [createSliceFeatures(), createSliceFeatures()];
  there.p = features.p;
  there.q = features.q;
  here.d = features.d;
  here.k = features.k;
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    const prefillSteps = features.prefillSteps[bucket] ?? 0;
    there.s[bucket] = prefillSteps;
    there.prefillSteps[bucket] = prefillSteps;
    here.s[bucket] = (features.s[bucket] ?? 0) - prefillSteps;
  }
  const startMs = window * WINDOW_MS;
  there.flightMs = Math.min(features.flightMs, flightBetween(timeline, startMs, Math.min(startMs + WINDOW_MS, atMs)));
  here.flightMs = features.flightMs - there.flightMs;
  const parts = [
    { ...part, ...prefillBy, features: there, within: { fromMs: Number.NEGATIVE_INFINITY, toMs: atMs } },
    { ...part, pool, deployment, features: here, within: { fromMs: atMs, toMs: Number.POSITIVE_INFINITY } },
  ];
  return parts.filter(({ features: { p, q, d, k, s, flightMs } }) => [p, q, d, k, flightMs, ...s].some((n) => n > 0));
}

/**
 * The whole epoch ms at which an attempt goes over from the GPUs of its prefill to its own: the end of its prefill; infinity where that was not
 * seen, or nothing follows it. Either side with work in it has a millisecond at least, as far as there are two.
 */
export function handOverMs({ shape }: Pick<AttemptIdentity, 'shape'>, timeline: WorkTimeline): number {
  const { prefill, startMs, endMs, outputTokens, sequences } = timeline;
  if (prefill === null || !prefill.ended || shape.prefillOnly) return Number.POSITIVE_INFINITY;
  const earliestMs = Math.floor(startMs) + 1;
  const latestMs = decodeSteps(outputTokens, sequences) > 0 ? Math.ceil(endMs) - 1 : Number.POSITIVE_INFINITY;
  return Math.max(earliestMs, Math.min(Math.ceil(prefill.toMs), latestMs));
}

/**
 * `placeLateFacts` for a prefill elsewhere: what is late of the prefill goes into windows before the hand-over, the rest into those after it, where
 * the attempt is in flight on the GPUs that it is charged on; into any that is left where there is none of them.
 */
export function placeLateBySide(
  start: AttemptIdentity,
  timeline: WorkTimeline,
  known: { readonly sealed: Readonly<SealedSums>; readonly slices: ReadonlyMap<number, SliceFeatures> },
): { readonly over: boolean; readonly under: boolean } {
  const atMs = handOverMs(start, timeline);
  const totals = totalsOf(timeline);
  const sides = [
    { features: PREFILL_FEATURES, isMeant: (window: number) => window * WINDOW_MS < atMs },
    { features: DECODE_FEATURES, isMeant: (window: number) => (window + 1) * WINDOW_MS > atMs },
  ];
  const results = sides.map(({ features, isMeant }) => {
    const meant = [...known.slices].filter(([window]) => isMeant(window));
    if (meant.length === 0) return placeLateFacts(totals, known.sealed, [...known.slices.values()], features);
    const sealed = { ...known.sealed };
    for (const [window, slice] of known.slices) if (!isMeant(window)) addSealed(sealed, slice);
    return placeLateFacts(
      totals,
      sealed,
      meant.map(([, slice]) => slice),
      features,
    );
  });
  return { over: results.some(({ over }) => over), under: results.some(({ under }) => under) };
}
