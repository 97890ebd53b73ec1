import { createMetricLabels } from '#observe/metric-labels.ts';
import { Registry } from '#observe/prometheus.ts';
import { RequestCounting } from '#observe/request-metrics.ts';
import { expect, test } from 'vitest';
import { createSampleConfig, LLAMA } from './sample-config.ts';
import { RECORD } from './sample-record.ts';

test('no counter and no bucket of a histogram goes back over reloads, also of a deployment that was away', async () => {
  const registry = new Registry();
  const counting = new RequestCounting(registry, createMetricLabels(createSampleConfig()));
  const counted = async (): Promise<Map<string, number>> => {
    const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('inferometer_'));
    return new Map(lines.map((line) => [line.replace(/ \S+$/, ''), Number(line.split(' ').at(-1))]));
  };
  counting.count(RECORD);
  const before = await counted();
  expect([...before].filter(([name, value]) => name.includes('duration_seconds_bucket') && value > 0)).not.toEqual([]);
  const other = createSampleConfig({ deployments: [{ ...LLAMA, name: 'gemma', models: ['gemma-2-27b'] }] });
  counting.reload(createMetricLabels(other));
  counting.reload(createMetricLabels(createSampleConfig()));
  const after = await counted();
  expect([...before].filter(([name, value]) => (after.get(name) ?? -1) < value)).toEqual([]);
});
