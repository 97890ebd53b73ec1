// Whether a newly learned profile, or part of prefill, is worth a new version of the pool facts: enough windows, and charges that would differ. Pure.
// Not here: the fits (learn-fit.ts, learn-prefill.ts), storing the version (accounting/publish-profiles.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';
import { type LearnedFit, toTerms } from './learn-fit.ts';
import type { PrefillFit } from './learn-prefill.ts';
import { type LearningGrid, weighWork } from './learn-statistics.ts';
import { scalePrefill } from './prefill-factor.ts';
import { fromProfileFemtos, toProfileFemtos } from './profile-femtos.ts';

/** Busy windows before anything is applied: half a minute of traffic. */
const SAMPLES_MIN = 30;
/** A fit that misses the windows' time by more explains nothing. */
const FIT_ERROR_MAX = 0.5;
/** Part of the charges that would move between kinds of work, at the load where it is most: worth a version, and worth one soon. */
const SHIFT_MIN = 0.01;
const SHIFT_LARGE = 0.04;
/** Departure of the modelled from the in-force time: prefill is placed and neighbours are dated by it. */
const SCALE_MIN = 0.05;
/** Windows since the last version: as a part of those before it, for one that changes much, and for any. */
const GROWTH = 0.5;
const WINDOWS_SOON = 60;
const WINDOWS_LONG = 20_000;
/** Levels with fewer windows do not decide. */
const LEVEL_COUNT_MIN = 20;

/** Prefill that hides less than the first is not told from windows that misdate it; what is in force is taken back where it hides less than the second. */
const HIDDEN_MIN = 0.06;
const HIDDEN_KEPT = 0.03;
/** Standard errors by which the part must differ from the one in force, so that too few windows change nothing. */
const ERRORS_MIN = 2;

/** What is in force, and since which sample. */
export interface ProfileInForce {
  readonly profile: EngineProfile;
  readonly isLearned: boolean;
  /** Samples ever seen when it was applied; 0 where it was not learned. */
  readonly appliedAtSamples: number;
}

/**
 * True where the fit should be applied. Facts are never removed, so versions must not churn: each needs half as many windows again as all before
 * it, or hours, and has to move at least 1 % of the charges of a load level or 5 % of the time. One that moves 4 %, as when a load comes that was
 * not seen before, is applied after a minute.
 */
export function isWorthApplying(
  fit: LearnedFit,
  inForce: ProfileInForce,
  { grid, samplesEver }: { readonly grid: LearningGrid; readonly samplesEver: number },
): boolean {
  if (fit.samples < SAMPLES_MIN || fit.fitError > FIT_ERROR_MAX) return false;
  if (!inForce.isLearned) return true;
  return isDue(shiftOf(fit.profile, inForce.profile, grid), samplesEver - inForce.appliedAtSamples, inForce);
}

/**
 * The part of the declared prefill time that should be in force from now on (1: all of it), null where that is what is. It comes into force where
 * prefill surely hides something, as the first version at once and then as seldom as learned profiles do.
 */
export function choosePrefillFactor(
  fit: PrefillFit,
  inForce: { readonly factor: number; readonly appliedAtSamples: number },
  {
    declared,
    grid,
    samplesEver,
  }: { readonly declared: EngineProfile; readonly grid: LearningGrid; readonly samplesEver: number },
): number | null {
  if (fit.samples < SAMPLES_MIN) return null;
  const hidden = 1 - fit.factor;
  const factor = hidden >= (inForce.factor < 1 ? HIDDEN_KEPT : HIDDEN_MIN) ? fit.factor : 1;
  if (factor === inForce.factor || Math.abs(factor - inForce.factor) < ERRORS_MIN * fit.error) return null;
  const terms = toProfileFemtos(declared);
  const scaled = (part: number): EngineProfile => fromProfileFemtos(scalePrefill(terms, part));
  const shift = shiftOf(scaled(factor), scaled(inForce.factor), grid);
  const isFirst = inForce.appliedAtSamples === 0 && shift >= SHIFT_MIN;
  return isFirst || isDue(shift, samplesEver - inForce.appliedAtSamples, inForce) ? factor : null;
}

function isDue(shift: number, since: number, { appliedAtSamples }: { readonly appliedAtSamples: number }): boolean {
  if (shift >= SHIFT_LARGE && since >= WINDOWS_SOON) return true;
  return shift >= SHIFT_MIN && since >= Math.min(WINDOWS_LONG, Math.max(SAMPLES_MIN, GROWTH * appliedAtSamples));
}

/** 0 … 1; 1 where the modelled time itself departs. */
function shiftOf(fitted: EngineProfile, before: EngineProfile, grid: LearningGrid): number {
  const now = toTerms(fitted);
  const old = toTerms(before);
  let most = 0;
  for (const level of grid) {
    if (level === null || level.count < LEVEL_COUNT_MIN) continue;
    const nowMs = weighWork(level.x, now);
    const oldMs = weighWork(level.x, old);
    if (!(nowMs > 0 && oldMs > 0) || Math.abs(nowMs / oldMs - 1) >= SCALE_MIN) return 1;
    const moved = KINDS.reduce((sum, kind) => {
      const part = (terms: readonly number[], wholeMs: number): number =>
        kind.reduce((ms, index) => ms + (terms[index] ?? 0) * (level.x[index] ?? 0), 0) / wholeMs;
      return sum + Math.abs(part(now, nowMs) - part(old, oldMs));
    }, 0);
    most = Math.max(most, moved / 2);
  }
  return most;
}

/** Terms that the same work pays, at one load: a step pays its part of t0 and d, whichever of them is which; prompts a and q; context k. */
const KINDS: readonly (readonly number[])[] = [[0, 3], [1, 2], [4]];
