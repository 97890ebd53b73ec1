// The report and its rows in the exact JSON of contract §6: money as decimal strings, unknown as null.
import { formatScaled, formatUsd, formatUsdShortest } from '#domain/nano-usd.ts';
import { formatSecond } from '#domain/window.ts';
import { sumTokens } from './metric-sums.ts';
import type {
  ChargebackReport,
  ReportCorrection,
  ReportOutstanding,
  ReportPool,
  ReportRow,
  ReportSaving,
  UnitPrices,
} from './report-shape.ts';

/** JSON text with two spaces of indentation and a final newline. */
export function renderJson(report: ChargebackReport): string {
  return `${JSON.stringify(toReportJson(report), null, 2)}\n`;
}

/** The report as plain data ready for JSON. */
export function toReportJson(report: ChargebackReport): Readonly<Record<string, unknown>> {
  const { totals } = report;
  return {
    schema: 'inferometer.chargeback/1',
    from: formatSecond(report.from),
    to: formatSecond(report.to),
    timezone: report.timezone,
    currency: 'USD',
    basis: report.basis,
    idlePolicy: report.idlePolicy,
    groupBy: report.groupBy,
    ...(report.team === null ? {} : { team: report.team }),
    generatedAt: formatSecond(report.generatedAt),
    settledThrough: report.settledThrough === null ? null : formatSecond(report.settledThrough),
    complete: report.complete,
    periodStatus: report.periodStatus,
    priceSet: report.priceSet,
    method: 'work-model/1',
    ledgerHash: report.ledgerHash,
    ...(report.notes.length === 0 ? {} : { notes: report.notes }),
    rows: report.rows.map(toRowJson),
    ...(report.standard === null ? {} : { rateCard: toRateCardJson(report.standard) }),
    pools: report.pools.map(toPoolJson),
    savings: report.savings.map(toSavingJson),
    corrections: report.corrections.map(toCorrectionJson),
    totals: {
      capacityNanoUsd: String(totals.capacityNanoUsd),
      chargedNanoUsd: String(totals.chargedNanoUsd),
      idleNanoUsd: String(totals.idleNanoUsd),
      unmeteredNanoUsd: String(totals.unmeteredNanoUsd),
      pendingNanoUsd: String(totals.pendingNanoUsd),
      ...(report.standard === null ? {} : { varianceNanoUsd: String(report.standard.varianceNanoUsd) }),
      unsharedNanoUsd: String(totals.unsharedNanoUsd),
      ...(report.team === null ? {} : { otherTeamsNanoUsd: String(totals.otherTeamsNanoUsd) }),
      differenceNanoUsd: String(totals.differenceNanoUsd),
    },
    outstanding: toOutstandingJson(report.outstanding),
  };
}

function toOutstandingJson(outstanding: ReportOutstanding): Readonly<Record<keyof ReportOutstanding, unknown>> {
  return {
    pendingNanoUsd: String(outstanding.pendingNanoUsd),
    unfrozenSeconds: outstanding.unfrozenSeconds,
    unsettledRequests: outstanding.unsettledRequests,
    lateNanoUsd: String(outstanding.lateNanoUsd),
    lateWindowsOfAllPeriods: outstanding.lateWindowsOfAllPeriods,
    unattributedNanoUsd: String(outstanding.unattributedNanoUsd),
  };
}

/** The published prices, and the load and profile they were worked out from. */
function toRateCardJson({ load, rates }: NonNullable<ChargebackReport['standard']>): Readonly<Record<string, unknown>> {
  return {
    plannedLoad: load,
    rates: rates.map(({ model, deployment, prefillBy, profileSource, price, ...rate }) => ({
      model,
      deployment,
      ...(prefillBy === undefined ? {} : { prefillBy }),
      usdPerMillionTokens: {
        input: formatUsd(rate.input),
        cachedInput: formatUsd(rate.cachedInput),
        output: formatUsd(rate.output),
      },
      profileSource,
      usdPerGpuHour: formatUsdShortest(BigInt(price.nanoUsdPerGpuHour)),
      price: price.name,
    })),
  };
}

