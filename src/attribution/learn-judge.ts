// Whether a newly learned profile is worth a new version of the pool facts: enough windows, and charges that would differ. Pure.
// Not here: the fit (learn-fit.ts), storing the version (accounting/publish-profiles.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';
import { type LearnedFit, toTerms } from './learn-fit.ts';
import { type LearningGrid, weighWork } from './learn-statistics.ts';

/** Busy windows before anything is applied: a minute of traffic. */
const SAMPLES_MIN = 60;
/** A fit that misses the windows' time by more explains nothing. */
const FIT_ERROR_MAX = 0.5;
/** Part of the charges that would move between kinds of work, at the load where it is most. */
const SHIFT_MIN = 0.02;
/** Departure of the modelled from the in-force time: prefill is placed and neighbours are dated by it. */
const SCALE_MIN = 0.05;
/** Levels with fewer windows do not decide. */
const LEVEL_COUNT_MIN = 20;

/** What is in force, and since which sample. */
export interface ProfileInForce {
  readonly profile: EngineProfile;
  readonly isLearned: boolean;
  /** Samples ever seen when it was applied; 0 where it was not learned. */
  readonly appliedAtSamples: number;
  /** The drift alarm is on: the engine has changed. */
  readonly drifting: boolean;
}

/**
 * True where the fit should be applied. Versions come ever more rarely: each needs twice the samples of the one before, and that it moves at
 * least 2 % of the charges of a load level or 5 % of the time; a drift alarm needs no doubling. Facts are never removed, so they must not churn.
 */
export function isWorthApplying(
  fit: LearnedFit,
  inForce: ProfileInForce,
  { grid, samplesEver }: { readonly grid: LearningGrid; readonly samplesEver: number },
): boolean {
  if (fit.samples < SAMPLES_MIN || fit.fitError > FIT_ERROR_MAX) return false;
  if (!inForce.isLearned) return true;
  const sinceApplied = samplesEver - inForce.appliedAtSamples;
  const isDue = inForce.drifting ? sinceApplied >= SAMPLES_MIN : sinceApplied >= inForce.appliedAtSamples;
  return isDue && shiftOf(fit.profile, inForce.profile, grid);
}

function shiftOf(fitted: EngineProfile, before: EngineProfile, grid: LearningGrid): boolean {
  return grid.some((level) => {
    if (level === null || level.count < LEVEL_COUNT_MIN) return false;
    const now = toTerms(fitted);
    const old = toTerms(before);
    const nowMs = weighWork(level.x, now);
    const oldMs = weighWork(level.x, old);
    if (!(nowMs > 0 && oldMs > 0) || Math.abs(nowMs / oldMs - 1) >= SCALE_MIN) return true;
    const moved = level.x.reduce(
      (sum, work, index) => sum + Math.abs(((now[index] ?? 0) * work) / nowMs - ((old[index] ?? 0) * work) / oldMs),
      0,
    );
    return moved / 2 >= SHIFT_MIN;
  });
}
