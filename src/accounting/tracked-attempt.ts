// One attempt from dispatch to settlement: what is still to be sealed, and what it was charged so far. Not here: the map of them (attempt-registry.ts).
import type { AttemptStart } from '#domain/metering.ts';
import type { Phase, SettledRecordJson } from '#domain/settlement.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { SliceFeatures } from '#attribution/work-model.ts';
import type { AttemptFeatures } from './attempt-features.ts';
import { createSealedSums, type SealedSums } from './late-facts.ts';
import type { AttemptShape, FinalFacts, WorkTimeline } from './work-timeline.ts';

/** Money of one record in one hour, summed over applied claims. */
export interface HourCharge {
  readonly gpuMicros: Record<Phase, bigint>;
  readonly nanoUsd: Record<Phase, bigint>;
  nanoUsdPerGpuHour: bigint;
}

/** Identity of an attempt as the journal keeps it; instants are epoch ms of the store's clock. */
export interface AttemptIdentity {
  readonly recordId: string;
  readonly pool: string;
  readonly deployment: string;
  readonly startMs: number;
  readonly shape: AttemptShape;
  readonly identity: AttemptStart['identity'];
  /** Where the profile came from that prices it. */
  readonly profileSource: string;
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
  /** By hour; null before the first. */
  charges: Map<number, HourCharge> | null;
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
  charges: Map<number, HourCharge>,
  hour: number,
  part: {
    readonly phase: Phase;
    readonly nanoUsd: bigint;
    readonly gpuMicros: bigint;
    readonly nanoUsdPerGpuHour: bigint;
  },
): void {
  let charge = charges.get(hour);
  if (charge === undefined) {
    charge = { gpuMicros: noPhases(), nanoUsd: noPhases(), nanoUsdPerGpuHour: 0n };
    charges.set(hour, charge);
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

/** The record with its money in JSON, hours ascending. */
export function settledRecord(
  record: UsageRecord,
  { late }: Pick<TrackedAttempt, 'late'>,
  charges: ReadonlyMap<number, HourCharge>,
): SettledRecordJson {
  return {
    ...record,
    late,
    charges: [...charges]
      .sort(([a], [b]) => a - b)
      .map(([hour, charge]) => ({
        hour,
        gpuMicros: sumPhases(charge.gpuMicros).toString(),
        costNanoUsd: sumPhases(charge.nanoUsd).toString(),
        prefillNanoUsd: charge.nanoUsd.prefill.toString(),
        decodeNanoUsd: charge.nanoUsd.decode.toString(),
        otherNanoUsd: charge.nanoUsd.other.toString(),
        nanoUsdPerGpuHour: charge.nanoUsdPerGpuHour.toString(),
      })),
  };
}
