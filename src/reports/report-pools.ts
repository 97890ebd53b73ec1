// The capacity side of a report: pools with their prices and profiles, and the booked totals.
import type { BookCell } from '#domain/books.ts';
import type { DeploymentConfig } from '#config/config.ts';
import type { FactBook, PoolFacts } from '#domain/pool-facts.ts';
import type { Period } from '#domain/books.ts';
import { createHash } from 'node:crypto';
import type { ReportPool, ReportPrice } from './report-shape.ts';

/** A URL of the deployment hides several engines (contract §3 `replicas`), so its figures are marked. */
export function isPooled({ upstreams }: Pick<DeploymentConfig, 'upstreams'>): boolean {
  return upstreams.some(({ replicas }) => replicas > 1);
}

/**
 * One line per deployment (or joined deployments) and GPU model, sorted by both; only what was booked in the period. `pooled` names the
 * deployments that are.
 */
export function sumPools(
  books: readonly BookCell[],
  facts: FactBook,
  { pooled = new Set(), ...period }: Period & { readonly pooled?: ReadonlySet<string> },
): readonly ReportPool[] {
  const groups = Map.groupBy(books, ({ deployments, gpu }) => JSON.stringify([deployments, gpu]));
  const keys = [...groups.keys()].sort();
  return keys.flatMap((key) => {
    const group = groups.get(key) ?? [];
    const first = group[0];
    return first === undefined ? [] : [sumPool(first, group, { facts, period, pooled })];
  });
}

/** Hex SHA-256 over name, start and amount of all prices of the pools, independent of their order. */
export function hashPrices(pools: readonly ReportPool[]): string {
  const lines = pools.flatMap(({ deployment, gpu, prices }) =>
    prices.map(({ name, from, nanoUsdPerGpuHour }) =>
      JSON.stringify([deployment, gpu, name, from, String(nanoUsdPerGpuHour)]),
    ),
  );
  return createHash('sha256')
    .update([...new Set(lines)].sort().join('\n'))
    .digest('hex');
}

function sumPool(
  first: BookCell,
  books: readonly BookCell[],
  { facts, period, pooled }: { facts: FactBook; period: Period; pooled: ReadonlySet<string> },
): ReportPool {
  const sum = (metric: keyof BookCell['metrics']) => books.reduce((total, book) => total + book.metrics[metric], 0n);
  const versions = versionsOf(books, facts, period);
  const inForce = versions.flatMap((version) =>
    Object.values(version.facts.deployments).map((entry) => ({ ...version, entry })),
  );
  const last = Math.max(...inForce.map(({ from }) => from));
  const newest = inForce.filter(({ from }) => from === last).map(({ entry }) => entry);
  const fitErrors = newest.map(({ profileFitError }) => profileFitError).filter((error) => error !== null);
  return {
    deployment: first.deployments,
    gpu: first.gpu,
    pooled: first.deployments.split('+').some((name) => pooled.has(name)),
    prices: pricesOf(versions),
    profileSource:
      newest.length === 0 ? null : [...new Set(newest.map(({ profileSource }) => profileSource))].sort().join('+'),
    profileFitError: fitErrors.length === 0 ? null : Math.max(...fitErrors),
    profileSamples: farthest(newest.map(({ profileSamples }) => profileSamples)),
    profilePrefillFactor: smallest(newest.map(({ prefillFactor }) => prefillFactor)),
    profileDrift: farthest(inForce.map(({ entry }) => entry.profileDrift)),
    capacityGpuMicros: sum('capacityGpuMicros'),
    capacityNanoUsd: sum('capacityNanoUsd'),
    chargedNanoUsd: sum('chargedNanoUsd'),
    idleNanoUsd: sum('idleNanoUsd'),
    unavailableNanoUsd: sum('unavailableNanoUsd'),
    unobservedNanoUsd: sum('unobservedNanoUsd'),
    unmeteredNanoUsd: sum('unmeteredNanoUsd'),
    busySeconds: { in_flight: sum('inFlightWindows'), engine: sum('engineWindows'), dcgm: sum('dcgmWindows') },
    pendingNanoUsd: sum('chargedNanoUsd') - sum('claimedNanoUsd'),
  };
}

/** The value farthest from zero; null without any. */
function farthest(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.reduce<number | null>(
    (most, value) => (most === null || Math.abs(value) > Math.abs(most) ? value : most),
    null,
  );
}

/** Null without any. */
function smallest(values: readonly (number | undefined)[]): number | null {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? null : Math.min(...known);
}

/** A version of a pool's facts with the part of the period in which it was in force (epoch seconds). */
interface FactsInPeriod {
  readonly facts: PoolFacts;
  readonly from: number;
  readonly to: number;
}

function versionsOf(books: readonly BookCell[], facts: FactBook, period: Period): readonly FactsInPeriod[] {
  const pools = [...new Set(books.map(({ pool }) => pool))];
  return pools.flatMap((pool) => {
    const versions = facts.pools[pool] ?? [];
    return versions
      .map((version, index) => ({
        facts: version,
        from: Math.max(period.from, version.effectiveFrom),
        to: Math.min(period.to, versions[index + 1]?.effectiveFrom ?? Infinity),
      }))
      .filter(({ from, to, facts: { active } }) => from < to && active);
  });
}

function pricesOf(versions: readonly FactsInPeriod[]): readonly ReportPrice[] {
  const used = new Map<string, ReportPrice>();
  for (const { facts, from, to } of versions) {
    for (const [index, price] of facts.prices.entries()) {
      const until = facts.prices[index + 1]?.from ?? Infinity;
      if (price.from >= to || until <= from) continue;
      const line = { name: price.name, nanoUsdPerGpuHour: BigInt(price.nanoUsdPerGpuHour), from: price.from };
      used.set(JSON.stringify([line.name, line.from, price.nanoUsdPerGpuHour]), line);
    }
  }
  return [...used.values()].sort((a, b) => a.from - b.from || (a.name < b.name ? -1 : 1));
}
