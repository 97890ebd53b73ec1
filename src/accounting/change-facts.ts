// Brings the store's fact book to what the configuration wants, without ever changing what is already priced.
// Not here: reading the configuration (pool-facts-from-config.ts), using facts (frontier.ts).
import { canonicalJson } from '#attribution/freeze-chain.ts';
import { isDeclaredUnder } from '#attribution/prefill-factor.ts';
import { formatUsdShortest } from '#domain/nano-usd.ts';
import {
  type DeploymentFacts,
  type FactBook,
  type PoolFacts,
  type PriceEntry,
  readPriceSchedules,
} from '#domain/pool-facts.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import { formatSecond, windowOf } from '#domain/window.ts';
import { isDeclared, isMeasured, takesFactor } from './profile-of.ts';
import type { WantedFacts } from './pool-facts-from-config.ts';

/** Windows between the decision and the first window priced by it: no process may have frozen that far (settlement.md: now − 2). */
export const LEAD_WINDOWS = 2;
const STORE_ATTEMPTS_MAX = 16;

/** A fact book, and what one process wants of it. */
export interface FactChange {
  readonly book: FactBook;
  readonly wanted: ReadonlyMap<string, WantedFacts>;
  /** Window of the store's clock. */
  readonly nowWindow: number;
  /** Last frozen window; null before the first member. */
  readonly frontier: number | null;
  /** True while other members settle through this store: what only they know must stay. */
  readonly otherMembers: boolean;
  /** Pools that this process's configuration just lost: they end for the others too. Absent: none. */
  readonly left?: ReadonlySet<string>;
}

/** `pools` is the whole new book; `refusals` are sentences for the operator, saying what was kept and what to do. */
export interface MergedFacts {
  readonly changed: boolean;
  readonly pools: FactBook['pools'];
  readonly refusals: readonly string[];
}

/**
 * Appends versions where facts differ (as JSON): a new pool from `nowWindow`, a changed one from `nowWindow` + 2, one that left the
 * configuration as inactive from `nowWindow` + 2, and always beyond the frontier and the pool's last version. Pools, and deployments of a
 * shared pool, that are missing from `wanted` stay while there are other members, but for pools that `left`: gateways of one configuration are
 * members to each other, and the GPUs would be paid for ever. Whoever still has such a pool brings it back with its next change or start.
 *
 * A price already in the book may get entries that begin after `nowWindow` + 1; an entry at or before it that is new or has another
 * amount is refused, and so is removing the one in force: that price keeps the schedule of the book, everything else goes through.
 * A pool moved to another price name is no change of a price. Old versions are never touched. Pure.
 */
export function mergeFacts(change: FactChange): MergedFacts {
  const known = readPriceSchedules(change.book);
  const refusals = new Map<string, string>();
  const pools: Record<string, readonly PoolFacts[]> = { ...change.book.pools };
  let changed = false;
  const append = (facts: WantedFacts, from: number): void => {
    const versions = pools[facts.pool] ?? [];
    const floor = Math.max(change.frontier ?? -1, versions.at(-1)?.effectiveFrom ?? -1) + 1;
    pools[facts.pool] = [...versions, { ...facts, effectiveFrom: Math.max(from, floor) }];
    changed = true;
  };
  for (const asked of change.wanted.values()) {
    const last = change.book.pools[asked.pool]?.at(-1);
    const measured = findMeasured(asked, last, change.book);
    const priced = keepMeasured(keepPrices(asked, known, { change, refusals }), measured);
    const facts = keepDeployments(priced, last, change.otherMembers);
    if (last === undefined) append(facts, change.nowWindow);
    else if (!sameFacts(facts, last)) append(facts, change.nowWindow + LEAD_WINDOWS);
  }
  for (const [pool, versions] of Object.entries(change.book.pools)) {
    const last = versions.at(-1);
    const isOver = !change.otherMembers || change.left?.has(pool) === true;
    const leaves = last?.active === true && !change.wanted.has(pool) && isOver;
    if (leaves) append({ ...last, active: false }, change.nowWindow + LEAD_WINDOWS);
  }
  return { changed, pools, refusals: [...refusals.values()] };
}

/** Where and for whom facts are stored. */
export interface StoreFactsOptions {
  readonly store: Pick<SettlementStore, 'readFreezeInput' | 'putFacts'>;
  /** Of this process; every other member's facts are kept. */
  readonly journal: string;
  readonly wanted: ReadonlyMap<string, WantedFacts>;
  /** See FactChange. */
  readonly left?: ReadonlySet<string>;
}

/**
 * Merges and stores by compare-and-set until it holds or nothing differs; returns the refusals and the book in force.
 * Safe to repeat. Rejects with StoreUnavailableError, after 16 lost races too.
 */
export async function storeFacts(
  options: StoreFactsOptions,
): Promise<{ readonly refusals: readonly string[]; readonly book: FactBook }> {
  for (let attempt = 0; attempt < STORE_ATTEMPTS_MAX; attempt += 1) {
    const input = await options.store.readFreezeInput();
    const { changed, pools, refusals } = mergeFacts({
      book: input.facts,
      wanted: options.wanted,
      nowWindow: windowOf(input.nowMs),
      frontier: input.frontier,
      otherMembers: input.members.some((member) => member.journal !== options.journal),
      ...(options.left === undefined ? {} : { left: options.left }),
    });
    if (!changed) return { refusals, book: input.facts };
    if ((await options.store.putFacts(pools, input.facts.version)) === 'stored') {
      return { refusals, book: { version: input.facts.version + 1, pools } };
    }
  }
  // Such as one that was emptied since it was opened: whoever joins asks it anew, and then sees whose books they are.
  throw new StoreUnavailableError(
    'the pool facts in the store kept changing; check that gateways do not run with different configurations',
  );
}

