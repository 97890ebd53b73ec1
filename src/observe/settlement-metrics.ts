// Metrics of settled money and GPU time: what this gateway claimed for teams, and what it booked of capacity.
import type { BusySource } from '#domain/busy-source.ts';
import type { BookIncrement, BookMetric, CellIncrement, CellMetric, SettledRecordJson } from '#domain/settlement.ts';
import type { Outcome } from '#domain/usage-record.ts';
import { Counter } from './prometheus.ts';
import type { Registry } from 'prom-client';
import { OTHER } from './metric-labels.ts';
import type { MetricLabels } from './metric-labels.ts';

const PHASES = [
  ['prefill', 'prefillNanoUsd'],
  ['decode', 'decodeNanoUsd'],
  ['other', 'otherNanoUsd'],
] as const;

/** Every outcome that costs money and is not `completed`. */
const WASTED_OUTCOMES = [
  'client_aborted',
  'upstream_error',
  'timed_out',
  'interrupted',
] as const satisfies readonly Outcome[];

const BUSY_WINDOWS = [
  ['in_flight', 'inFlightWindows'],
  ['engine', 'engineWindows'],
  ['dcgm', 'dcgmWindows'],
] as const satisfies readonly (readonly [BusySource, BookMetric])[];

/** The metrics; `countClaim` and `countBooks` feed them, `prepareSettlementMetrics` shows them at 0. */
export function createSettlementMetrics(registry: Registry) {
  const registers = [registry];
  const perTeam = ['team', 'model', 'deployment'] as const;
  const perPool = ['deployment', 'gpu'] as const;
  const pool = (name: string, help: string) => new Counter({ name, help, labelNames: perPool, registers });
  return {
    gpuSeconds: new Counter({
      name: 'inferometer_gpu_seconds_total',
      help: 'GPU seconds settled to teams by this gateway. Left out: idle GPU time, and what is not settled yet.',
      labelNames: [...perTeam, 'gpu'] as const,
      registers,
    }),
    cost: new Counter({
      name: 'inferometer_cost_usd_total',
      help: 'Dollars settled to teams by this gateway, rounded for display. Left out: idle (inferometer_idle_cost_usd_total), and what is not settled yet. Invoices come from reports.',
      labelNames: perTeam,
      registers,
    }),
    phaseCost: new Counter({
      name: 'inferometer_phase_cost_usd_total',
      help: 'Settled dollars by phase: prefill (prompts), decode (answers), other (work without tokens). Left out: idle.',
      labelNames: ['model', 'deployment', 'phase'] as const,
      registers,
    }),
    wastedCost: new Counter({
      name: 'inferometer_wasted_cost_usd_total',
      help: 'Settled dollars of requests that did not complete, by outcome; part of inferometer_cost_usd_total, counted when the whole request is settled. Left out: idle.',
      labelNames: [...perTeam, 'outcome'] as const,
      registers,
    }),
    capacityGpuSeconds: pool(
      'inferometer_capacity_gpu_seconds_total',
      'Provisioned GPU seconds booked by this gateway. Left out: time booked by other gateways; sum() over gateways is the whole.',
    ),
    capacityCost: pool(
      'inferometer_capacity_cost_usd_total',
      'Dollars of provisioned GPU time booked by this gateway (charged + idle + unmetered). Left out: time booked by other gateways; sum() is the whole.',
    ),
    idleCost: pool(
      'inferometer_idle_cost_usd_total',
      "Dollars of provisioned GPU time without a request in flight, booked by this gateway, unavailable and unobserved time included. Left out: what other gateways booked; what is found unmetered at an hour's end is taken off what follows.",
    ),
    unmeteredCost: pool(
      'inferometer_unmetered_cost_usd_total',
      "Dollars of GPU time that DCGM saw used beyond the time with a request in flight, found at each hour's end by this gateway and counted in place of the idle that follows. Left out: deployments without a DCGM exporter; what other gateways booked.",
    ),
    busyWindows: new Counter({
      name: 'inferometer_busy_windows_total',
      help: 'Seconds with charged work that this gateway booked, by where their busy time was read: in_flight, engine (its iteration rows) or dcgm. Left out: seconds without work; what other gateways booked.',
      labelNames: [...perPool, 'source'] as const,
      registers,
    }),
    /** By series: unmetered dollars that were counted as idle before they were found; a counter cannot fall. */
    unmeteredOwed: new Map<string, number>(),
  };
}

export type SettlementMetrics = ReturnType<typeof createSettlementMetrics>;

/** Shows the known series at 0, so that rates have a beginning. */
export function prepareSettlementMetrics(metrics: SettlementMetrics, labels: MetricLabels): void {
  for (const { name: deployment, models, gpu } of labels.deployments) {
    const model = labels.model(models[0] ?? null);
    for (const [phase] of PHASES) metrics.phaseCost.inc({ model, deployment, phase }, 0);
    for (const team of labels.teams) {
      metrics.gpuSeconds.inc({ team, model, deployment, gpu }, 0);
      metrics.cost.inc({ team, model, deployment }, 0);
      for (const outcome of WASTED_OUTCOMES) metrics.wastedCost.inc({ team, model, deployment, outcome }, 0);
    }
  }
  for (const { deployment, gpu, hasDcgm } of labels.pools) {
    metrics.capacityGpuSeconds.inc({ deployment, gpu }, 0);
    metrics.capacityCost.inc({ deployment, gpu }, 0);
    metrics.idleCost.inc({ deployment, gpu }, 0);
    if (hasDcgm) metrics.unmeteredCost.inc({ deployment, gpu }, 0);
    for (const [source] of BUSY_WINDOWS) metrics.busyWindows.inc({ deployment, gpu, source }, 0);
  }
}

