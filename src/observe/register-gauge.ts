// Metrics that are read anew at each scrape. Not here: which there are (state-gauges.ts).
import { Counter, Gauge } from './prometheus.ts';
import type { Registry } from 'prom-client';

/** One gauge that is read at each scrape. */
export interface GaugeSpec<T extends string> {
  readonly name: string;
  readonly help: string;
  /** How the values of several worker processes become the gateway's: what each knows alike is taken once. */
  readonly workers: 'sum' | 'min' | 'max' | 'first';
  readonly labelNames: readonly T[];
  /** Sets the current values; series not set again are gone. */
  readonly collect: (set: (labels: Record<T, string>, value: number) => void) => void | Promise<void>;
}

/** Registers it; it answers for itself from then on. */
export function registerGauge<T extends string>(
  registry: Registry,
  { name, help, labelNames, workers, collect }: GaugeSpec<T>,
): void {
  const gauge = new Gauge<T>({
    name: `inferometer_${name}`,
    help,
    labelNames,
    aggregator: workers,
    registers: [registry],
    collect: async () => {
      const values: [Record<T, string>, number][] = [];
      await collect((labels, value) => {
        if (Number.isFinite(value)) values.push([labels, value]);
      });
      gauge.reset();
      // reset() shows a gauge without labels at 0; what is not known must not be shown at all.
      if (labelNames.length === 0) gauge.remove();
      for (const [labels, value] of values) gauge.set(labels, value);
    },
  });
}

/** Registers a counter without labels that something else counts: `read` never falls. */
export function registerTotal(
  registry: Registry,
  { name, help, read }: { readonly name: string; readonly help: string; readonly read: () => number },
): void {
  const counter = new Counter({
    name: `inferometer_${name}`,
    help,
    registers: [registry],
    collect: () => {
      counter.reset();
      counter.inc(read());
    },
  });
}
