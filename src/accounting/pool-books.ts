// Sums what a freeze books for one pool: windows with work one by one, all others in closed form per run. Pure.
// Not here: how far the freeze reaches and its hash (frontier.ts).
import { freezeWindow, type FrozenWindow, type JournalPublication } from '#attribution/freeze-window.ts';
import { capacityNanoUsd } from '#attribution/window-capacity.ts';
import type { BusySource } from '#domain/busy-source.ts';
import { poolHourNanoUsd, priceAt, type PoolFacts } from '#domain/pool-facts.ts';
import type { BookIncrement, BookMetric, FreezeInput, ShareWindow } from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';
import { findProvisioningRuns, type ProvisioningRun } from './provisioning.ts';

/** One pool's part of a freeze: the windows `from` … `to` (inclusive, within one UTC hour). */
export interface PoolFreeze {
  readonly pool: string;
  readonly from: number;
  readonly to: number;
  /** Facts, health and members of the snapshot. */
  readonly input: Pick<FreezeInput, 'facts' | 'health' | 'members'>;
  /** Of this pool and range, by window. */
  readonly publications: ReadonlyMap<number, readonly JournalPublication[]>;
}

/** Books of the pool (one increment per name and GPU it had) and the shares of each journal, ascending by window. */
export interface PoolBooks {
  readonly books: readonly BookIncrement[];
  readonly shares: readonly { readonly journal: string; readonly share: ShareWindow }[];
}

type Sums = Partial<Record<BookMetric, bigint>>;

const WINDOWS_BY_SOURCE = {
  in_flight: 'inFlightWindows',
  engine: 'engineWindows',
  dcgm: 'dcgmWindows',
} as const satisfies Record<BusySource, BookMetric>;

/**
 * Capacity accrues in every provisioned window whether or not anybody published; the sum over runs in closed form is the sum over windows,
 * since window capacities telescope. Publications from before the pool's first facts, or of a pool without any, get a share of zero.
 */
export function computePoolBooks(freeze: PoolFreeze): PoolBooks {
  const shares: { journal: string; share: ShareWindow }[] = [];
  const sumsByLabel = new Map<string, { readonly facts: PoolFacts; readonly sums: Sums }>();
  for (const segment of cutByFacts(freeze)) {
    const { facts } = segment;
    const runs =
      facts === undefined ? [unknownRun(segment)] : findProvisioningRuns({ ...freeze.input, ...segment, facts });
    const label = facts === undefined ? '' : `${facts.gpu}\n${nameDeployments(facts)}`;
    const sums = sumsByLabel.get(label)?.sums ?? {};
    if (facts !== undefined) sumsByLabel.set(label, { facts, sums });
    for (const run of runs) {
      for (const piece of cutAtPublications(run, freeze.publications)) {
        if (piece.publications === undefined) {
          if (facts !== undefined) addQuietRun(sums, facts, piece.run);
          continue;
        }
        const { from: window, ...flags } = piece.run;
        const { publications } = piece;
        const known = facts && withPassing(facts, freeze.input.facts.pools[freeze.pool] ?? [], publications);
        const frozen = freezeWindow({ ...flags, window, facts: known, publications });
        addWindow(sums, frozen);
        shares.push(...toShares(freeze.pool, window, frozen));
      }
    }
  }
  const books = [...sumsByLabel.values()].flatMap(({ facts, sums }) => toIncrement(freeze, facts, sums));
  return { books, shares };
}

interface FactsSegment {
  readonly facts: PoolFacts | undefined;
  readonly from: number;
  readonly to: number;
}

/** Segments with one version of facts and one price each. */
function cutByFacts({ pool, from, to, input }: PoolFreeze): readonly FactsSegment[] {
  const versions = input.facts.pools[pool] ?? [];
  const starts = new Set([from]);
  for (const version of versions) {
    for (const start of [version.effectiveFrom, ...version.prices.map((price) => price.from)]) {
      if (start > from && start <= to) starts.add(start);
    }
  }
  const ordered = [...starts].toSorted((a, b) => a - b);
  return ordered.map((start, index) => ({
    facts: versions.findLast((version) => version.effectiveFrom <= start),
    from: start,
    to: (ordered[index + 1] ?? to + 1) - 1,
  }));
}

function unknownRun({ from, to }: FactsSegment): ProvisioningRun {
  return { from, to, provisioned: false, available: true, observed: false };
}

/**
 * The facts, and those of deployments with work that this version does not name: they left a pool that others go on using while requests of theirs
 * ran, or came with the version that follows. Without any their work would be free, and paid for by the others. What they were last, else what they
 * will be.
 */
