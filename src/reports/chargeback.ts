// The chargeback report of a period, computed from what the books hold (contract §6). Pure: reading is read-report.ts's, text render-*.ts's.
import type { Period } from '#domain/books.ts';
import type { Config, FinanceConfig } from '#config/config.ts';
import { formatUsd } from '#domain/nano-usd.ts';
import { readDimensions, type Dimension, type DimensionContext } from './dimensions.ts';
import { restoreConfig } from './config-snapshot.ts';
import { findClose, listCorrections } from './corrections.ts';
import { shareIdle } from './idle-policy.ts';
import type { ReportSource } from './read-report.ts';
import { shareAmongSources, toRecordSources } from './record-sources.ts';
import { ceilHour } from './report-period.ts';
import type { ReportPeriod } from './report-period.ts';
import { hashPrices, isPooled, sumPools } from './report-pools.ts';
import { sumRows } from './report-rows.ts';
import type { RowSource } from './report-rows.ts';
import { dayOf } from './time-zone.ts';
import { sumOutstanding } from './outstanding.ts';
import { applyRates, computeRateCard, DEFAULT_PLANNED_LOAD, sumVariance } from './standard-rates.ts';
import type { Basis, ChargebackReport, IdlePolicy, ReportPool, ReportRow, ReportTotals } from './report-shape.ts';
import { computeSavings } from './savings.ts';

export interface ChargebackRequest {
  readonly period: ReportPeriod;
  readonly groupBy: readonly Dimension[];
  readonly idlePolicy: IdlePolicy;
  /** Default actual. */
  readonly basis?: Basis;
  /** Only this team's rows; null for all. Its shares and cents are those of the whole report. */
  readonly team: string | null;
  readonly source: ReportSource;
  readonly config: Pick<Config, 'teams' | 'deployments'> & { readonly finance?: Pick<FinanceConfig, 'plannedLoad'> };
  readonly nowMs: number;
  /** See ReportOutstanding. Default null. */
  readonly unsettledRequests?: number | null;
}

const RECORDS_NOTE =
  'Users and tags are known to single records only: rows with a user or tag hold the records whose end lies in the period; the rest of the cost stands in rows without.';

/** In every idle policy Σ rows.total + other teams + pending + unshared + unmetered = capacity, if the books are right. */
export function computeChargeback(asked: ChargebackRequest): ChargebackReport {
  const { period, groupBy, idlePolicy, team, source } = asked;
  const hours = { from: period.from, to: ceilHour(period.to) };
  const close = findClose(source.vouchers, period);
  // A closed month knows its teams and deployments as they were.
  const config = close === null ? asked.config : restoreConfig(close.content.config);
  const request = { ...asked, config };
  const context = createContext(period, config);
  const corrections = listCorrections(source, hours, (line) => readDimensions(line, groupBy, context));
  const actual = readSources(request, hours);
  const cellShares = shareIdle({ policy: idlePolicy, cells: source.cells, books: source.books, ...config });
  const shares = source.records === null ? cellShares : shareAmongSources(cellShares, actual, createDayOf(request));
  const { sources, standard } = priceSources(request, hours, actual);
  const rows = sumRows({
    groupBy,
    context,
    sources,
    idleShares: shares,
    corrections,
    idleShared: idlePolicy !== 'separate',
    varianceNanoUsd: standard?.varianceNanoUsd ?? 0n,
  });
  const pooled = new Set(config.deployments.filter(isPooled).map(({ name }) => name));
  const pools = sumPools(source.books, source.facts, { ...hours, pooled });
  const kept = team === null ? rows : keepTeam(request, rows);
  const { frontier, k, freezeHash } = source.status;
  const outstanding = { source, corrections, isClosed: close !== null, unsettledRequests: request.unsettledRequests };
  const settledThrough = close?.content.settledThrough ?? (frontier === null ? null : frontier + 1);
  const totals = sumTotals({
    pools,
    rows,
    kept,
    sharedNanoUsd: shares.reduce((sum, { nanoUsd }) => sum + nanoUsd, 0n),
  });
  return {
    from: period.from,
    to: period.to,
    timezone: period.timezone.name,
    idlePolicy,
    basis: request.basis ?? 'actual',
    standard,
    groupBy,
    team,
    generatedAt: Math.floor((close?.atMs ?? request.nowMs) / 1000),
    settledThrough,
    complete: settledThrough !== null && period.to <= settledThrough,
    periodStatus: close === null ? 'open' : 'closed',
    priceSet: hashPrices(pools),
    ledgerHash: close?.hash ?? (k === 0 ? null : freezeHash),
    notes: [...(source.records === null ? [] : [RECORDS_NOTE]), ...noteMissing(source), ...pools.flatMap(noteDrift)],
    rows: kept,
    pools,
    savings: computeSavings({ cells: source.cells, books: source.books, deployments: config.deployments }),
    corrections: corrections.filter((line) => team === null || line.team === team),
    totals,
    outstanding: sumOutstanding({ ...outstanding, period, pendingNanoUsd: totals.pendingNanoUsd }),
  };
}

