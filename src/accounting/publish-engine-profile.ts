// Makes a profile that was read from an engine's own iterations price the windows that follow: a new version of the store's fact book.
// Not here: reading it (telemetry), what the configuration wants (change-facts.ts).
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { DeploymentFacts, FactBook } from '#domain/pool-facts.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { windowOf } from '#domain/window.ts';
import { LEAD_WINDOWS } from './change-facts.ts';

/** What an engine's iterations say of the deployments it serves, on its own GPUs: replicas keep a profile each. */
export interface EngineProfileUpdate {
  readonly pool: string;
  readonly deployments: readonly string[];
  readonly profile: EngineProfile;
  /** Relative residual of the fit, 0 … 1. */
  readonly fitError: number;
  /** Windows' worth of iterations that it rests on. */
  readonly samples: number;
}

const STORE_ATTEMPTS_MAX = 8;

/**
 * The book with the profile as a new version from `nowWindow` + 2 on, beyond the frontier and the pool's last version; null where nothing differs. It
 * takes the place of a built-in or learned profile and of an older one of the engine, never of one that the configuration declares. Pure.
 */
export function mergeEngineProfile(
  book: FactBook,
  update: EngineProfileUpdate,
  at: { readonly nowWindow: number; readonly frontier: number | null },
): FactBook['pools'] | null {
  const versions = Object.hasOwn(book.pools, update.pool) ? (book.pools[update.pool] ?? []) : [];
  const last = versions.at(-1);
  if (last?.active !== true) return null;
  const replaced = update.deployments.flatMap((name) => {
    const known = Object.hasOwn(last.deployments, name) ? last.deployments[name] : undefined;
    const next = known === undefined ? null : replaceProfile(known, update);
    return next === null ? [] : [[name, next] as const];
  });
  if (replaced.length === 0) return null;
  const effectiveFrom = Math.max(at.nowWindow + LEAD_WINDOWS, (at.frontier ?? -1) + 1, last.effectiveFrom + 1);
  const deployments = { ...last.deployments, ...Object.fromEntries(replaced) };
  return { ...book.pools, [update.pool]: [...versions, { ...last, deployments, effectiveFrom }] };
}

/** Stores it by compare-and-set; true where it changed the book. Rejects with StoreUnavailableError, or an Error after eight lost races. */
export async function publishEngineProfile(
  store: Pick<SettlementStore, 'readFreezeInput' | 'putFacts'>,
  update: EngineProfileUpdate,
): Promise<boolean> {
  for (let attempt = 0; attempt < STORE_ATTEMPTS_MAX; attempt += 1) {
    const { facts, nowMs, frontier } = await store.readFreezeInput();
    const pools = mergeEngineProfile(facts, update, { nowWindow: windowOf(nowMs), frontier });
    if (pools === null) return false;
    if ((await store.putFacts(pools, facts.version)) === 'stored') return true;
  }
  throw new Error('the pool facts in the store kept changing while an engine profile was to be applied');
}

function replaceProfile(known: DeploymentFacts, update: EngineProfileUpdate): DeploymentFacts | null {
  if (known.profileSource === 'declared' || known.profileSource === 'calibrated') return null;
  const profile = toProfileFemtos(update.profile);
  const isSame =
    known.profileSource === 'engine' &&
    Object.entries(profile).every(([term, value]) => known.profile[term as keyof typeof profile] === value);
  if (isSame) return null;
  const { fitError, samples } = update;
  return { model: known.model, profile, profileSource: 'engine', profileFitError: fitError, profileSamples: samples };
}
