// Sums of rollup increments by cell, and what the records of a claim must have added to the cells. No store.
import {
  CELL_METRICS,
  type CellIncrement,
  type CellKey,
  type CellMetric,
  type SettledRecordJson,
} from '#domain/settlement.ts';
import { totalTokens } from '#domain/tokens.ts';
import { hourOf, windowOf } from '#domain/window.ts';

export type MetricSums = Partial<Record<CellMetric, bigint>>;
export type CellSums = Map<string, MetricSums>;

/** Money and GPU time come from lines, everything else from records. */
export const COST_METRICS: readonly CellMetric[] = [
  'gpuMicros',
  'costNanoUsd',
  'prefillNanoUsd',
  'decodeNanoUsd',
  'otherNanoUsd',
];
export const RECORD_METRICS = CELL_METRICS.filter((metric) => !COST_METRICS.includes(metric));

/** JSON of `[team, project, keyId, model, deployment]`. */
export function nameCell(cell: Omit<CellKey, 'hour'>): string {
  return JSON.stringify([cell.team, cell.project, cell.keyId, cell.model, cell.deployment]);
}

/** Adds to one cell of a map of sums. */
export function addToCell(sums: CellSums, name: string, values: MetricSums): void {
  const cell = sums.get(name) ?? {};
  sums.set(name, cell);
  for (const metric of CELL_METRICS) {
    const value = values[metric];
    if (value !== undefined && value !== 0n) cell[metric] = (cell[metric] ?? 0n) + value;
  }
}

/** An increment's metrics as integers. Throws SyntaxError where one is no integer. */
export function parseMetrics(increment: CellIncrement): MetricSums {
  return Object.fromEntries(Object.entries(increment.metrics).map(([metric, value]) => [metric, BigInt(value)]));
}

/** The first difference of two maps of sums, in order of cell and metric; null when they are equal. */
export function findDifference(
  expected: CellSums,
  found: CellSums,
  metrics: readonly CellMetric[] = CELL_METRICS,
): { readonly cell: string; readonly metric: CellMetric; readonly expected: bigint; readonly found: bigint } | null {
  for (const cell of [...new Set([...expected.keys(), ...found.keys()])].toSorted()) {
    for (const metric of metrics) {
      const [right, there] = [expected.get(cell)?.[metric] ?? 0n, found.get(cell)?.[metric] ?? 0n];
      if (right !== there) return { cell, metric, expected: right, found: there };
    }
  }
  return null;
}

/** By `<hour> <cell>`: counts and tokens in the hour a record ended, what it wasted in the hours of its charges (contract §6). */
export function sumRecords(records: readonly SettledRecordJson[]): CellSums {
  const sums: CellSums = new Map();
  for (const record of records) {
    const { team, project, keyId, model, deployment, outcome } = record;
    const cell = { team, project: project ?? '', keyId: keyId ?? '', model: model ?? '', deployment: deployment ?? '' };
    const name = nameCell(cell);
    const counts = { ...countOutcome(record), ...countTokens(record) };
    addToCell(sums, `${hourOf(windowOf(record.endedAtMs))} ${name}`, counts);
    for (const charge of outcome === 'completed' ? [] : record.charges) {
      const wasted = { wastedNanoUsd: BigInt(charge.costNanoUsd), wastedGpuMicros: BigInt(charge.gpuMicros) };
      const place = charge.deployment === undefined ? name : nameCell({ ...cell, deployment: charge.deployment });
      addToCell(sums, `${charge.hour} ${place}`, wasted);
    }
  }
  return sums;
}

function countOutcome({ outcome, lastAttempt, tokens }: SettledRecordJson): MetricSums {
  if (outcome === 'rejected') return { rejectedRequests: 1n };
  if (!lastAttempt) return { attempts: 1n };
  return {
    attempts: 1n,
    requests: 1n,
    failedRequests: outcome === 'completed' || outcome === 'client_aborted' ? 0n : 1n,
    abortedRequests: outcome === 'client_aborted' ? 1n : 0n,
    requestsWithoutTokens: totalTokens(tokens) === null ? 1n : 0n,
  };
}

function countTokens({ tokens, tokenSource }: SettledRecordJson): MetricSums {
  const { input, cachedInput, output, reasoning } = tokens;
  const sums: MetricSums = {
    inputTokens: BigInt(input ?? 0),
    cachedInputTokens: BigInt(cachedInput ?? 0),
    outputTokens: BigInt(output ?? 0),
    reasoningTokens: BigInt(reasoning ?? 0),
  };
  const total = BigInt(totalTokens(tokens) ?? 0);
  if (tokenSource === 'reported') sums.reportedTokens = total;
  if (tokenSource === 'counted') sums.countedTokens = total;
  if (tokenSource === 'estimated') sums.estimatedTokens = total;
  return sums;
}
