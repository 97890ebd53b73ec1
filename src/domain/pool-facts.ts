// What every process must agree on to price a window: GPUs, price and profiles of each pool, versioned by effective window.
import type { ProfileFemtos, ProfileSource } from './engine-profile.ts';

/** Integer nanodollars in a JSON-safe decimal string. */
export type NanoText = string;

/** One entry of an effective-dated price, in force from a second of the store's clock until the next entry. */
export interface PriceEntry {
  readonly name: string;
  /** Epoch second, inclusive. */
  readonly from: number;
  readonly nanoUsdPerGpuHour: NanoText;
  readonly source: string;
}

/** When a pool's GPUs are paid for: always, while healthy, or by a weekly schedule. */
export type Provisioning =
  | { readonly kind: 'always' }
  | { readonly kind: 'health' }
  | { readonly kind: 'schedule'; readonly rules: readonly ScheduleRule[] };

export interface ScheduleRule {
  /** ISO weekdays, 1 = Monday … 7 = Sunday. */
  readonly days: readonly number[];
  /** Minutes of the local day; `to` exclusive, 1440 = midnight at its end. */
  readonly fromMinute: number;
  readonly toMinute: number;
  /** IANA zone. */
  readonly timezone: string;
}

export interface DeploymentFacts {
  readonly model: string;
  /** The terms that windows are priced with: of a declared profile with a `prefillFactor`, those of its prefill times that. */
  readonly profile: ProfileFemtos;
  readonly profileSource: ProfileSource;
  /** Relative residual of the fit, 0 … 1; null for a declared or built-in profile. */
  readonly profileFitError: number | null;
  /** Windows that a learned profile rests on; absent where nothing was learned. */
  readonly profileSamples?: number;
  /** Real ÷ modelled time − 1 when the drift alarm was raised; absent while the engine runs as the profile says. */
  readonly profileDrift?: number;
  /** Measured part of the declared prefill terms that lengthens iterations, 0.3 … 0.99 in hundredths; absent: the terms as declared. */
  readonly prefillFactor?: number;
  /** The configuration wants its terms as they are: no part of them is measured. Absent: no. */
  readonly profileFixed?: true;
}

/** Facts of one pool in one version. `R` of settlement.md = price in force × gpuMillionths / 10^6 (see poolHourNanoUsd). */
export interface PoolFacts {
  readonly pool: string;
  /** First window priced by this version. */
  readonly effectiveFrom: number;
  /** False: the pool left the config; no capacity accrues from `effectiveFrom` on. */
  readonly active: boolean;
  readonly gpu: string;
  /** GPUs of the pool × 10^6 (fractions of a GPU under MIG). */
  readonly gpuMillionths: number;
  /** Ascending by `from`, one price name. */
  readonly prices: readonly PriceEntry[];
  readonly provisioned: Provisioning;
  /** By deployment name; several where a pool is shared. */
  readonly deployments: Readonly<Record<string, DeploymentFacts>>;
}

/** The store's whole fact book. Versions per pool ascend by `effectiveFrom`; old versions are never removed or changed. */
export interface FactBook {
  /** Compare-and-set number, from 0 (empty). */
  readonly version: number;
  readonly pools: Readonly<Record<string, readonly PoolFacts[]>>;
}

/** Facts in force for a pool at a window, or undefined before its first version. */
export function factsInForce(book: FactBook, pool: string, window: number): PoolFacts | undefined {
  return book.pools[pool]?.findLast((facts) => facts.effectiveFrom <= window);
}

/** Price entry in force at a window, or undefined before the first. */
export function priceAt(facts: PoolFacts, window: number): PriceEntry | undefined {
  return facts.prices.findLast((entry) => entry.from <= window);
}

/** R: integer nanodollars for one hour of the whole pool at a price, rounded half up once. */
export function poolHourNanoUsd(facts: PoolFacts, price: PriceEntry): bigint {
  return (BigInt(price.nanoUsdPerGpuHour) * BigInt(facts.gpuMillionths) + 500_000n) / 1_000_000n;
}

/** By price name, the schedule of the version that holds furthest: what this name means in the store. */
export function readPriceSchedules(book: FactBook): ReadonlyMap<string, readonly PriceEntry[]> {
  const known = new Map<string, { readonly effectiveFrom: number; readonly prices: readonly PriceEntry[] }>();
  for (const versions of Object.values(book.pools)) {
    for (const { prices, effectiveFrom } of versions) {
      const name = prices[0]?.name;
      if (name === undefined || (known.get(name)?.effectiveFrom ?? -1) > effectiveFrom) continue;
      known.set(name, { effectiveFrom, prices });
    }
  }
  return new Map([...known].map(([name, { prices }]) => [name, prices]));
}
