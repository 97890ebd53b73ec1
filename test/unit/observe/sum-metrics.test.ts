// Several processes, one scrape: what is counted is summed and never falls, what each knows alike is taken once.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { type MetricJson, MetricSums, readMetrics } from '#observe/sum-metrics.ts';

/** A process with a counter, a histogram, and gauges of every kind. */
async function createProcess(figures: {
  requests: number;
  seconds: number;
  inFlight: number;
  up: number;
  lag: number;
}) {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: 'requests_total', help: 'h', labelNames: ['team'], registers }).inc(
    { team: 'a' },
    figures.requests,
  );
  new Histogram({ name: 'duration_seconds', help: 'h', buckets: [1, 2], registers }).observe(figures.seconds);
  new Gauge({ name: 'in_flight', help: 'h', aggregator: 'sum', registers }).set(figures.inFlight);
  new Gauge({ name: 'store_up', help: 'h', aggregator: 'min', registers }).set(figures.up);
  new Gauge({ name: 'lag_seconds', help: 'h', aggregator: 'max', registers }).set(figures.lag);
  new Gauge({ name: 'price', help: 'h', aggregator: 'first', registers }).set(2.5);
  return readMetrics(registry);
}

async function readLines(sums: MetricSums, living: readonly (readonly MetricJson[])[]): Promise<string[]> {
  return (await sums.render(living)).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

describe('metrics of several processes', () => {
  it('counters and histograms are summed, gauges as each says', async () => {
    const living = [
      await createProcess({ requests: 3, seconds: 0.5, inFlight: 2, up: 1, lag: 2 }),
      await createProcess({ requests: 4, seconds: 1.5, inFlight: 1, up: 0, lag: 9 }),
    ];
    expect(await readLines(new MetricSums(), living)).toEqual(
      expect.arrayContaining([
        'requests_total{team="a"} 7',
        'duration_seconds_bucket{le="1"} 1',
        'duration_seconds_bucket{le="2"} 2',
        'duration_seconds_bucket{le="+Inf"} 2',
        'duration_seconds_sum 2',
        'duration_seconds_count 2',
        'in_flight 3',
        'store_up 0',
        'lag_seconds 9',
        'price 2.5',
      ]),
    );
  });

  it('what the dead had counted stays, their gauges do not', async () => {
    const sums = new MetricSums();
    for (const requests of [3, 5]) {
      await sums.retire(await createProcess({ requests, seconds: 0.5, inFlight: 9, up: 0, lag: 99 }));
    }
    const living = [await createProcess({ requests: 1, seconds: 0.5, inFlight: 1, up: 1, lag: 1 })];
    expect(await readLines(sums, living)).toEqual(
      expect.arrayContaining([
        'requests_total{team="a"} 9',
        'duration_seconds_count 3',
        'in_flight 1',
        'store_up 1',
        'lag_seconds 1',
      ]),
    );
    expect(await readLines(sums, [])).not.toContain('store_up 0');
  });

  it('help and type stand once', async () => {
    const one = await createProcess({ requests: 1, seconds: 1, inFlight: 1, up: 1, lag: 1 });
    const text = await new MetricSums().render([one, one]);
    expect(text.match(/# TYPE requests_total counter/g)).toHaveLength(1);
    expect(text.match(/# TYPE duration_seconds histogram/g)).toHaveLength(1);
  });
});
