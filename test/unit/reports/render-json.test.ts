// What a report's JSON says of a pool's profile. Not here: the whole shape (chargeback.test.ts).
import { expect, test } from 'vitest';
import { computeChargeback } from '#reports/chargeback.ts';
import { toReportJson } from '#reports/render-json.ts';
import { parseTimeZone } from '#reports/time-zone.ts';
import {
  createReportConfig,
  DECEMBER,
  EXAMPLE_BOOK,
  EXAMPLE_CELL,
  EXAMPLE_FACTS,
  EXAMPLE_STATUS,
  NOVEMBER,
} from './sample-books.ts';

test('a pool names the part of its declared prefill that counts, where one was measured', () => {
  const [versions = []] = Object.values(EXAMPLE_FACTS.pools);
  const measured = versions.map((version) => ({
    ...version,
    deployments: Object.fromEntries(
      Object.entries(version.deployments).map(([name, facts]) => [name, { ...facts, prefillFactor: 0.83 }]),
    ),
  }));
  const report = computeChargeback({
    period: { from: NOVEMBER, to: DECEMBER, timezone: parseTimeZone('UTC') },
    groupBy: ['team'],
    idlePolicy: 'separate',
    team: null,
    source: {
      cells: [EXAMPLE_CELL],
      books: [EXAMPLE_BOOK],
      facts: { version: 1, pools: { 'llama-70b/trt-1': measured } },
      status: EXAMPLE_STATUS,
      records: null,
      vouchers: [],
      lateClaims: [],
    },
    config: createReportConfig(),
    nowMs: DECEMBER * 1000,
  });
  expect(toReportJson(report)).toMatchObject({
    pools: [{ profile: { source: 'declared', fitError: null, prefillFactor: 0.83 } }],
  });
});
