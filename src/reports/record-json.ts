// A usage record in the exact JSON of contract §6, settled or not yet.
import { formatScaled, formatUsdShortest } from '#domain/nano-usd.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { totalTokens } from '#domain/tokens.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { formatSecond } from '#domain/window.ts';

/** Plain data ready for JSON. */
export type RecordJson = Readonly<Record<string, unknown>>;

/** A record whose windows are all settled: cost and GPU time are the sums of its charges. */
export function toSettledRecordJson(record: SettledRecordJson): RecordJson {
  const sum = (read: (charge: SettledRecordJson['charges'][number]) => string) =>
    record.charges.reduce((total, charge) => total + BigInt(read(charge)), 0n);
  return {
    ...toFactsJson(record),
    gpuSeconds: toSeconds(sum(({ gpuMicros }) => gpuMicros)),
    costNanoUsd: String(sum(({ costNanoUsd }) => costNanoUsd)),
    prefillNanoUsd: String(sum(({ prefillNanoUsd }) => prefillNanoUsd)),
    decodeNanoUsd: String(sum(({ decodeNanoUsd }) => decodeNanoUsd)),
    otherNanoUsd: String(sum(({ otherNanoUsd }) => otherNanoUsd)),
    charges: record.charges.map((charge) => ({
      hour: formatSecond(charge.hour),
      ...(charge.deployment === undefined ? {} : { deployment: charge.deployment }),
      gpuSeconds: toSeconds(BigInt(charge.gpuMicros)),
      costNanoUsd: charge.costNanoUsd,
      usdPerGpuHour: formatUsdShortest(BigInt(charge.nanoUsdPerGpuHour)),
    })),
    profileSource: record.profileSource,
    settled: true,
    late: record.late ?? null,
  };
}

/** A record that still waits for its money: what it costs is not known, which is null and not 0. */
export function toUnsettledRecordJson(record: UsageRecord): RecordJson {
  return {
    ...toFactsJson(record),
    gpuSeconds: null,
    costNanoUsd: null,
    prefillNanoUsd: null,
    decodeNanoUsd: null,
    otherNanoUsd: null,
    charges: [],
    profileSource: record.profileSource,
    settled: false,
    late: record.late ?? null,
  };
}

function toFactsJson(record: UsageRecord): RecordJson {
  return {
    requestId: record.requestId,
    clientRequestId: record.clientRequestId,
    attempt: record.attempt,
    team: record.team,
    project: record.project,
    keyId: record.keyId,
    user: record.user,
    tags: record.tags,
    requestedModel: record.requestedModel,
    model: record.model,
    deployment: record.deployment,
    upstream: record.upstream,
    route: record.route,
    stream: record.stream,
    startedAt: formatInstant(record.startedAtMs),
    endedAt: formatInstant(record.endedAtMs),
    timeToFirstTokenMs: record.timeToFirstTokenMs === null ? null : roundMs(record.timeToFirstTokenMs),
    durationMs: roundMs(record.durationMs),
    outcome: record.outcome,
    status: record.status,
    clientRetry: record.clientRetry,
    tokens: { ...pickTokens(record), total: totalTokens(record.tokens) },
    tokenSource: record.tokenSource,
  };
}

/** In the order of the contract, whatever the order in the store. */
function pickTokens({ tokens: { input, cachedInput, output, reasoning } }: UsageRecord): UsageRecord['tokens'] {
  return { input, cachedInput, output, reasoning };
}

/** RFC 3339 with milliseconds, rounded down as windows are. */
function formatInstant(epochMs: number): string {
  return new Date(Math.floor(epochMs)).toISOString();
}

/** Microseconds are the most a clock of this kind can mean. */
function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

function toSeconds(gpuMicros: bigint): number {
  return Number(formatScaled(gpuMicros, 6));
}
