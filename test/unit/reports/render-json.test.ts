// What a report's JSON says of a pool's profile. Not here: the whole shape (chargeback.test.ts).
import { expect, test } from 'vitest';
import { toReportJson } from '#reports/render-json.ts';
import { computeExample, EXAMPLE_FACTS } from './sample-books.ts';

test('a pool names the part of its declared prefill that counts, where one was measured', () => {
  const [versions = []] = Object.values(EXAMPLE_FACTS.pools);
  const measured = versions.map((version) => ({
    ...version,
    deployments: Object.fromEntries(
      Object.entries(version.deployments).map(([name, facts]) => [name, { ...facts, prefillFactor: 0.83 }]),
    ),
  }));
  const report = computeExample({ facts: { version: 1, pools: { 'llama-70b/trt-1': measured } } });
  expect(toReportJson(report)).toMatchObject({
    pools: [{ profile: { source: 'declared', fitError: null, prefillFactor: 0.83 } }],
  });
});
