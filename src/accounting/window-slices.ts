// Cuts a work timeline into integer features per window and bucket. Not here: how the timeline came about (work-timeline.ts), late facts (late-facts.ts).
import { BUCKETS_PER_WINDOW, createSliceFeatures, type SliceFeatures } from '#attribution/work-model.ts';
import { BUCKET_MS } from './attempt-features.ts';
import type { Prefill, WorkTimeline } from './work-timeline.ts';

const WINDOW_MS = 1000;

/** The part of a timeline that late facts can change; `prefillSteps` is 0 or 1. */
export interface WorkTotals {
  readonly p: number;
  readonly q: number;
  readonly d: number;
  readonly k: number;
  readonly prefillSteps: number;
}

/** From an instant (epoch ms, whole) up to another. */
export interface InstantRange {
  readonly fromMs: number;
  readonly toMs: number;
}

/** All time. */
export const ALWAYS: InstantRange = { fromMs: Number.NEGATIVE_INFINITY, toMs: Number.POSITIVE_INFINITY };

/** First and last window that hold a millisecond of the attempt. */
export function windowsOf(timeline: { readonly startMs: number; readonly endMs: number }): {
  readonly first: number;
  readonly last: number;
} {
  const first = Math.floor(timeline.startMs / WINDOW_MS);
  return { first, last: Math.max(first, Math.ceil(timeline.endMs / WINDOW_MS) - 1) };
}

/** Decode steps among the first `outputTokens` tokens: each sequence's first token comes from the prefill. */
export function decodeSteps(outputTokens: number, sequences: number): number {
  return Math.max(0, outputTokens - sequences);
}

/**
 * Σ context length over the decode steps among the first `outputTokens` tokens: step j of a sequence (from 1) runs on the prompt and j
 * tokens; sequences take turns. A closed form, so that differences telescope.
 */
export function contextSum(outputTokens: number, sequences: number, contextTokens: number): number {
  if (outputTokens <= sequences) return 0;
  const rounds = Math.floor(outputTokens / sequences);
  const rest = outputTokens - rounds * sequences;
  return contextTokens * (outputTokens - sequences) + (sequences * rounds * (rounds - 1)) / 2 + rest * rounds;
}

/** The whole work of a finished timeline: what the slices of its windows add up to. */
export function totalsOf(timeline: WorkTimeline): WorkTotals {
  const { prefill, outputTokens, sequences, contextTokens } = timeline;
  return {
    p: prefill?.tokens ?? 0,
    q: prefill === null ? 0 : contextSquares(prefill, prefill.tokens),
    d: decodeSteps(outputTokens, sequences),
    k: contextSum(outputTokens, sequences, contextTokens),
    prefillSteps: prefill?.ended === true ? 1 : 0,
  };
}

/** Features of one window. Cumulative integer rounding: over all windows the parts add up to `totalsOf` exactly. */
export function sliceOf(timeline: WorkTimeline, window: number): SliceFeatures {
  const slice = createSliceFeatures();
  const startMs = window * WINDOW_MS;
  const endMs = startMs + WINDOW_MS;
  const { first, last } = windowsOf(timeline);
  const fromMs = window <= first ? Number.NEGATIVE_INFINITY : startMs;
  const toMs = window >= last ? Number.POSITIVE_INFINITY : endMs;
  if (timeline.prefill !== null) addPrefill(slice, timeline.prefill, { fromMs, toMs, startMs });
  addDecode(slice, timeline, { fromMs, toMs, startMs });
  slice.flightMs = flightBetween(timeline, startMs, endMs);
  if (timeline.work === 'duration') {
    for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
      const bucketMs = startMs + bucket * BUCKET_MS;
      slice.u[bucket] = flightBetween(timeline, bucketMs, bucketMs + BUCKET_MS);
    }
  }
  return slice;
}

/** Adds the attempt's sequence-milliseconds of a window into `n`, per bucket, as far as they lie `within`. */
export function addSequenceMs(n: number[], timeline: WorkTimeline, window: number, within = ALWAYS): void {
  if (timeline.memberFromMs === Number.POSITIVE_INFINITY) return;
  const startMs = window * WINDOW_MS;
  const last = bucketOf(timeline.endMs, startMs);
  for (let bucket = bucketOf(timeline.memberFromMs, startMs); bucket <= last; bucket += 1) {
    const bucketMs = startMs + bucket * BUCKET_MS;
    const fromMs = Math.max(bucketMs, Math.floor(timeline.memberFromMs), within.fromMs);
    const toMs = Math.min(bucketMs + BUCKET_MS, within.toMs);
    n[bucket] = (n[bucket] ?? 0) + flightBetween(timeline, fromMs, toMs) * timeline.sequences;
  }
}

/** Sets the bits of a window's milliseconds `within` in which the attempt was in flight; `busy` holds 125 bytes, LSB first. */
export function addBusyBits(busy: Uint8Array, timeline: WorkTimeline, window: number, within = ALWAYS): void {
  const baseMs = window * WINDOW_MS;
  const [startMs, endMs] = [Math.max(baseMs, within.fromMs), Math.min(baseMs + WINDOW_MS, within.toMs)];
  if (timeline.gaps.length === 0) {
    setBits(busy, flightFrom(timeline, startMs) - baseMs, flightTo(timeline, endMs) - baseMs);
    return;
  }
  for (const [fromMs, toMs] of flightIntervals(timeline, startMs, endMs)) setBits(busy, fromMs - baseMs, toMs - baseMs);
}

