// Makes measured profiles price windows: appends versions to the store's fact book, and never touches one that is there.
// Not here: measuring (profile-learner.ts), what the configuration wants (change-facts.ts).
import type { DeploymentFacts, FactBook, PoolFacts } from '#domain/pool-facts.ts';
import type { ProfileFemtos } from '#domain/engine-profile.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import { groupOf } from '#attribution/learn-sample.ts';
import { scalePrefill } from '#attribution/prefill-factor.ts';
import { windowOf } from '#domain/window.ts';
import { LEAD_WINDOWS } from './change-facts.ts';
import { takesFactor } from './profile-of.ts';

/**
 * What is to be said from now on of deployments that share engines. It holds for the pools in which these have the same terms and no others have:
 * a replica with an adapter besides is a group of its own, measured by its own windows.
 */
export interface ProfileUpdate {
  readonly deployments: readonly string[];
  /** A learned profile that takes the place of a built-in or an older learned one; null leaves the profile. */
  readonly learned: {
    readonly profile: ProfileFemtos;
    readonly fitError: number;
    readonly samples: number;
  } | null;
  /** The part of the prefill terms that counts (1: all) of this declared profile; null leaves them. */
  readonly prefill: {
    readonly declared: ProfileFemtos;
    readonly factor: number;
    /** Standard error of the factor, and windows it rests on: for the log. */
    readonly error: number;
    readonly samples: number;
  } | null;
  /** Departure while the drift alarm is on, null while it is off. */
  readonly drift: number | null;
}

const STORE_ATTEMPTS_MAX = 8;
/** Two processes that came to the same profile at the same moment apply it once. */
const MIN_WINDOWS_BETWEEN = 15;

/**
 * The book with these updates, as new versions from `nowWindow` + 2 on and beyond the frontier; null where nothing differs. A profile that the
 * engine's statistics give is never replaced, only marked as drifting; one that the configuration declares keeps its terms too, but for the part of
 * prefill that counts. Pure.
 */
export function mergeProfiles(
  book: FactBook,
  updates: readonly ProfileUpdate[],
  at: { readonly nowWindow: number; readonly frontier: number | null },
): FactBook['pools'] | null {
  const pools: Record<string, readonly PoolFacts[]> = { ...book.pools };
  const fresh = new Set(updates.filter(({ deployments }) => wereAppliedLately(book, deployments, at.nowWindow)));
  let changed = false;
  for (const [pool, versions] of Object.entries(book.pools)) {
    const last = versions.at(-1);
    if (last?.active !== true) continue;
    const deployments = { ...last.deployments };
    let differs = false;
    for (const update of updates) {
      if (!isGroup(last, update.deployments)) continue;
      for (const name of update.deployments) {
        const known = Object.hasOwn(deployments, name) ? deployments[name] : undefined;
        const next = known === undefined ? undefined : applyUpdate(known, update, fresh.has(update));
        if (next === undefined) continue;
        deployments[name] = next;
        differs = true;
      }
    }
    if (!differs) continue;
    const from = Math.max(at.nowWindow + LEAD_WINDOWS, (at.frontier ?? -1) + 1, last.effectiveFrom + 1);
    pools[pool] = [...versions, { ...last, deployments, effectiveFrom: from }];
    changed = true;
  }
  return changed ? pools : null;
}

/** Stores the updates by compare-and-set; the book in force afterwards. Rejects with StoreUnavailableError, or an Error after eight lost races. */
export async function publishProfiles(
  store: Pick<SettlementStore, 'readFreezeInput' | 'putFacts'>,
  updates: readonly ProfileUpdate[],
): Promise<FactBook> {
  for (let attempt = 0; attempt < STORE_ATTEMPTS_MAX; attempt += 1) {
    const { facts, nowMs, frontier } = await store.readFreezeInput();
    const pools = mergeProfiles(facts, updates, { nowWindow: windowOf(nowMs), frontier });
    if (pools === null) return facts;
    if ((await store.putFacts(pools, facts.version)) === 'stored') return { version: facts.version + 1, pools };
  }
  throw new Error('the pool facts in the store kept changing while a learned profile was to be applied');
}

/** True where the pool's engine serves these deployments, sorted, under the same terms, and no other one. */
export function isGroup(facts: PoolFacts | undefined, names: readonly string[]): boolean {
  return facts?.active === true && groupOf(facts, names[0] ?? '') === names.join('+');
}

/**
 * True where any replica of these deployments got other terms a moment ago. All of them wait then, or none: those left out would keep theirs until
 * something else is measured. A replica that joined, another price, or terms that an engine gave for itself are no such change.
 */
function wereAppliedLately(book: FactBook, names: readonly string[], nowWindow: number): boolean {
  const changes = (now: PoolFacts, before: PoolFacts | undefined): boolean =>
    now.active &&
    before?.active === true &&
    names.some((name) => {
      const [facts, old] = [now, before].map(({ deployments }) =>
        Object.hasOwn(deployments, name) ? deployments[name] : undefined,
      );
      if (facts === undefined || old === undefined || facts.profileSource === 'engine') return false;
      return canonicalJson(facts.profile) !== canonicalJson(old.profile);
    });
  const ours = Object.values(book.pools).filter((versions) => isGroup(versions.at(-1), names));
  return ours.some((versions) =>
    versions.some(
      (facts, index) => facts.effectiveFrom > nowWindow - MIN_WINDOWS_BETWEEN && changes(facts, versions[index - 1]),
    ),
  );
}

/** Undefined where nothing differs. */
function applyUpdate(known: DeploymentFacts, update: ProfileUpdate, isFresh: boolean): DeploymentFacts | undefined {
  const { profileDrift: mark = null, ...unmarked } = known;
  if (update.learned !== null && !isFresh && (known.profileSource === 'builtin' || known.profileSource === 'learned')) {
    const { profile, fitError, samples } = update.learned;
    // A new profile has not drifted yet.
    return { ...unmarked, profile, profileSource: 'learned', profileFitError: fitError, profileSamples: samples };
  }
  if (update.prefill !== null && !isFresh && takesFactor(known, update.prefill.declared)) {
    const { declared, factor } = update.prefill;
    const { prefillFactor: before = 1, ...declaredFacts } = unmarked;
    if (factor !== before) {
      const part = factor === 1 ? {} : { prefillFactor: factor };
      return { ...declaredFacts, profile: scalePrefill(declared, factor), ...part };
    }
  }
  if ((mark !== null) === (update.drift !== null)) return undefined;
  return update.drift === null ? unmarked : { ...unmarked, profileDrift: Number(update.drift.toFixed(3)) };
}