/** A row as it also stands in the buckets of `/api/usage`. */
export function toRowJson({ dimensions, metrics, ...row }: ReportRow): Readonly<Record<string, unknown>> {
  return {
    ...dimensions,
    requests: Number(metrics.requests),
    failedRequests: Number(metrics.failedRequests),
    abortedRequests: Number(metrics.abortedRequests),
    rejectedRequests: Number(metrics.rejectedRequests),
    requestsWithoutTokens: Number(metrics.requestsWithoutTokens),
    tokens: {
      input: Number(metrics.inputTokens),
      cachedInput: Number(metrics.cachedInputTokens),
      output: Number(metrics.outputTokens),
      reasoning: Number(metrics.reasoningTokens),
      total: Number(sumTokens(metrics)),
    },
    gpuSeconds: toSeconds(metrics.gpuMicros),
    costNanoUsd: String(metrics.costNanoUsd),
    prefillNanoUsd: String(metrics.prefillNanoUsd),
    decodeNanoUsd: String(metrics.decodeNanoUsd),
    otherNanoUsd: String(metrics.otherNanoUsd),
    wastedNanoUsd: String(metrics.wastedNanoUsd),
    idleShareNanoUsd: String(row.idleShareNanoUsd),
    ...(row.correctionNanoUsd === 0n ? {} : { correctionNanoUsd: String(row.correctionNanoUsd) }),
    totalNanoUsd: String(row.totalNanoUsd),
    amountUsd: formatScaled(row.amountCents, 2),
    usdPerMillionTokens: toUnitPricesJson(row.unitPrices),
  };
}

function toCorrectionJson(line: ReportCorrection): Readonly<Record<string, unknown>> {
  const orNull = (text: string) => (text === '' ? null : text);
  return {
    id: line.id,
    kind: line.kind,
    at: formatSecond(line.at),
    hour: formatSecond(line.hour),
    corrects: line.corrects,
    team: line.team,
    project: orNull(line.project),
    model: orNull(line.model),
    deployment: orNull(line.deployment),
    amountNanoUsd: String(line.nanoUsd),
    reason: line.reason,
    author: line.author,
  };
}

/** Dollars per million tokens with nine decimals, null without tokens. */
export function toUnitPricesJson(prices: UnitPrices): Readonly<Record<keyof UnitPrices, string | null>> {
  return {
    input: formatOrNull(prices.input),
    output: formatOrNull(prices.output),
    blended: formatOrNull(prices.blended),
    blendedWithIdle: formatOrNull(prices.blendedWithIdle),
  };
}

/** GPU microseconds as seconds with at most 6 decimals. */
export function toSeconds(gpuMicros: bigint): number {
  return Number(formatScaled(gpuMicros, 6));
}

function formatOrNull(nanoUsd: bigint | null): string | null {
  return nanoUsd === null ? null : formatUsd(nanoUsd);
}

function toPoolJson(pool: ReportPool): Readonly<Record<string, unknown>> {
  return {
    deployment: pool.deployment,
    gpu: pool.gpu,
    ...(pool.pooled ? { pooled: true } : {}),
    prices: pool.prices.map(({ name, nanoUsdPerGpuHour, from }) => ({
      name,
      usdPerGpuHour: formatUsdShortest(nanoUsdPerGpuHour),
      from: formatStart(from),
    })),
    profile: {
      source: pool.profileSource,
      fitError: pool.profileFitError,
      ...((pool.profileSamples ?? null) === null ? {} : { samples: pool.profileSamples }),
      ...((pool.profilePrefillFactor ?? null) === null ? {} : { prefillFactor: pool.profilePrefillFactor }),
      ...((pool.profileDrift ?? null) === null ? {} : { drift: pool.profileDrift }),
    },
    busySources: Object.fromEntries(
      Object.entries(pool.busySeconds).map(([source, seconds]) => [source, Number(seconds)]),
    ),
    capacityGpuSeconds: toSeconds(pool.capacityGpuMicros),
    capacityNanoUsd: String(pool.capacityNanoUsd),
    chargedNanoUsd: String(pool.chargedNanoUsd),
    idleNanoUsd: String(pool.idleNanoUsd),
    unavailableNanoUsd: String(pool.unavailableNanoUsd),
    unobservedNanoUsd: String(pool.unobservedNanoUsd),
    unmeteredNanoUsd: String(pool.unmeteredNanoUsd),
    pendingNanoUsd: String(pool.pendingNanoUsd),
  };
}

/** `2026-01-01` at midnight UTC, else RFC 3339. */
function formatStart(epochSeconds: number): string {
  return formatSecond(epochSeconds).replace('T00:00:00Z', '');
}

function toSavingJson(saving: ReportSaving): Readonly<Record<string, unknown>> {
  return {
    model: saving.model,
    baseline: saving.baseline,
    baselineUsd: formatUsdShortest(saving.baselineNanoUsd),
    measuredUsd: saving.measuredNanoUsd === null ? null : formatUsdShortest(saving.measuredNanoUsd),
    factor: saving.factorTenths === null ? null : Number(formatScaled(saving.factorTenths, 1)),
    basis: 'blendedWithIdle',
    avoidedUsd: saving.avoidedNanoUsd === null ? null : formatCents(saving.avoidedNanoUsd),
  };
}

/** Dollars with two decimals, half away from zero: `1_234_567_890n` → `"1.23"`. */
export function formatCents(nanoUsd: bigint): string {
  const cents = ((nanoUsd < 0n ? -nanoUsd : nanoUsd) + 5_000_000n) / 10_000_000n;
  return formatScaled(nanoUsd < 0n ? -cents : cents, 2);
}