/** Sets the bits [from, to). */
function setBits(bits: Uint8Array, from: number, to: number): void {
  for (let bit = from; bit < to; bit += 1) {
    const byte = bit >> 3;
    if ((bit & 7) === 0 && bit + 8 <= to) {
      bits[byte] = 0xff;
      bit += 7;
    } else {
      bits[byte] = (bits[byte] ?? 0) | (1 << (bit & 7));
    }
  }
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  /** First millisecond of the window: where its buckets begin. */
  readonly startMs: number;
}

function addPrefill(slice: SliceFeatures, prefill: Prefill, span: Span): void {
  const before = prefilledBefore(prefill, span.fromMs);
  const after = prefilledBefore(prefill, span.toMs);
  slice.p = after - before;
  slice.q = contextSquares(prefill, after) - contextSquares(prefill, before);
  if (!prefill.ended || prefill.toMs < span.fromMs || prefill.toMs >= span.toMs) return;
  const bucket = bucketOf(prefill.toMs, span.startMs);
  slice.s[bucket] = (slice.s[bucket] ?? 0) + 1;
  slice.prefillSteps[bucket] = 1;
}

function addDecode(slice: SliceFeatures, timeline: WorkTimeline, span: Span): void {
  const { outputTokens, sequences, contextTokens } = timeline;
  const before = span.fromMs === Number.NEGATIVE_INFINITY ? 0 : timeline.outputBefore(span.fromMs);
  const after = span.toMs === Number.POSITIVE_INFINITY ? outputTokens : timeline.outputBefore(span.toMs);
  if (after <= before) return;
  slice.d = decodeSteps(after, sequences) - decodeSteps(before, sequences);
  slice.k = contextSum(after, sequences, contextTokens) - contextSum(before, sequences, contextTokens);
  let steps = decodeSteps(before, sequences);
  for (let bucket = 0; bucket < BUCKETS_PER_WINDOW; bucket += 1) {
    const edgeMs = span.startMs + (bucket + 1) * BUCKET_MS;
    const tokens = bucket === BUCKETS_PER_WINDOW - 1 ? after : Math.min(after, timeline.outputBefore(edgeMs));
    const reached = Math.max(steps, decodeSteps(tokens, sequences));
    slice.s[bucket] = (slice.s[bucket] ?? 0) + reached - steps;
    steps = reached;
  }
}

/** Uncached prompt tokens prefilled before an instant. */
function prefilledBefore(prefill: Prefill, epochMs: number): number {
  if (epochMs <= prefill.fromMs) return 0;
  if (epochMs >= prefill.toMs) return prefill.tokens;
  return Math.round((prefill.tokens * (epochMs - prefill.fromMs)) / (prefill.toMs - prefill.fromMs));
}

/**
 * Σ p(2c+p) over the first `tokens` uncached tokens, in any parts: (c + tokens)² − c². Of m prompts side by side, m times that of an m-th part,
 * to whole units; a function of `tokens` alone, so that parts add up.
 */
function contextSquares(prefill: Prefill, tokens: number): number {
  return Math.round((tokens * (2 * prefill.cached + tokens)) / (prefill.prompts ?? 1));
}

function bucketOf(epochMs: number, startMs: number): number {
  return Math.min(BUCKETS_PER_WINDOW - 1, Math.max(0, Math.floor((epochMs - startMs) / BUCKET_MS)));
}

/** Milliseconds in flight in [fromMs, toMs), both whole. */
export function flightBetween(timeline: WorkTimeline, fromMs: number, toMs: number): number {
  const from = flightFrom(timeline, fromMs);
  const to = flightTo(timeline, toMs);
  if (to <= from) return 0;
  if (timeline.gaps.length === 0) return to - from;
  let sum = 0;
  for (const [partFrom, partTo] of flightIntervals(timeline, fromMs, toMs)) sum += partTo - partFrom;
  return sum;
}

function flightFrom(timeline: WorkTimeline, fromMs: number): number {
  return Math.max(fromMs, Math.floor(timeline.startMs));
}

/** An attempt is in flight for a millisecond at least. */
function flightTo(timeline: WorkTimeline, toMs: number): number {
  return Math.min(toMs, Math.max(Math.ceil(timeline.endMs), Math.floor(timeline.startMs) + 1));
}

/** Whole milliseconds in flight within [fromMs, toMs): any millisecond that the attempt touched, without its silences. */
function flightIntervals(timeline: WorkTimeline, fromMs: number, toMs: number): [number, number][] {
  let from = flightFrom(timeline, fromMs);
  const end = flightTo(timeline, toMs);
  const intervals: [number, number][] = [];
  for (const [gapFromMs, gapToMs] of timeline.gaps) {
    const gapFrom = Math.ceil(gapFromMs);
    const gapTo = Math.floor(gapToMs);
    if (gapTo <= from || gapFrom >= end) continue;
    if (gapFrom > from) intervals.push([from, gapFrom]);
    from = Math.max(from, gapTo);
  }
  if (end > from) intervals.push([from, end]);
  return intervals;
}