function withPassing(
  facts: PoolFacts,
  versions: readonly PoolFacts[],
  publications: readonly JournalPublication[],
): PoolFacts {
  const names = new Set(publications.flatMap(({ publication }) => Object.keys(publication.deployments ?? {})));
  const passing = [...names].flatMap((name) => {
    if (Object.hasOwn(facts.deployments, name)) return [];
    const hasIt = (version: PoolFacts): boolean => Object.hasOwn(version.deployments, name);
    const isBefore = ({ effectiveFrom }: PoolFacts): boolean => effectiveFrom < facts.effectiveFrom;
    const nearest = versions.findLast((version) => isBefore(version) && hasIt(version)) ?? versions.find(hasIt);
    const known = nearest?.deployments[name];
    return known === undefined ? [] : [[name, known] as const];
  });
  if (passing.length === 0) return facts;
  return { ...facts, deployments: { ...facts.deployments, ...Object.fromEntries(passing) } };
}

/** Pieces of a run: quiet stretches, and single windows with their publications. */
function cutAtPublications(
  run: ProvisioningRun,
  publications: PoolFreeze['publications'],
): readonly { readonly run: ProvisioningRun; readonly publications: readonly JournalPublication[] | undefined }[] {
  const pieces: { run: ProvisioningRun; publications: readonly JournalPublication[] | undefined }[] = [];
  let start = run.from;
  const busy = [...publications.keys()].filter((window) => window >= run.from && window <= run.to);
  for (const window of busy.toSorted((a, b) => a - b)) {
    if (window > start) pieces.push({ run: { ...run, from: start, to: window - 1 }, publications: undefined });
    pieces.push({ run: { ...run, from: window, to: window }, publications: publications.get(window) });
    start = window + 1;
  }
  if (start <= run.to) pieces.push({ run: { ...run, from: start, to: run.to }, publications: undefined });
  return pieces;
}

function addQuietRun(sums: Sums, facts: PoolFacts, run: ProvisioningRun): void {
  if (!run.provisioned) return;
  const price = priceAt(facts, run.from);
  const hourNanoUsd = price === undefined ? 0n : poolHourNanoUsd(facts, price);
  const capacity = capacityNanoUsd(hourNanoUsd, run.from, run.to);
  const seconds = BigInt(run.to - run.from + 1);
  add(sums, 'capacityNanoUsd', capacity);
  add(sums, 'idleNanoUsd', capacity);
  if (!run.observed) add(sums, 'unobservedNanoUsd', capacity);
  else if (!run.available) add(sums, 'unavailableNanoUsd', capacity);
  add(sums, 'capacityGpuMicros', seconds * BigInt(facts.gpuMillionths));
  add(sums, 'provisionedSeconds', seconds);
}

function addWindow(sums: Sums, frozen: FrozenWindow): void {
  add(sums, 'capacityNanoUsd', frozen.capacityNanoUsd);
  add(sums, 'chargedNanoUsd', frozen.chargedNanoUsd);
  add(sums, 'idleNanoUsd', frozen.idleNanoUsd);
  add(sums, 'unavailableNanoUsd', frozen.unavailableNanoUsd);
  add(sums, 'unobservedNanoUsd', frozen.unobservedNanoUsd);
  add(sums, 'capacityGpuMicros', frozen.capacityGpuMicros);
  add(sums, 'chargedGpuMicros', frozen.gpuMicros);
  add(sums, 'busyMs', BigInt(frozen.busyMs));
  add(sums, 'flightMs', BigInt(frozen.flightMs));
  add(sums, 'provisionedSeconds', BigInt(frozen.provisionedSeconds));
  add(sums, 'inFlightMs', BigInt(frozen.inFlightMs));
  add(sums, 'deviceActiveMs', BigInt(frozen.deviceActiveMs));
  if (frozen.busyMs > 0) add(sums, WINDOWS_BY_SOURCE[frozen.busySource], 1n);
}

function add(sums: Sums, metric: BookMetric, amount: bigint): void {
  if (amount !== 0n) sums[metric] = (sums[metric] ?? 0n) + amount;
}

function toShares(pool: string, window: number, frozen: FrozenWindow): PoolBooks['shares'] {
  return [...frozen.shares].map(([journal, share]) => ({
    journal,
    share: {
      pool,
      window,
      nanoUsd: share.nanoUsd.toString(),
      gpuMicros: share.gpuMicros.toString(),
      weights: share.setAside ? null : frozen.weights,
      nanoUsdPerGpuHour: frozen.nanoUsdPerGpuHour.toString(),
      ...(share.setAside || frozen.weights === null ? {} : { busySource: frozen.busySource }),
    },
  }));
}

function toIncrement(freeze: PoolFreeze, facts: PoolFacts, sums: Sums): readonly BookIncrement[] {
  const metrics = Object.fromEntries(Object.entries(sums).map(([metric, amount]) => [metric, amount.toString()]));
  if (Object.keys(metrics).length === 0) return [];
  return [
    {
      hour: hourOf(freeze.from),
      pool: freeze.pool,
      deployments: nameDeployments(facts),
      gpu: facts.gpu,
      metrics,
    },
  ];
}

function nameDeployments(facts: PoolFacts): string {
  return Object.keys(facts.deployments).toSorted().join('+');
}