/** Claims move the same money in books and cells, but cells leave the store before the books of their hours do. */
function noteMissing({ books, cells }: ReportSource): readonly string[] {
  const claimed = books.reduce((sum, { metrics }) => sum + metrics.claimedNanoUsd, 0n);
  const missing = claimed - cells.reduce((sum, { metrics }) => sum + metrics.costNanoUsd, 0n);
  if (missing <= 0n) return [];
  return [
    `The rows hold ${formatUsd(missing)} USD less than was charged: figures of a part of the period have left the store (retention.rollups), or claims came in while it was read.`,
  ];
}

/** The sums are right all the same: what drifts is how fairly busy time was divided. */
function noteDrift({ deployment, profileDrift = null }: ReportPool): readonly string[] {
  if (profileDrift === null) return [];
  const percent = Math.abs(profileDrift * 100).toFixed(0);
  const way = profileDrift > 0 ? 'slower' : 'faster';
  return [
    `The engine of ${deployment} ran ${percent} % ${way} than its profile says for a part of the period: calibrate it again, charges between its users may be off.`,
  ];
}

/** Row sources on the basis asked for, and what the standard one rests on. */
function priceSources(
  request: ChargebackRequest,
  hours: Period,
  actual: readonly RowSource[],
): { readonly sources: readonly RowSource[]; readonly standard: ChargebackReport['standard'] } {
  if (request.basis !== 'standard') return { sources: actual, standard: null };
  const { config, source } = request;
  const load = config.finance?.plannedLoad ?? DEFAULT_PLANNED_LOAD;
  const rates = computeRateCard(source.facts, hours, { load, deployments: config.deployments });
  const sources = applyRates(actual, rates);
  return { sources, standard: { load, rates, varianceNanoUsd: sumVariance(actual, sources) } };
}

function readSources(request: ChargebackRequest, hours: Period): readonly RowSource[] {
  const { records, cells } = request.source;
  return records === null ? cells : toRecordSources({ records, cells, period: hours, dayOf: createDayOf(request) });
}

/** Days are told apart only where the report does. */
function createDayOf({ groupBy, period }: ChargebackRequest): (epochSeconds: number) => string {
  const dayed = groupBy.includes('day');
  return (epochSeconds) => (dayed ? dayOf(epochSeconds, period.timezone) : '');
}

/** What dimensions need beside a cell: the zone of days and the teams' cost centres. */
export function createContext(
  { timezone }: Pick<ReportPeriod, 'timezone'>,
  { teams }: Pick<Config, 'teams'>,
): DimensionContext {
  const named = teams.filter(({ costCenter }) => costCenter !== '');
  return { timezone, costCenters: new Map(named.map(({ name, costCenter }) => [name, costCenter])) };
}

/** Cents are rounded over the whole report, so a team reads the same amount whether it is filtered or not. */
function keepTeam(request: ChargebackRequest, rows: readonly ReportRow[]): readonly ReportRow[] {
  if (request.groupBy.includes('team')) return rows.filter(({ dimensions }) => dimensions['team'] === request.team);
  const withTeam = computeChargeback({ ...request, groupBy: ['team', ...request.groupBy] });
  return withTeam.rows.map((row) => {
    const { team: _team, ...others } = row.dimensions;
    const { costCenter: _costCenter, ...withoutCostCenter } = others;
    return { ...row, dimensions: request.groupBy.includes('costCenter') ? others : withoutCostCenter };
  });
}

interface TotalsRequest {
  readonly pools: readonly ReportPool[];
  readonly rows: readonly ReportRow[];
  readonly kept: readonly ReportRow[];
  readonly sharedNanoUsd: bigint;
}

function sumTotals({ pools, rows, kept, sharedNanoUsd }: TotalsRequest): ReportTotals {
  const sum = (read: (pool: ReportPool) => bigint) => pools.reduce((total, pool) => total + read(pool), 0n);
  const sumTotal = (some: readonly ReportRow[]) => some.reduce((total, row) => total + row.totalNanoUsd, 0n);
  const capacityNanoUsd = sum((pool) => pool.capacityNanoUsd);
  const chargedNanoUsd = sum((pool) => pool.chargedNanoUsd);
  const idleNanoUsd = sum((pool) => pool.idleNanoUsd);
  const unmeteredNanoUsd = sum((pool) => pool.unmeteredNanoUsd);
  return {
    capacityNanoUsd,
    chargedNanoUsd,
    idleNanoUsd,
    unmeteredNanoUsd,
    pendingNanoUsd: sum((pool) => pool.pendingNanoUsd),
    unsharedNanoUsd: idleNanoUsd - sharedNanoUsd,
    otherTeamsNanoUsd: sumTotal(rows) - sumTotal(kept),
    differenceNanoUsd: capacityNanoUsd - chargedNanoUsd - idleNanoUsd - unmeteredNanoUsd,
  };
}
