// Seals windows: decides how far, and turns every attempt's facts into slices and publications, each window once.
// Not here: sending them (sync-loop.ts), pricing slices (claim.ts).
import { addFeatures, createFeatures, type SliceFeatures } from '#attribution/work-model.ts';
import type { WindowActivity } from '#domain/busy-source.ts';
import type { Publication, WindowFeatures } from '#domain/settlement.ts';
import { windowOf } from '#domain/window.ts';
import type { AttemptRegistry } from './attempt-registry.ts';
import type { ToldWindow } from './device-activity.ts';
import { addSealed, placeLateFacts } from './late-facts.ts';
import { divideSlice, placeLateBySide, type PooledPart, type SlicePart } from './prefill-side.ts';
import type { ProfileOf } from './profile-of.ts';
import type { SealedSlice } from './sealed-slices.ts';
import { eachInSteps, type SlicedWork } from './sliced-work.ts';
import { boundSum, makeSound } from './sound-slice.ts';
import { type AttemptIdentity, prefillPlace, type TrackedAttempt } from './tracked-attempt.ts';
import { addBusyBits, addSequenceMs, sliceOf, totalsOf, windowsOf } from './window-slices.ts';
import { assumedStepsPerSecond, CAUTION, type WorkEstimates } from './work-estimates.ts';
import { finalTimeline, openTimeline, type WorkTimeline } from './work-timeline.ts';

/** A window is sealed at the earliest when it lies this many seconds back. */
const SEAL_DELAY_SECONDS = 2;

/** What one sealing produced; windows up to `sealedThrough` are closed for good. */
export interface Sealing {
  readonly sealedThrough: number;
  readonly publications: readonly Publication[];
  readonly slices: readonly SealedSlice[];
  /** Attempts of which more was sealed than they turned out to have done, or less with no window left to place it. */
  readonly overEstimates: number;
  readonly underEstimates: number;
}

export interface SealOptions {
  readonly registry: AttemptRegistry;
  readonly estimates: WorkEstimates;
  readonly profileOf: ProfileOf;
  /** Sealed so far. */
  readonly sealedThrough: number;
  /** Last window to seal now; see `sealableThrough`. */
  readonly to: number;
  /** What engines and DCGM say of windows up to `to`; of those sealed before nothing can be told any more. */
  readonly told?: readonly ToldWindow[];
}

/**
 * clamp(startWindow(oldest own attempt whose facts are open) − 1, now − H, now − 2), never below `sealedThrough`.
 * Attempts without tokens are not open. Source: settlement.md, sealedThrough.
 */
export function sealableThrough(
  registry: AttemptRegistry,
  state: { readonly sealedThrough: number; readonly nowMs: number; readonly horizonMs: number },
): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (const attempt of registry.unsealed()) {
    if (attempt.record !== null || attempt.start === null || attempt.start.shape.work === 'duration') continue;
    oldest = Math.min(oldest, windowOf(attempt.start.startMs));
  }
  const latest = windowOf(state.nowMs) - SEAL_DELAY_SECONDS;
  const forced = windowOf(state.nowMs - state.horizonMs);
  return Math.max(state.sealedThrough, Math.min(latest, Math.max(oldest - 1, forced)));
}

/**
 * Seals windows (sealedThrough … to] of every attempt: slices are fixed by this, verbatim and for good. Attempts may begin and end between
 * two steps: one that begins lies behind `to`, one that ends is sealed as what it was when its turn came.
 */
