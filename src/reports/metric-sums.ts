// Adding up the additive figures of rollup cells.
import { CELL_METRICS } from '#domain/settlement.ts';
import type { CellMetric } from '#domain/settlement.ts';

export type MetricSums = Record<CellMetric, bigint>;

/** Every metric at 0n. */
export function createSums(): MetricSums {
  return Object.fromEntries(CELL_METRICS.map((metric) => [metric, 0n])) as MetricSums;
}

/** Adds `sign` × `metrics` into `sums`; absent metrics are 0. */
export function addSums(
  sums: MetricSums,
  metrics: Readonly<Partial<Record<CellMetric, bigint>>>,
  sign: 1n | -1n = 1n,
): void {
  for (const metric of CELL_METRICS) {
    const value = metrics[metric];
    if (value !== undefined && value !== 0n) sums[metric] += sign * value;
  }
}

/** Sum of the four token buckets. */
export function sumTokens(sums: Readonly<Record<CellMetric, bigint>>): bigint {
  return sums.inputTokens + sums.cachedInputTokens + sums.outputTokens + sums.reasoningTokens;
}