/** Counts the rollup increments of one applied claim. */
export function countClaim(
  metrics: SettlementMetrics,
  labels: MetricLabels,
  increments: readonly CellIncrement[],
): void {
  for (const increment of increments) {
    const read = (metric: CellMetric) => increment.metrics[metric];
    const deployment = labels.deployment(increment.deployment);
    const target = { model: labels.model(increment.model), deployment };
    const team = labels.team(increment.team);
    add(metrics.cost, { team, ...target }, toUnits(read('costNanoUsd'), 1e9));
    add(
      metrics.gpuSeconds,
      { team, ...target, gpu: labels.gpu(increment.deployment) },
      toUnits(read('gpuMicros'), 1e6),
    );
    for (const [phase, metric] of PHASES) add(metrics.phaseCost, { ...target, phase }, toUnits(read(metric), 1e9));
  }
}

/** Counts the whole cost of requests that did not complete; rollups know waste, but not its outcome. */
export function countWaste(
  metrics: SettlementMetrics,
  labels: MetricLabels,
  records: readonly SettledRecordJson[],
): void {
  for (const record of records) {
    if (record.outcome === 'completed') continue;
    const [team, model, { outcome }] = [labels.team(record.team), labels.model(record.model), record];
    const byDeployment = Map.groupBy(record.charges, (charge) =>
      labels.deployment(charge.deployment ?? record.deployment),
    );
    for (const [deployment, charges] of byDeployment) {
      const costNanoUsd = charges.reduce((sum, charge) => sum + BigInt(charge.costNanoUsd), 0n);
      add(metrics.wastedCost, { team, model, deployment, outcome }, Number(costNanoUsd) / 1e9);
    }
  }
}

/** The same from rollup increments, for a teller that knows no records: the sum is right, the outcome is `other`. */
export function countNamelessWaste(
  metrics: SettlementMetrics,
  labels: MetricLabels,
  increments: readonly CellIncrement[],
): void {
  for (const { team, model, deployment, metrics: values } of increments) {
    const target = { model: labels.model(model), deployment: labels.deployment(deployment) };
    add(metrics.wastedCost, { team: labels.team(team), ...target, outcome: OTHER }, toUnits(values.wastedNanoUsd, 1e9));
  }
}

/** Counts the capacity one freeze booked. */
export function countBooks(metrics: SettlementMetrics, labels: MetricLabels, books: readonly BookIncrement[]): void {
  for (const { deployments, gpu, metrics: booked } of books) {
    const read = (metric: BookMetric) => booked[metric];
    const isKnown = deployments.split('+').every((name) => labels.deployment(name) === name);
    const pool = isKnown ? { deployment: deployments, gpu } : { deployment: OTHER, gpu: OTHER };
    add(metrics.capacityGpuSeconds, pool, toUnits(read('capacityGpuMicros'), 1e6));
    add(metrics.capacityCost, pool, toUnits(read('capacityNanoUsd'), 1e9));
    addUncharged(metrics, pool, {
      idleUsd: toUnits(read('idleNanoUsd'), 1e9),
      unmeteredUsd: toUnits(read('unmeteredNanoUsd'), 1e9),
    });
    for (const [source, metric] of BUSY_WINDOWS)
      add(metrics.busyWindows, { ...pool, source }, toUnits(read(metric), 1));
  }
}

/** What turned out unmetered is counted in place of the idle that follows: the parts of capacity add up to it at every scrape. */
function addUncharged(
  metrics: SettlementMetrics,
  pool: { deployment: string; gpu: string },
  { idleUsd, unmeteredUsd }: { idleUsd: number; unmeteredUsd: number },
): void {
  const key = `${pool.deployment} ${pool.gpu}`;
  const owed = (metrics.unmeteredOwed.get(key) ?? 0) + unmeteredUsd;
  const uncharged = idleUsd + unmeteredUsd;
  const unmetered = Math.min(owed, Math.max(0, uncharged));
  metrics.unmeteredOwed.set(key, owed - unmetered);
  add(metrics.unmeteredCost, pool, unmetered);
  add(metrics.idleCost, pool, uncharged - unmetered);
}

/** The exact integer becomes a float here, at the edge, and nowhere before. */
function toUnits(integer: string | undefined, perUnit: number): number {
  return integer === undefined ? 0 : Number(integer) / perUnit;
}

/** A counter cannot fall: corrections, which are negative, are left to reports. */
function add<T extends string>(counter: Counter<T>, labels: Record<T, string>, value: number): void {
  if (Number.isFinite(value) && value > 0) counter.inc(labels, value);
}
