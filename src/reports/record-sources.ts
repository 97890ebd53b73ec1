// For reports by user or tag: settled records as row sources, and what the rollups know beyond them.
import type { Period, RollupCell } from '#domain/books.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { totalTokens } from '#domain/tokens.ts';
import type { Outcome } from '#domain/usage-record.ts';
import type { IdleShare } from './idle-policy.ts';
import { splitByLargestRemainder } from './largest-remainder.ts';
import type { MetricSums } from './metric-sums.ts';
import { addSums, createSums } from './metric-sums.ts';
import type { RowSource } from './report-rows.ts';

export interface RecordSourcesRequest {
  readonly records: readonly SettledRecordJson[];
  readonly cells: readonly RollupCell[];
  readonly period: Period;
  /** The day of an epoch second where the report tells days apart, else one constant. */
  readonly dayOf: (epochSeconds: number) => string;
}

/**
 * Sources per record, its cost taken from charges inside the period, and one per cell dimension for the rest: cost of attempts that
 * have not ended, or ended in another period, or whose records left the store. Together they sum to the cells exactly.
 */
export function toRecordSources({ records, cells, period, dayOf }: RecordSourcesRequest): readonly RowSource[] {
  const rest = new Map<string, Rest>();
  const restOf = (source: RowSource): Rest => {
    const { team, project, keyId, model, deployment, start } = source;
    const key = formatCell(source, dayOf);
    const known = rest.get(key);
    if (known !== undefined) return known;
    const created = { team, project, keyId, model, deployment, start, metrics: createSums() };
    rest.set(key, created);
    return created;
  };
  for (const cell of cells) addSums(restOf(cell).metrics, cell.metrics);
  const sources = records.flatMap((record) => toSources(record, period));
  for (const source of sources) addSums(restOf(source).metrics, source.metrics, -1n);
  return [...sources, ...rest.values()];
}

/**
 * Idle shares of cells, given on to the sources that explain each of them, by their cost: a user's unit price with idle holds idle. What a team,
 * project, key, model, deployment or day gets stays the same; where nothing has a cost the share stays whole.
 */
export function shareAmongSources(
  shares: readonly IdleShare[],
  sources: readonly RowSource[],
  dayOf: RecordSourcesRequest['dayOf'],
): readonly IdleShare[] {
  if (shares.length === 0) return shares;
  const users = sources.filter(({ metrics }) => metrics.costNanoUsd > 0n);
  const byCell = Map.groupBy(users, (source) => formatCell(source, dayOf));
  return [...Map.groupBy(shares, ({ target }) => formatCell(target, dayOf))].flatMap(([cell, given]) => {
    const targets = byCell.get(cell);
    if (targets === undefined) return given;
    const total = given.reduce((sum, { nanoUsd }) => sum + nanoUsd, 0n);
    const parts = splitByLargestRemainder(
      total,
      targets.map(({ metrics }) => metrics.costNanoUsd),
    );
    return targets.map((target, index) => ({ target, nanoUsd: parts[index] ?? 0n }));
  });
}

/** What tells the cells of a report apart that sources explain. */
function formatCell(
  { team, project, keyId, model, deployment, start }: IdleShare['target'],
  dayOf: RecordSourcesRequest['dayOf'],
): string {
  return JSON.stringify([team, project, keyId, model, deployment, start === null ? null : dayOf(start)]);
}

type Rest = RowSource & { readonly metrics: MetricSums };

/** Counts belong to the end of the record, each charge to its hour (contract §6). */
function toSources(record: SettledRecordJson, period: Period): readonly RowSource[] {
  const dimensions = {
    team: record.team,
    project: record.project ?? '',
    keyId: record.keyId ?? '',
    model: record.model ?? '',
    deployment: record.deployment ?? '',
    user: record.user,
    tags: record.tags,
  };
  const counts = createSums();
  countOutcome(counts, record);
  countTokens(counts, record);
  const charges = record.charges.filter(({ hour }) => hour >= period.from && hour < period.to);
  return [
    { ...dimensions, start: Math.floor(record.endedAtMs / 1000), metrics: counts },
    ...charges.map((charge) => ({
      ...dimensions,
      deployment: charge.deployment ?? dimensions.deployment,
      start: charge.hour,
      metrics: sumCharge(charge, record.outcome),
    })),
  ];
}

function sumCharge(charge: SettledRecordJson['charges'][number], outcome: Outcome): MetricSums {
  const metrics = createSums();
  metrics.gpuMicros = BigInt(charge.gpuMicros);
  metrics.costNanoUsd = BigInt(charge.costNanoUsd);
  metrics.prefillNanoUsd = BigInt(charge.prefillNanoUsd);
  metrics.decodeNanoUsd = BigInt(charge.decodeNanoUsd);
  metrics.otherNanoUsd = BigInt(charge.otherNanoUsd);
  if (outcome !== 'completed') {
    metrics.wastedNanoUsd = metrics.costNanoUsd;
    metrics.wastedGpuMicros = metrics.gpuMicros;
  }
  return metrics;
}

/** Counts as accounting's claim increments do (contract §6): a retried request once, rejected ones apart. */
function countOutcome(metrics: MetricSums, { outcome, lastAttempt, tokens }: SettledRecordJson): void {
  if (outcome === 'rejected') {
    metrics.rejectedRequests = 1n;
    return;
  }
  metrics.attempts = 1n;
  if (!lastAttempt) return;
  metrics.requests = 1n;
  if (outcome === 'client_aborted') metrics.abortedRequests = 1n;
  else if (outcome !== 'completed') metrics.failedRequests = 1n;
  if (totalTokens(tokens) === null) metrics.requestsWithoutTokens = 1n;
}

function countTokens(metrics: MetricSums, { tokens, tokenSource }: SettledRecordJson): void {
  metrics.inputTokens = BigInt(tokens.input ?? 0);
  metrics.cachedInputTokens = BigInt(tokens.cachedInput ?? 0);
  metrics.outputTokens = BigInt(tokens.output ?? 0);
  metrics.reasoningTokens = BigInt(tokens.reasoning ?? 0);
  const total = metrics.inputTokens + metrics.cachedInputTokens + metrics.outputTokens + metrics.reasoningTokens;
  if (tokenSource === 'reported') metrics.reportedTokens = total;
  if (tokenSource === 'counted') metrics.countedTokens = total;
  if (tokenSource === 'estimated') metrics.estimatedTokens = total;
}