export function* sealWindows(options: SealOptions): SlicedWork<Sealing> {
  const drafts = new Map<string, Draft>();
  const slices: SealedSlice[] = [];
  let overEstimates = 0;
  let underEstimates = 0;
  // Rates are taken before anything is dropped: the neighbours of a window are sealed in the same pass.
  const attempts = [...options.registry.unsealed()];
  options.estimates.stepClocks.observe(attempts, options);
  options.estimates.firstTokens.observe(attempts);
  const estimated = new RateCache(attempts, options);
  yield;
  const plans: { readonly attempt: TrackedAttempt; readonly plan: Plan }[] = [];
  yield* eachInSteps(attempts, (attempt) => {
    plans.push({ attempt, plan: planAttempt(attempt, options, estimated) });
  });
  yield* eachInSteps(plans, ({ attempt, plan }) => {
    const { start } = attempt;
    if (start === null) return;
    if (plan.over) overEstimates += 1;
    if (plan.under) underEstimates += 1;
    for (const part of plan.parts) {
      if (makeSound(part.features)) overEstimates += 1;
      addSealed(attempt.sealed, part.features);
      for (const pooled of divideSlice(start, part)) {
        const { pool, deployment, window, features } = pooled;
        addToDraft(drafts, pooled);
        slices.push({ recordId: attempt.recordId, pool, deployment, window, features });
      }
    }
    if (attempt.lastWindow !== null && attempt.lastWindow <= options.to) options.registry.markSealed(attempt);
    else attempt.features?.dropBefore((options.to + 1) * 1000);
  });
  for (const told of options.told ?? []) addTold(drafts, told, options.sealedThrough);
  return {
    sealedThrough: options.to,
    publications: [...drafts.values()].map(publish),
    slices,
    overEstimates,
    underEstimates,
  };
}

interface Plan {
  readonly parts: readonly SlicePart[];
  readonly over: boolean;
  readonly under: boolean;
}

const EMPTY_PLAN: Plan = { parts: [], over: false, under: false };

function planAttempt(attempt: TrackedAttempt, options: SealOptions, rates: RateCache): Plan {
  if (attempt.start === null || attempt.features === null) return EMPTY_PLAN;
  return attempt.record === null || attempt.final === null
    ? planOpen(attempt, attempt.start, options, rates)
    : planFinished(attempt, attempt.start, options);
}

/** A finished attempt: its facts are known, and what sealed windows missed is placed once. */
function planFinished(attempt: TrackedAttempt, start: AttemptIdentity, options: SealOptions): Plan {
  const { features, final } = attempt;
  if (features === null || final === null) return EMPTY_PLAN;
  const { first, last } = windowsOf({ startMs: features.startMs, endMs: features.endMs ?? features.startMs });
  attempt.lastWindow = last;
  // Its time has not come: by then more is known of its neighbours.
  if (first > options.to) return EMPTY_PLAN;
  let late = { over: false, under: false };
  if (attempt.timeline === null) {
    const { profile } = options.profileOf(prefillPlace(start).deployment);
    const clock = options.estimates.stepClocks.find(start.pool, start.deployment);
    const queue = final.whole ? null : options.estimates.firstTokens.bounds(prefillPlace(start), start.startMs);
    attempt.timeline = finalTimeline(
      start.shape,
      features,
      { profile, clock, queue, prefillAlone: start.prefillBy !== undefined },
      final,
    );
    late = placeLate({ attempt, start, timeline: attempt.timeline }, options.sealedThrough);
  }
  const { timeline, placed } = attempt;
  const parts: SlicePart[] = [];
  for (let window = Math.max(first, options.sealedThrough + 1); window <= Math.min(last, options.to); window += 1) {
    parts.push({ window, timeline, features: placed?.get(window) ?? sliceOf(timeline, window) });
  }
  return { parts, ...late };
}

function placeLate(
  {
    attempt,
    start,
    timeline,
  }: { readonly attempt: TrackedAttempt; readonly start: AttemptIdentity; readonly timeline: WorkTimeline },
  sealedThrough: number,
): { over: boolean; under: boolean } {
  const { first, last } = windowsOf(timeline);
  if (first > sealedThrough) return { over: false, under: false };
  const slices = new Map<number, SliceFeatures>();
  for (let window = sealedThrough + 1; window <= last; window += 1) slices.set(window, sliceOf(timeline, window));
  const { sealed } = attempt;
  const late =
    start.prefillBy === undefined
      ? placeLateFacts(totalsOf(timeline), sealed, [...slices.values()])
      : placeLateBySide(start, timeline, { sealed, slices });
  attempt.placed = slices;
  return late;
}

