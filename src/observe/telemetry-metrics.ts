// Metrics of what is read beside requests: the engines' statistics and DCGM. Not here: reading them (telemetry).
import { Counter, Gauge } from './prometheus.ts';
import type { Registry } from 'prom-client';
import { type MetricLabels, OTHER } from './metric-labels.ts';

/** What is asked: an engine's iteration rows, or a DCGM exporter. */
export type StatisticsSource = 'iterations' | 'dcgm';

/** One thing that is asked of one upstream, by its name in the config. */
export interface StatisticsTarget {
  readonly deployment: string;
  readonly upstream: string;
  readonly source: StatisticsSource;
}

/** What this process asks now, from memory. */
export type StatisticsPollers = () => readonly StatisticsTarget[];

/** The metrics and how to feed them; `prepare` shows the series of a config at 0. */
export function createTelemetryMetrics(
  registry: Registry,
  options: { readonly pollers: StatisticsPollers; readonly labels: () => MetricLabels },
) {
  const { pollers, labels } = options;
  const registers = [registry];
  const labelNames = ['deployment', 'upstream', 'source'] as const;
  const energy = new Counter({
    name: 'inferometer_energy_joules_total',
    help: 'Joules that the GPUs of deployments with a DCGM exporter used while this gateway was the one to ask it; sum() over gateways is the whole. Left out: CPU, memory, network, cooling, and time in which no gateway asked.',
    labelNames: ['deployment', 'gpu'] as const,
    registers,
  });
  const failures = new Counter({
    name: 'inferometer_statistics_failures_total',
    help: 'Times an engine or DCGM exporter did not answer with statistics that can be read. Left out: what it was never asked, because another gateway asks it or the config does not say so.',
    labelNames,
    registers,
  });
  const asking: Gauge<(typeof labelNames)[number]> = new Gauge({
    name: 'inferometer_statistics_poller',
    help: '1 where this gateway is the one that reads these statistics now; sum() over gateways is 1, or the addresses of a dns+ upstream. Left out: what the config does not ask for.',
    labelNames,
    registers,
    collect: () => {
      asking.reset();
      for (const target of listTargets(labels())) asking.set(target, 0);
      for (const target of pollers()) asking.inc(toLabels(target, labels()));
    },
  });
  return {
    energyUsed({ deployment, gpu }: { readonly deployment: string; readonly gpu: string }, joules: number): void {
      const isKnown = deployment.split('+').every((name) => labels().deployment(name) === name);
      if (Number.isFinite(joules) && joules > 0)
        energy.inc(isKnown ? { deployment, gpu } : { deployment: OTHER, gpu: OTHER }, joules);
    },
    statisticsFailed(target: StatisticsTarget): void {
      failures.inc(toLabels(target, labels()));
    },
    prepare(): void {
      for (const pool of labels().pools)
        if (pool.hasDcgm) energy.inc({ deployment: pool.deployment, gpu: pool.gpu }, 0);
      for (const target of listTargets(labels())) failures.inc(target, 0);
    },
  };
}

/** The config's own names only; anything else counts as `other`. Addresses of a dns+ upstream count under its name. */
function toLabels({ deployment, upstream, source }: StatisticsTarget, labels: MetricLabels) {
  const known = labels.deployments.find(({ name }) => name === deployment);
  const named = known?.upstreams.find(({ name }) => name === upstream);
  return {
    deployment: labels.deployment(deployment),
    upstream: named === undefined ? OTHER : (named.discoveredFrom ?? named.name),
    source,
  };
}

function listTargets({ deployments }: MetricLabels) {
  return deployments.flatMap(({ name: deployment, engineStatistics, upstreams }) =>
    upstreams.flatMap(({ name, discoveredFrom, dcgm }) => {
      const upstream = discoveredFrom ?? name;
      return [...(engineStatistics ? (['iterations'] as const) : []), ...(dcgm === '' ? [] : (['dcgm'] as const))].map(
        (source) => ({ deployment, upstream, source }),
      );
    }),
  );
}
