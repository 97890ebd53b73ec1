// Freezes one window of one pool: capacity into charged and idle, charged and GPU time into a share per journal. Pure.
// Not here: runs of windows without traffic and the books (accounting/frontier.ts), a journal's own split (accounting).
import type { BusySource } from '#domain/busy-source.ts';
import { poolHourNanoUsd, priceAt, type PoolFacts } from '#domain/pool-facts.ts';
import type { FrozenWeights, Publication } from '#domain/settlement.ts';
import { chooseActivity, readBusyTime, sumDeviceActiveMs } from './busy-time.ts';
import { freezeWeights } from './frozen-weights.ts';
import { isSoundPublication } from './sound-publication.ts';
import { splitExactly } from './split-exactly.ts';
import { capacityNanoUsd } from './window-capacity.ts';
import { parseFrozenWeights, weightOf, type DeploymentWeights } from './work-model.ts';

/** One process's publication, with the journal that sent it. */
export interface JournalPublication {
  readonly journal: string;
  readonly publication: Publication;
}

/** Everything that decides one window of one pool. */
export interface WindowToFreeze {
  readonly window: number;
  /** In force at the window; undefined where the pool has none. */
  readonly facts: PoolFacts | undefined;
  readonly publications: readonly JournalPublication[];
  /** The GPUs are paid for in this window; a sound publication implies all three. */
  readonly provisioned: boolean;
  /** The engine answered its health checks. */
  readonly available: boolean;
  /** Some gateway was watching. */
  readonly observed: boolean;
}

/** A journal's part of one window. */
export interface JournalShare {
  readonly nanoUsd: bigint;
  readonly gpuMicros: bigint;
  /** True: none of its publications could be priced (not sound, or no facts), so its share is zero for good. */
  readonly setAside: boolean;
}

/** capacity = charged + idle; Σ shares = charged, Σ their gpuMicros = gpuMicros. `unavailable` and `unobserved` are disjoint parts of idle. */
export interface FrozenWindow {
  readonly capacityNanoUsd: bigint;
  readonly chargedNanoUsd: bigint;
  readonly idleNanoUsd: bigint;
  readonly unavailableNanoUsd: bigint;
  readonly unobservedNanoUsd: bigint;
  /** Provisioned GPU time of the window, microseconds × GPUs. */
  readonly capacityGpuMicros: bigint;
  /** Charged GPU time: ⌊B·gpuMillionths/1000⌋. */
  readonly gpuMicros: bigint;
  /** B: milliseconds with an attempt in flight, 0 where no work could be charged. */
  readonly busyMs: number;
  /** Where `busyMs` was read. */
  readonly busySource: BusySource;
  /** Milliseconds with an attempt in flight, whatever the source. */
  readonly inFlightMs: number;
  /** GPU activity that DCGM told of in this window's publications, ms. */
  readonly deviceActiveMs: number;
  /** Σ milliseconds in flight of all attempts: divided by busyMs it is the mean concurrency. */
  readonly flightMs: number;
  /** 1 where the window's capacity was paid for. */
  readonly provisionedSeconds: 0 | 1;
  /** Null where nothing was charged. */
  readonly weights: FrozenWeights | null;
  /** Price of the window per GPU-hour; 0 before the first price. */
  readonly nanoUsdPerGpuHour: bigint;
  /** One entry per journal that published, in order of journal id. */
  readonly shares: ReadonlyMap<string, JournalShare>;
}

/**
 * Applies settlement.md's arithmetic to one window. Publications that are not sound, and those none of whose deployments has facts, are set
 * aside: they get zero, and their busy and sequence milliseconds do not count. Never throws on what a publication holds.
 */
export function freezeWindow(input: WindowToFreeze): FrozenWindow {
  const { facts, window } = input;
  const usable = facts === undefined ? [] : input.publications.filter((entry) => isUsable(entry.publication, facts));
  const provisioned = facts !== undefined && (usable.length > 0 || (facts.active && input.provisioned));
  const price = facts === undefined ? undefined : priceAt(facts, window);
  const hourNanoUsd = facts === undefined || price === undefined ? 0n : poolHourNanoUsd(facts, price);
  const capacity = provisioned ? capacityNanoUsd(hourNanoUsd, window, window) : 0n;
  const division = divideWork(usable, input, facts);
  const charged = (capacity * BigInt(division.busyMs)) / 1000n;
  const gpuMillionths = BigInt(facts?.gpuMillionths ?? 0);
  const gpuMicros = (BigInt(division.busyMs) * gpuMillionths) / 1000n;
  const idle = capacity - charged;
  const watched = input.observed || usable.length > 0;
  const available = input.available || usable.length > 0;
  return {
    capacityNanoUsd: capacity,
    chargedNanoUsd: charged,
    idleNanoUsd: idle,
    unavailableNanoUsd: watched && !available ? idle : 0n,
    unobservedNanoUsd: watched ? 0n : idle,
    capacityGpuMicros: provisioned ? gpuMillionths : 0n,
    gpuMicros,
    busyMs: division.busyMs,
    busySource: division.busySource,
    inFlightMs: division.inFlightMs,
    deviceActiveMs: sumDeviceActiveMs(input.publications.map((entry) => entry.publication)),
    flightMs: division.flightMs,
    provisionedSeconds: provisioned ? 1 : 0,
    weights: division.weights,
    nanoUsdPerGpuHour: BigInt(price?.nanoUsdPerGpuHour ?? 0),
    shares: shareOut(input.publications.filter(hasWork), division.byJournal, { charged, gpuMicros }),
  };
}

