// The Prometheus side of the gateway (contract §7): one registry, fed by records, settlement and the gateway, read by the admin plane.
import type { Config } from '#config/config.ts';
import type { BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import { ERROR_KINDS } from '#domain/errors.ts';
import type { Log } from '#domain/log.ts';
import type { RecordListener } from '#domain/metering.ts';
import type { SettlementListener } from '#domain/settlement-listener.ts';
import { Registry } from './prometheus.ts';
import { createMetricLabels, NONE, OTHER } from './metric-labels.ts';
import { MonthToDate } from './month-to-date.ts';
import { observe, RequestCounting } from './request-metrics.ts';
import {
  countBooks,
  countClaim,
  countNamelessWaste,
  countWaste,
  createSettlementMetrics,
  prepareSettlementMetrics,
} from './settlement-metrics.ts';
import { registerStateGauges } from './state-gauges.ts';
import type { MetricsSources } from './state-gauges.ts';
import { type MetricJson, readMetrics } from './sum-metrics.ts';
import { createTelemetryMetrics, type StatisticsPollers, type StatisticsTarget } from './telemetry-metrics.ts';
import { createUpstreamMetrics, type RetryLabel } from './upstream-metrics.ts';

export type { MetricsSources } from './state-gauges.ts';

/** Nothing here throws: a metric that cannot be counted is logged once. */
export interface Metrics extends RecordListener, SettlementListener {
  readonly contentType: string;
  /** The text of one scrape; waits at most about 1 s for the store. */
  render(): Promise<string>;
  /** The same as plain data, for a scrape over several processes. */
  readJson(): Promise<readonly MetricJson[]>;
  /** A request the gateway refused, by error code; `team` null without identity. */
  requestRejected(team: string | null, reason: string): void;
  /** An upstream was left out because requests to it failed; by its name in the config. */
  upstreamEjected(target: { readonly deployment: string; readonly upstream: string }): void;
  retried(deployment: string, result: RetryLabel): void;
  /** Joules that a pool's GPUs used since this was told last; deployments that share it are joined by `+`. */
  energyUsed(pool: { readonly deployment: string; readonly gpu: string }, joules: number): void;
  /** Statistics were asked for and could not be read. */
  statisticsFailed(target: StatisticsTarget): void;
  /** Milliseconds a request spent in the gateway before it was sent to an engine. */
  overheadObserved(
    target: { readonly model: string | null; readonly deployment: string | null },
    overheadMs: number,
  ): void;
  /** Shows the series of a new config; counters go on. */
  reload(config: Config): void;
}

export interface MetricsOptions {
  readonly config: Config;
  readonly books: BooksReader;
  readonly sources: MetricsSources;
  /** What this process asks of engines and DCGM exporters now; default: nothing. */
  readonly statisticsPollers?: StatisticsPollers;
  readonly clock: Clock;
  readonly log: Log;
  /** Version of this program. */
  readonly version: string;
}

/** Creates a registry of its own with every series the config allows to foresee at 0. */
export function createMetrics(options: MetricsOptions): Metrics {
  const { books, clock, log } = options;
  const registry = new Registry();
  const settlement = createSettlementMetrics(registry);
  let config = options.config;
  let labels = createMetricLabels(config);
  const counting = new RequestCounting(registry, labels);
  const requests = counting.metrics;
  const { queueLengths } = options.sources;
  const upstreams = createUpstreamMetrics(registry, { queueLengths, labels: () => labels });
  const pollers = options.statisticsPollers ?? (() => []);
  const telemetry = createTelemetryMetrics(registry, { pollers, labels: () => labels });
  const prepare = () => {
    upstreams.prepare();
    telemetry.prepare();
    prepareSettlementMetrics(settlement, labels);
  };
  prepare();
  registerStateGauges({
    ...options,
    registry,
    monthToDate: new MonthToDate({ books, clock, log }),
    config: () => config,
    labels: () => labels,
  });
  const guarded = createGuard(log);
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    readJson: () => readMetrics(registry),
    recordFinished: (record) => guarded('record', () => counting.count(record)),
    claimApplied: (increments, records) =>
      guarded('claim', () => {
        countClaim(settlement, labels, increments);
        if (records === undefined) countNamelessWaste(settlement, labels, increments);
        else countWaste(settlement, labels, records);
      }),
    booksCommitted: (booked) => guarded('books', () => countBooks(settlement, labels, booked)),
    requestRejected: (team, reason) =>
      guarded('rejection', () => {
        const known = Object.hasOwn(ERROR_KINDS, reason) ? reason : OTHER;
        requests.rejections.inc({ team: team === null ? NONE : labels.team(team), reason: known });
      }),
    upstreamEjected: (target) => guarded('ejection', () => upstreams.ejected(target)),
    retried: (deployment, result) => guarded('retry', () => upstreams.retried(deployment, result)),
    energyUsed: (pool, joules) => guarded('energy', () => telemetry.energyUsed(pool, joules)),
    statisticsFailed: (target) => guarded('statistics', () => telemetry.statisticsFailed(target)),
    overheadObserved: ({ model, deployment }, overheadMs) =>
      guarded('overhead', () => {
        const target = { model: labels.model(model), deployment: labels.deployment(deployment) };
        observe(requests.overhead, target, overheadMs / 1000);
      }),
    reload: (next) => {
      config = next;
      labels = createMetricLabels(next);
      counting.reload(labels);
      guarded('reload', prepare);
    },
  };
}

/** A failing metric must neither fail a request nor fill the log. */
function createGuard(log: Log): (what: string, count: () => void) => void {
  const told = new Set<string>();
  return (what, count) => {
    try {
      count();
    } catch (error) {
      if (told.has(what)) return;
      told.add(what);
      log.error(
        { what, reason: error instanceof Error ? error.message : String(error) },
        'metrics could not be counted',
      );
    }
  };
}