function keepPrices(
  facts: WantedFacts,
  known: ReadonlyMap<string, readonly PriceEntry[]>,
  { change, refusals }: { readonly change: FactChange; readonly refusals: Map<string, string> },
): WantedFacts {
  const name = facts.prices[0]?.name;
  const schedule = name === undefined ? undefined : known.get(name);
  if (name === undefined || schedule === undefined) return facts;
  const firstFree = Math.max(change.nowWindow + LEAD_WINDOWS, (change.frontier ?? -1) + 1);
  const problem = findBackDating(facts.prices, schedule, firstFree - 1);
  if (problem === null) return facts;
  const advice = `Add an entry of "${name}" with a \`from\` after ${formatSecond(firstFree)} instead, or name a new price.`;
  refusals.set(
    name,
    `${problem} Hours already priced keep their price, so the schedule in the store stays in force. ${advice}`,
  );
  return { ...facts, prices: schedule };
}

/** What is wrong with the part of `wanted` up to `lastClosed`, in a sentence; null when it says what `known` says. */
function findBackDating(
  wanted: readonly PriceEntry[],
  known: readonly PriceEntry[],
  lastClosed: number,
): string | null {
  for (const entry of wanted) {
    if (entry.from > lastClosed) continue;
    const before = known.find((other) => other.from === entry.from);
    const when = formatSecond(entry.from);
    const amount = formatUsdShortest(BigInt(entry.nanoUsdPerGpuHour));
    if (before === undefined)
      return `The price "${entry.name}" got an entry of ${amount} USD from ${when}, which is in the past.`;
    if (before.nanoUsdPerGpuHour !== entry.nanoUsdPerGpuHour) {
      const old = formatUsdShortest(BigInt(before.nanoUsdPerGpuHour));
      return `The price "${entry.name}" from ${when} was changed from ${old} to ${amount} USD, but that time is already priced.`;
    }
  }
  const inForce = known.findLast((entry) => entry.from <= lastClosed);
  if (inForce === undefined || wanted.some((entry) => entry.from === inForce.from)) return null;
  return `The entry of "${inForce.name}" from ${formatSecond(inForce.from)}, which is in force, was removed.`;
}

function keepDeployments(facts: WantedFacts, last: PoolFacts | undefined, otherMembers: boolean): WantedFacts {
  if (!otherMembers || last === undefined) return facts;
  return { ...facts, deployments: { ...last.deployments, ...facts.deployments } };
}

/**
 * The facts whose measured terms a pool goes on with: its own, but those of another replica of its deployments where it is new or was away, since
 * what is measured later is applied to all of them only where it differs from the first.
 */
function findMeasured(asked: WantedFacts, last: PoolFacts | undefined, book: FactBook): PoolFacts | undefined {
  if (last?.active === true || !asked.active) return last;
  const names = Object.keys(asked.deployments);
  const replicas = Object.values(book.pools).flatMap((versions) => versions.at(-1) ?? []);
  const isSame = ({ active, gpu, gpuMillionths, deployments }: PoolFacts): boolean =>
    active &&
    gpu === asked.gpu &&
    gpuMillionths === asked.gpuMillionths &&
    names.some((name) => Object.hasOwn(deployments, name));
  return replicas.find(isSame) ?? last;
}

/**
 * A configuration without a profile does not take away what was measured of the same model on the same GPUs, and one whose profile has not changed
 * does not take away which part of its prefill counts (unless it fixes these terms for any deployment here), nor the mark that the engine departs
 * from it. A further deployment of the same engine (a LoRA adapter), with the same declared terms, begins with the part of those that are there.
 */
function keepMeasured(facts: WantedFacts, last: PoolFacts | undefined): WantedFacts {
  if (last === undefined || last.gpu !== facts.gpu || last.gpuMillionths !== facts.gpuMillionths) return facts;
  const fixed = Object.values(facts.deployments).filter(({ profileFixed }) => profileFixed === true);
  const deployments = Object.entries(facts.deployments).map(([name, wanted]) => {
    const isFixed = fixed.some((other) => isDeclaredUnder(other, wanted.profile));
    const known = Object.hasOwn(last.deployments, name) ? last.deployments[name] : undefined;
    if (known === undefined) return [name, isFixed ? wanted : joinFactor(wanted, last)] as const;
    if (known.model !== wanted.model) return [name, wanted] as const;
    if (wanted.profileSource === 'builtin' && isMeasured(known)) return [name, known] as const;
    const priced = isFixed ? wanted : keepFactor(wanted, known);
    const isSame = canonicalJson(priced.profile) === canonicalJson(known.profile);
    const { profileDrift } = known;
    return [name, isSame && profileDrift !== undefined ? { ...priced, profileDrift } : priced] as const;
  });
  return { ...facts, deployments: Object.fromEntries(deployments) };
}

function keepFactor(wanted: DeploymentFacts, known: DeploymentFacts): DeploymentFacts {
  const { prefillFactor, profile } = known;
  if (prefillFactor === undefined || !isDeclared(wanted.profileSource)) return wanted;
  return takesFactor(known, wanted.profile) ? { ...wanted, profile, prefillFactor } : wanted;
}

function joinFactor(wanted: DeploymentFacts, { deployments }: PoolFacts): DeploymentFacts {
  for (const there of Object.values(deployments)) {
    const joined = keepFactor(wanted, there);
    if (joined !== wanted) return joined;
  }
  return wanted;
}

function sameFacts(facts: WantedFacts, last: PoolFacts): boolean {
  const { effectiveFrom: _, ...stored } = last;
  const { effectiveFrom: __, ...wanted } = { effectiveFrom: 0, ...facts };
  return canonicalJson(stored) === canonicalJson(wanted);
}
