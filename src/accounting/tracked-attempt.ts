// One attempt from dispatch to settlement: what is still to be sealed, and what it was charged so far. Not here: the map of them (attempt-registry.ts).
import type { AttemptStart, PrefillPlace } from '#domain/metering.ts';
import type { Phase, SettledRecordJson } from '#domain/settlement.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { SliceFeatures } from '#attribution/work-model.ts';
import type { AttemptFeatures } from './attempt-features.ts';
import { createSealedSums, type SealedSums } from './late-facts.ts';
import type { AttemptShape, FinalFacts, WorkTimeline } from './work-timeline.ts';

/** Money of one record in one hour on the GPUs of one deployment, summed over applied claims. */
export interface HourCharge {
  /** First epoch second. */
  readonly hour: number;
  /** The deployment that computed its prompt, where that is another than the record's (`prefillBy`); null: the record's own. */
  readonly deployment: string | null;
  readonly gpuMicros: Record<Phase, bigint>;
  readonly nanoUsd: Record<Phase, bigint>;
  nanoUsdPerGpuHour: bigint;
}

/** Charges of one record: one for each hour and deployment, hardly ever more than two. */
export type HourCharges = HourCharge[];

/** Identity of an attempt as the journal keeps it; instants are epoch ms of the store's clock. */
export interface AttemptIdentity {
  readonly recordId: string;
  readonly pool: string;
  readonly deployment: string;
  /** Where its prefill runs; absent: where the rest does. */
  readonly prefillBy?: PrefillPlace;
  readonly startMs: number;
  readonly shape: AttemptShape;
  readonly identity: AttemptStart['identity'];
  /** Where the profile came from that prices it. */
  readonly profileSource: string;
}

/** Where the prompt of an attempt is computed. */
export function prefillPlace(start: Pick<AttemptIdentity, 'pool' | 'deployment' | 'prefillBy'>): PrefillPlace {
  return start.prefillBy ?? start;
}

/** What a record says beyond the identity of its attempt. */
export type RecordEnding = Omit<UsageRecord, keyof AttemptStart['identity'] | 'profileSource' | 'late'>;

/** The record of an attempt that ended so. */
export function endRecord({ identity, profileSource }: AttemptIdentity, ending: RecordEnding): UsageRecord {
  return { ...identity, ...ending, profileSource };
}

/** The part of a record that its attempt's dispatch did not know. */
export function readEnding(record: UsageRecord): RecordEnding {
  return {
    endedAtMs: record.endedAtMs,
    timeToFirstTokenMs: record.timeToFirstTokenMs,
    durationMs: record.durationMs,
    outcome: record.outcome,
    status: record.status,
    tokens: record.tokens,
    tokenSource: record.tokenSource,
    lastAttempt: record.lastAttempt,
  };
}

/** Mutable state of an attempt that is not settled yet. A request that reached no engine has `start` null and no windows. */
export interface TrackedAttempt {
  readonly recordId: string;
  readonly start: AttemptIdentity | null;
  /** Null while it runs. */
  record: UsageRecord | null;
  final: FinalFacts | null;
  /** Null once every window is sealed. */
  features: AttemptFeatures | null;
  /** Of a finished attempt, set when its first window is sealed after the end. */
  timeline: WorkTimeline | null;
  /** Slices of windows not sealed yet, with late facts placed; null where nothing was late. */
  placed: Map<number, SliceFeatures> | null;
  readonly sealed: SealedSums;
  /** Output tokens in sealed windows, as far as they were known when sealed. */
  outputSealed: number;
  /** Last window of the attempt; null while it runs; −Infinity when it has none. */
  lastWindow: number | null;
  /** Null before the first. */
  charges: HourCharges | null;
  /** Part of what was sealed so far came after its window was frozen (late-work.ts); null: not known. */
  late: boolean | null;
  /** Journal segment of its first line. */
  readonly segment: number;
}

/** A running attempt as it enters the books. */
export function trackAttempt(start: AttemptIdentity, features: AttemptFeatures, segment: number): TrackedAttempt {
  return createTrack({ recordId: start.recordId, start, features, segment });
}

/** A request that ended without reaching an engine: settles with the next claim, at no cost. */
export function trackUnsent(record: UsageRecord, segment: number): TrackedAttempt {
  const attempt = createTrack({ recordId: record.recordId, start: null, features: null, segment });
  attempt.record = record;
  attempt.lastWindow = Number.NEGATIVE_INFINITY;
  return attempt;
}

function createTrack(
  known: Pick<TrackedAttempt, 'recordId' | 'start' | 'segment'> & { readonly features: AttemptFeatures | null },
): TrackedAttempt {
  return {
    recordId: known.recordId,
    start: known.start,
    record: null,
    final: null,
    features: known.features,
    timeline: null,
    placed: null,
    sealed: createSealedSums(),
    outputSealed: 0,
    lastWindow: null,
    charges: null,
    late: false,
    segment: known.segment,
  };
}

/** Adds money of one hour; `nanoUsdPerGpuHour` is the price in force in its last window. */
export function addCharge(
  charges: HourCharges,
  { hour, deployment }: Pick<HourCharge, 'hour' | 'deployment'>,
  part: {
    readonly phase: Phase;
    readonly nanoUsd: bigint;
    readonly gpuMicros: bigint;
    readonly nanoUsdPerGpuHour: bigint;
  },
): void {
  let charge = charges.find((known) => known.hour === hour && known.deployment === deployment);
  if (charge === undefined) {
    charge = { hour, deployment, gpuMicros: noPhases(), nanoUsd: noPhases(), nanoUsdPerGpuHour: 0n };
    charges.push(charge);
  }
  charge.gpuMicros[part.phase] += part.gpuMicros;
  charge.nanoUsd[part.phase] += part.nanoUsd;
  charge.nanoUsdPerGpuHour = part.nanoUsdPerGpuHour;
}

/** The sum over phases, of nanodollars or GPU microseconds. */
export function sumPhases(byPhase: Readonly<Record<Phase, bigint>>): bigint {
  return byPhase.prefill + byPhase.decode + byPhase.other;
}

function noPhases(): Record<Phase, bigint> {
  return { prefill: 0n, decode: 0n, other: 0n };
}

/** The record with its money in JSON, hours ascending, those of its own GPUs first. */
export function settledRecord(
  record: UsageRecord,
  { late }: Pick<TrackedAttempt, 'late'>,
  charges: Readonly<HourCharges>,
): SettledRecordJson {
  return { ...record, late, charges: charges.toSorted(compareCharges).map(renderCharge) };
}

function renderCharge({
  hour,
  deployment,
  gpuMicros,
  nanoUsd,
  nanoUsdPerGpuHour,
}: HourCharge): SettledRecordJson['charges'][number] {
  return {
    hour,
    ...(deployment === null ? null : { deployment }),
    gpuMicros: sumPhases(gpuMicros).toString(),
    costNanoUsd: sumPhases(nanoUsd).toString(),
    prefillNanoUsd: nanoUsd.prefill.toString(),
    decodeNanoUsd: nanoUsd.decode.toString(),
    otherNanoUsd: nanoUsd.other.toString(),
    nanoUsdPerGpuHour: nanoUsdPerGpuHour.toString(),
  };
}

/** An attempt has at most one other deployment, so that these two decide. */
function compareCharges(left: HourCharge, right: HourCharge): number {
  return left.hour - right.hour || Number(left.deployment !== null) - Number(right.deployment !== null);
}
