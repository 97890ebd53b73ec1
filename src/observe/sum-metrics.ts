// The metrics of several worker processes as those of one gateway: counters and histograms summed, gauges as each of them says.
// Not here: what is measured (metrics.ts), fetching it from the workers (workers).
import type { MetricObjectWithValues, MetricValue } from 'prom-client';
import { AggregatorRegistry, Registry } from './prometheus.ts';

/** Of the text that `render` gives. */
export const METRICS_CONTENT_TYPE: string = Registry.PROMETHEUS_CONTENT_TYPE;

/** One metric of a registry with its values, as plain data. */
export type MetricJson = MetricObjectWithValues<MetricValue<string>>;

/** Everything a registry has, as plain data that can travel between processes. */
export function readMetrics(registry: Registry): Promise<readonly MetricJson[]> {
  // prom-client types the plain data it returns as metrics of its own.
  return registry.getMetricsAsJSON() as Promise<readonly MetricJson[]>;
}

/** Sums over workers that come and go: what a dead one had counted stays, so that no counter ever falls. */
export class MetricSums {
  #retired: readonly MetricJson[] = [];

  /** Keeps the counters and histograms of a worker that is gone, as last seen. */
  async retire(last: readonly MetricJson[]): Promise<void> {
    const lasting = last.filter(({ type }) => isCounted(type));
    this.#retired = await readMetrics(sum([this.#retired, lasting]));
  }

  /** The text of one scrape over all living workers. */
  render(living: readonly (readonly MetricJson[])[]): Promise<string> {
    // The living come first: what a metric is called and how it is summed is as they say.
    return sum([...living, this.#retired]).metrics();
  }
}

/** prom-client names types in its declarations by an enum, in its data by a word. */
function isCounted(type: unknown): boolean {
  return type === 'counter' || type === 'histogram';
}

function sum(parts: readonly (readonly MetricJson[])[]): Registry {
  return AggregatorRegistry.aggregate(parts.map((part) => [...part]));
}
