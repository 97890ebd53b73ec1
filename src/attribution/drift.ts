// Whether an engine still runs as its profile says: real over modelled time of the windows lately, and an alarm with hysteresis. Pure.
// Not here: who is told (accounting/profile-learner.ts).

/** State of one profile's watch; plain JSON. */
export interface DriftState {
  /** The terms that are watched, as text: another profile begins anew. */
  readonly profile: string;
  /** Real and modelled milliseconds of the last windows, the older the less. */
  readonly busyMs: number;
  readonly modelledMs: number;
  readonly windows: number;
  /** Busy windows for which the departure has been beyond the limit without a break. */
  readonly outside: number;
  readonly alarmed: boolean;
}

/** Sums over some windows. */
export interface DriftWindows {
  readonly busyMs: number;
  readonly modelledMs: number;
  readonly windows: number;
}

/** Issue 4: the alarm is raised where inter-token latency departs from the model by more than this. */
export const DRIFT_LIMIT = 0.15;
/** It is taken back below this, so that it does not flicker. */
const DRIFT_CLEARED = 0.1;
/** Busy windows that are remembered, and for which a departure must last. */
const MEMORY_WINDOWS = 120;
const SUSTAINED_WINDOWS = 60;

/** A watch that has seen nothing of this profile. */
export function createDrift(profile: string): DriftState {
  return { profile, busyMs: 0, modelledMs: 0, windows: 0, outside: 0, alarmed: false };
}

/**
 * Real ÷ modelled time − 1: +0.2 where iterations, and with them the time between tokens, take 20 % longer than the profile says. Null before
 * a minute of busy windows.
 */
export function driftOf(state: DriftState): number | null {
  return state.windows >= SUSTAINED_WINDOWS && state.modelledMs > 0 ? state.busyMs / state.modelledMs - 1 : null;
}

/** The state after some more windows of the same profile. */
export function watchDrift(state: DriftState, more: DriftWindows): DriftState {
  if (more.windows <= 0) return state;
  const kept = (1 - 1 / MEMORY_WINDOWS) ** more.windows;
  const windows = state.windows + more.windows;
  const next = {
    ...state,
    windows,
    busyMs: state.busyMs * kept + more.busyMs,
    modelledMs: state.modelledMs * kept + more.modelledMs,
  };
  const drift = driftOf(next);
  if (drift === null) return next;
  const limit = state.alarmed ? DRIFT_CLEARED : DRIFT_LIMIT;
  const outside = Math.abs(drift) > limit ? state.outside + more.windows : 0;
  return { ...next, outside, alarmed: state.alarmed ? outside > 0 : outside >= SUSTAINED_WINDOWS };
}

/** The state of its JSON, or null where that is none. */
export function parseDrift(json: unknown): DriftState | null {
  if (typeof json !== 'object' || json === null) return null;
  const { profile, busyMs, modelledMs, windows, outside, alarmed } = json as Readonly<Record<string, unknown>>;
  const areSums = [busyMs, modelledMs, windows, outside].every(
    (value) => typeof value === 'number' && Number.isFinite(value) && value >= 0,
  );
  if (!areSums || typeof profile !== 'string' || typeof alarmed !== 'boolean') return null;
  return {
    profile,
    busyMs: Number(busyMs),
    modelledMs: Number(modelledMs),
    windows: Number(windows),
    outside: Number(outside),
    alarmed,
  };
}
