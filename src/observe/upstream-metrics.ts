// Metrics of choosing an engine: ejections, retries, requests that wait. Health and load of each engine are state-gauges.ts's.
import { Counter, Gauge } from './prometheus.ts';
import type { Registry } from 'prom-client';
import { type MetricLabels, OTHER } from './metric-labels.ts';

const RETRY_RESULTS = ['answered', 'failed', 'refused'] as const;

/** How a retry went. */
export type RetryLabel = (typeof RETRY_RESULTS)[number];

/** Requests that wait, by deployment; from memory. */
export type QueueLengths = () => readonly { readonly deployment: string; readonly waiting: number }[];

/** The metrics and how to feed them; `prepare` shows the series of a config at 0. */
export function createUpstreamMetrics(
  registry: Registry,
  options: { queueLengths: QueueLengths; labels: () => MetricLabels },
) {
  const { queueLengths, labels } = options;
  const registers = [registry];
  const ejections = new Counter({
    name: 'inferometer_upstream_ejections_total',
    help: 'Times this gateway left out an upstream because requests to it failed in a row; addresses of a dns+ upstream count under its name. Left out: failed health checks (see inferometer_upstream_up).',
    labelNames: ['deployment', 'upstream'] as const,
    registers,
  });
  const retries = new Counter({
    name: 'inferometer_retries_total',
    help: 'Attempts after the first: an answer began (answered) or not (failed); refused counts those that the retry budget forbade. Left out: retries of clients.',
    labelNames: ['deployment', 'result'] as const,
    registers,
  });
  const queue: Gauge<'deployment'> = new Gauge({
    name: 'inferometer_queue_length',
    help: 'Requests that wait in this gateway because all upstreams have maxInFlight requests. Left out: what engines queue themselves.',
    labelNames: ['deployment'] as const,
    registers,
    collect: () => {
      queue.reset();
      for (const { deployment, waiting } of queueLengths())
        queue.set({ deployment: labels().deployment(deployment) }, waiting);
    },
  });
  return {
    /** The config's own names only; anything else counts as `other`. */
    ejected({ deployment, upstream }: { readonly deployment: string; readonly upstream: string }): void {
      const words = labels();
      const known = words.deployments.find(({ name }) => name === deployment);
      const isKnown = known?.upstreams.some(({ name, discoveredFrom }) => upstream === (discoveredFrom ?? name));
      ejections.inc({ deployment: words.deployment(deployment), upstream: isKnown === true ? upstream : OTHER });
    },
    retried(deployment: string, result: RetryLabel): void {
      retries.inc({ deployment: labels().deployment(deployment), result });
    },
    prepare(): void {
      for (const { name: deployment, upstreams } of labels().deployments) {
        for (const result of RETRY_RESULTS) retries.inc({ deployment, result }, 0);
        for (const { name, discoveredFrom } of upstreams) {
          ejections.inc({ deployment, upstream: discoveredFrom ?? name }, 0);
        }
      }
    },
  };
}
