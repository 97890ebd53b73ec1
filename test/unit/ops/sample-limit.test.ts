// The scrape limit of config/prometheus.yml against what a gateway with many teams exports: over it Prometheus drops the whole scrape.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { create } from '#test/unit/observe/sample-metrics.ts';
import { createSampleConfig, LLAMA } from '#test/unit/observe/sample-config.ts';

test('250 teams on 20 deployments are scraped whole, with room for statuses and routes', async () => {
  const { scrape_configs: jobs } = parse(readFileSync('config/prometheus.yml', 'utf8')) as {
    scrape_configs: { job_name: string; sample_limit?: number }[];
  };
  const limit = jobs.find(({ job_name: name }) => name === 'inferometer')?.sample_limit ?? Number.POSITIVE_INFINITY;
  const { teams } = createSampleConfig();
  const config = createSampleConfig({
    teams: Array.from({ length: 250 }, (_, index) => ({ ...teams[0]!, name: `team-${index}` })),
    deployments: Array.from({ length: 20 }, (_, index) => ({ ...LLAMA, name: `d${index}`, models: [`m${index}`] })),
  });
  const text = await create({ config }).render();
  const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  expect(series).toBeGreaterThan(50_000);
  expect(series * 2).toBeLessThan(limit);
});