interface Division {
  readonly busyMs: number;
  readonly busySource: BusySource;
  readonly inFlightMs: number;
  readonly flightMs: number;
  readonly weights: FrozenWeights | null;
  readonly byJournal: ReadonlyMap<string, bigint>;
}

function isUsable(publication: Publication, facts: PoolFacts): boolean {
  return (
    isSoundPublication(publication) &&
    Object.keys(publication.deployments).some((deployment) => Object.hasOwn(facts.deployments, deployment))
  );
}

/** False for a publication that only tells what the GPUs did: it has no share. */
function hasWork({ publication }: JournalPublication): boolean {
  const tells = publication.activity !== undefined || publication.deviceActiveMs !== undefined;
  return !tells || Object.keys(publication.deployments ?? {}).length > 0;
}

function divideWork(
  usable: readonly JournalPublication[],
  { publications }: WindowToFreeze,
  facts: PoolFacts | undefined,
): Division {
  const flightMs = sumFlightMs(usable, facts);
  const { busyMs, source, inFlightMs } = readBusyTime(
    usable.map((entry) => entry.publication),
    chooseActivity(publications.map((entry) => entry.publication)),
  );
  const read = { busySource: source, inFlightMs, flightMs };
  const nothing = { ...read, busyMs: 0, weights: null, byJournal: weighJournals(usable, undefined) };
  if (facts === undefined || busyMs === 0) return nothing;
  const sequenceMs = sumSequenceMs(usable);
  for (const mode of ['by-work', 'by-flight'] as const) {
    const weights = freezeWeights(sequenceMs, facts, mode);
    const byJournal = weighJournals(usable, parseFrozenWeights(weights));
    if ([...byJournal.values()].some((weight) => weight > 0n)) return { ...read, busyMs, weights, byJournal };
  }
  return nothing;
}

function weighJournals(
  usable: readonly JournalPublication[],
  weights: ReadonlyMap<string, DeploymentWeights> | undefined,
): ReadonlyMap<string, bigint> {
  const byJournal = new Map<string, bigint>();
  for (const { journal, publication } of usable) {
    let weight = byJournal.get(journal) ?? 0n;
    for (const [deployment, features] of Object.entries(publication.deployments)) {
      weight += weightOf(features, weights?.get(deployment));
    }
    byJournal.set(journal, weight);
  }
  return byJournal;
}

function shareOut(
  publications: readonly JournalPublication[],
  byJournal: ReadonlyMap<string, bigint>,
  totals: { readonly charged: bigint; readonly gpuMicros: bigint },
): ReadonlyMap<string, JournalShare> {
  const weights = [...byJournal];
  const nano = splitExactly(totals.charged, weights);
  const gpu = splitExactly(totals.gpuMicros, weights);
  const journals = [...new Set(publications.map((entry) => entry.journal))].toSorted();
  return new Map(
    journals.map((journal) => [
      journal,
      { nanoUsd: nano.get(journal) ?? 0n, gpuMicros: gpu.get(journal) ?? 0n, setAside: !byJournal.has(journal) },
    ]),
  );
}

function sumSequenceMs(usable: readonly JournalPublication[]): number[] {
  const sum: number[] = [];
  for (const { publication } of usable) {
    for (const [bucket, count] of publication.n.entries()) sum[bucket] = (sum[bucket] ?? 0) + count;
  }
  return sum;
}

function sumFlightMs(usable: readonly JournalPublication[], facts: PoolFacts | undefined): number {
  let sum = 0;
  for (const { publication } of usable) {
    for (const [deployment, features] of Object.entries(publication.deployments)) {
      if (facts !== undefined && Object.hasOwn(facts.deployments, deployment)) sum += features.flightMs;
    }
  }
  return sum;
}
