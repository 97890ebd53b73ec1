// What is remembered of every engine between rounds of learning, as the store's document holds it. Pure.
// Not here: collecting windows and applying profiles (profile-learner.ts), the store (domain/learner-store.ts).
import { createDrift, type DriftState, type DriftWindows, parseDrift, watchDrift } from '#attribution/drift.ts';
import {
  createGrid,
  forget,
  type LearningGrid,
  mergeGrid,
  parseGrid,
  renderGrid,
} from '#attribution/learn-statistics.ts';

/** Of deployments that share a profile, named by `groupOf`. */
export interface LearnedGroup {
  /** GPU, number of GPUs and model: on others everything is learned anew. */
  readonly engine: string;
  readonly grid: LearningGrid;
  /** Busy windows ever, and how many there had been when a profile was last applied (0: never). */
  samplesEver: number;
  appliedAtSamples: number;
  /** Null before the first window. */
  drift: DriftState | null;
  lastWindow: number;
}

export type LearnedState = Map<string, LearnedGroup>;

/** Windows of one group that one process saw frozen since it last stored them. */
export interface FreshWindows {
  readonly engine: string;
  readonly grid: LearningGrid;
  readonly samples: number;
  /** The profile in force in the last of them, as text, and the sums of those under it. */
  readonly profile: string;
  readonly drift: DriftWindows;
  readonly lastWindow: number;
}

/** Groups kept; the longest without a window goes first. About 3 kB each. */
export const GROUPS_MAX = 256;
/** A profile that drifts was learned from another engine: so little of what was seen before remains. */
const KEPT_AFTER_DRIFT = 0.02;

/** The document's state; empty where it is none, so that learning begins anew rather than not at all. */
export function parseLearned(text: string): LearnedState {
  const state: LearnedState = new Map();
  for (const [name, json] of Object.entries(readGroups(text))) {
    if (typeof json !== 'object' || json === null || state.size >= GROUPS_MAX) continue;
    const { engine, grid, samplesEver, appliedAtSamples, drift, lastWindow } = json as Readonly<
      Record<string, unknown>
    >;
    const parsed = parseGrid(grid);
    if (typeof engine !== 'string' || parsed === null || ![samplesEver, appliedAtSamples, lastWindow].every(isCount))
      continue;
    state.set(name, {
      engine,
      grid: parsed,
      samplesEver: Number(samplesEver),
      appliedAtSamples: Number(appliedAtSamples),
      drift: parseDrift(drift),
      lastWindow: Number(lastWindow),
    });
  }
  return state;
}

/** JSON text of a state. */
export function renderLearned(state: LearnedState): string {
  const groups = [...state].map(([name, group]) => [name, { ...group, grid: renderGrid(group.grid) }] as const);
  return JSON.stringify({ schema: 1, groups: Object.fromEntries(groups) });
}

/**
 * Adds fresh windows in place, and tells whether the drift alarm of the group was raised or taken back by them. A learned profile whose alarm is
 * raised forgets nearly all windows before: they are another engine's.
 */
export function addWindows(
  state: LearnedState,
  name: string,
  { fresh, relearns }: { readonly fresh: FreshWindows; readonly relearns: boolean },
): 'raised' | 'cleared' | null {
  const known = state.get(name);
  const group = known?.engine === fresh.engine ? known : openGroup(state, name, fresh.engine);
  const before = group.drift?.profile === fresh.profile ? group.drift : createDrift(fresh.profile);
  group.drift = watchDrift(before, fresh.drift);
  group.lastWindow = Math.max(group.lastWindow, fresh.lastWindow);
  group.samplesEver += fresh.samples;
  const raised = group.drift.alarmed && !before.alarmed;
  if (raised && relearns) forget(group.grid, KEPT_AFTER_DRIFT);
  mergeGrid(group.grid, fresh.grid);
  if (raised) return 'raised';
  return before.alarmed && !group.drift.alarmed ? 'cleared' : null;
}

function openGroup(state: LearnedState, name: string, engine: string): LearnedGroup {
  if (state.size >= GROUPS_MAX && !state.has(name)) {
    const [oldest] = [...state].toSorted(([, a], [, b]) => a.lastWindow - b.lastWindow);
    if (oldest !== undefined) state.delete(oldest[0]);
  }
  const group = { engine, grid: createGrid(), samplesEver: 0, appliedAtSamples: 0, drift: null, lastWindow: 0 };
  state.set(name, group);
  return group;
}

function readGroups(text: string): object {
  try {
    const json: unknown = JSON.parse(text);
    const groups: unknown = typeof json === 'object' && json !== null && 'groups' in json ? json.groups : null;
    return typeof groups === 'object' && groups !== null ? groups : {};
  } catch {
    return {};
  }
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}