/** The horizon struck first: windows of a running attempt are sealed by what is known and assumed of it. */
function planOpen(attempt: TrackedAttempt, start: AttemptIdentity, options: SealOptions, rates: RateCache): Plan {
  const { features } = attempt;
  if (features === null) return EMPTY_PLAN;
  const parts: SlicePart[] = [];
  const profile = options.profileOf(prefillPlace(start).deployment).profile;
  const promptTokens = options.estimates.promptTokens(start.deployment, start.shape.promptBytes);
  const first = Math.max(windowOf(start.startMs), options.sealedThrough + 1);
  const queue = start.shape.stream ? null : options.estimates.firstTokens.bounds(prefillPlace(start), start.startMs);
  for (let window = first; window <= options.to; window += 1) {
    const assumes = start.shape.work === 'tokens' && !start.shape.stream && !start.shape.prefillOnly;
    const timeline = openTimeline(start.shape, features, profile, {
      estimatedPromptTokens: promptTokens,
      prefillAlone: start.prefillBy !== undefined,
      outputSealed: attempt.outputSealed,
      estimatedStepsPerSecond: assumes ? rates.stepsPerSecond(start, window, promptTokens) : 0,
      queue,
      fromMs: window * 1000,
      untilMs: (window + 1) * 1000,
    });
    const slice = sliceOf(timeline, window);
    attempt.outputSealed = Math.max(attempt.outputSealed, timeline.outputTokens);
    parts.push({ window, timeline, features: slice });
  }
  return { parts, over: false, under: false };
}

/** Assumed rates by deployment and window, computed once each. */
class RateCache {
  #byDeployment: ReadonlyMap<string, TrackedAttempt[]> | null = null;
  readonly #attempts: readonly TrackedAttempt[];
  readonly #rates = new Map<string, number>();
  readonly #options: SealOptions;

  constructor(attempts: readonly TrackedAttempt[], options: SealOptions) {
    this.#options = options;
    this.#attempts = attempts;
  }

  stepsPerSecond({ pool, deployment }: AttemptIdentity, window: number, contextTokens: number): number {
    const key = `${window}\n${pool}\n${deployment}`;
    const known = this.#rates.get(key);
    if (known !== undefined) return known;
    const pace = this.#options.estimates.stepClocks.find(pool, deployment)?.stepsIn(window) ?? null;
    this.#byDeployment ??= Map.groupBy(this.#attempts, (attempt) => attempt.start?.deployment ?? '');
    const neighbours = this.#byDeployment.get(deployment) ?? [];
    const { profile } = this.#options.profileOf(deployment);
    const rate = pace === null ? assumedStepsPerSecond(neighbours, window, profile, contextTokens) : CAUTION * pace;
    this.#rates.set(key, rate);
    return rate;
  }
}

interface Draft {
  readonly pool: string;
  readonly window: number;
  readonly deployments: Record<string, WindowFeatures>;
  readonly n: number[];
  readonly busy: Uint8Array;
  activity?: WindowActivity;
  deviceActiveMs?: number;
}

function addToDraft(drafts: Map<string, Draft>, part: PooledPart): void {
  const draft = draftOf(drafts, part.pool, part.window);
  const sum = (draft.deployments[part.deployment] ??= createFeatures());
  addFeatures(sum, part.features);
  addSequenceMs(draft.n, part.timeline, part.window, part.within);
  addBusyBits(draft.busy, part.timeline, part.window, part.within);
}

function draftOf(drafts: Map<string, Draft>, pool: string, window: number): Draft {
  const key = `${window}\n${pool}`;
  const known = drafts.get(key);
  if (known !== undefined) return known;
  const n = Array.from({ length: 10 }, () => 0);
  const draft: Draft = { pool, window, deployments: {}, n, busy: new Uint8Array(125) };
  drafts.set(key, draft);
  return draft;
}

/** Others may have work in a window in which this process has none, so what it knows of the GPUs is published all the same. */
function addTold(drafts: Map<string, Draft>, told: ToldWindow, sealedThrough: number): void {
  if (told.window <= sealedThrough) return;
  const isOurs = drafts.has(`${told.window}\n${told.pool}`);
  const { activity, deviceActiveMs = 0 } = told;
  const tellsBusy = activity !== undefined && (isOurs || activity.busyMs > 0);
  if (!tellsBusy && deviceActiveMs === 0) return;
  const draft = draftOf(drafts, told.pool, told.window);
  if (tellsBusy) draft.activity = activity;
  if (deviceActiveMs > 0) draft.deviceActiveMs = deviceActiveMs;
}

function publish(draft: Draft): Publication {
  for (const features of Object.values(draft.deployments)) boundSum(features);
  return { ...draft, busy: Buffer.from(draft.busy).toString('base64') };
}
