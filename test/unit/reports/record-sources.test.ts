import type { SettledRecordJson } from '#domain/settlement.ts';
import { parseGroupBy } from '#reports/dimensions.ts';
import type { IdlePolicy } from '#reports/report-shape.ts';
import { describe, expect, test } from 'vitest';
import { computeExample, EXAMPLE_BOOK, EXAMPLE_CELL, EXAMPLE_FACTS, EXAMPLE_STATUS, NOVEMBER } from './sample-books.ts';

describe('grouping by user and tag', () => {
  const record: SettledRecordJson = {
    recordId: 'r.1',
    requestId: 'r',
    clientRequestId: null,
    attempt: 1,
    lastAttempt: true,
    team: 'search',
    project: null,
    keyId: null,
    user: 'u-17',
    tags: { feature: 'autocomplete' },
    requestedModel: 'llama-3.1-70b',
    model: 'llama-3.1-70b',
    deployment: 'llama-70b',
    upstream: 'trt-1',
    pool: 'llama-70b/trt-1',
    route: '/v1/chat/completions',
    stream: true,
    startedAtMs: NOVEMBER * 1000,
    endedAtMs: NOVEMBER * 1000 + 1500,
    timeToFirstTokenMs: 84.2,
    durationMs: 1500,
    outcome: 'completed',
    status: 200,
    clientRetry: 0,
    tokens: { input: 900, cachedInput: 0, output: 140, reasoning: 0 },
    tokenSource: 'reported',
    profileSource: 'declared',
    charges: [
      {
        hour: NOVEMBER,
        gpuMicros: '412345',
        costNanoUsd: '286351',
        prefillNanoUsd: '90000',
        decodeNanoUsd: '196351',
        otherNanoUsd: '0',
        nanoUsdPerGpuHour: '2500000000',
      },
      {
        hour: NOVEMBER - 3600,
        gpuMicros: '1',
        costNanoUsd: '999',
        prefillNanoUsd: '999',
        decodeNanoUsd: '0',
        otherNanoUsd: '0',
        nanoUsdPerGpuHour: '2500000000',
      },
    ],
  };
  const source = {
    cells: [EXAMPLE_CELL],
    books: [EXAMPLE_BOOK],
    facts: EXAMPLE_FACTS,
    status: EXAMPLE_STATUS,
    vouchers: [],
    lateClaims: [],
    records: [record],
  };

  test('keeps every nanodollar: what no record explains stands in a row without user', () => {
    const { rows, totals, notes } = computeExample({}, { source, groupBy: parseGroupBy('user,tag:feature') });
    expect(rows.map(({ dimensions, totalNanoUsd, metrics }) => [dimensions, totalNanoUsd, metrics.requests])).toEqual([
      [{ user: 'u-17', 'tag:feature': 'autocomplete' }, 286_351n, 1n],
      [{ user: null, 'tag:feature': null }, 8_573_387n - 286_351n, 119n],
    ]);
    expect(totals.unsharedNanoUsd + 8_573_387n).toBe(totals.capacityNanoUsd);
    expect(notes[0]).toContain('records');
  });

  test.each(['constructor', '__proto__', 'tostring'])('a tag named %s is one that a record has not', (tag) => {
    const { rows } = computeExample({}, { source, groupBy: parseGroupBy(`tag:${tag}`) });
    expect(rows.map(({ dimensions }) => Object.values(dimensions))).toEqual([[null]]);
  });

  test.each<IdlePolicy>(['proportional', 'even'])(
    'idle (%s) reaches users by their cost, and each team gets what it gets without them',
    (idlePolicy) => {
      const read = (groupBy: string) => computeExample({}, { source, idlePolicy, groupBy: parseGroupBy(groupBy) }).rows;
      const [team] = read('team');
      const rows = read('team,user');
      const idle = rows.map(({ idleShareNanoUsd }) => idleShareNanoUsd);
      // 9,991,426,613 nanodollars of idle by 286,351 of 8,573,387 nanodollars of cost.
      expect(idle).toEqual([333_713_502n, 9_991_426_613n - 333_713_502n]);
      expect(idle.reduce((sum, share) => sum + share, 0n)).toBe(team?.idleShareNanoUsd);
      // Of 1,040 tokens; without idle 0.275337500 dollars per million.
      expect(rows[0]?.unitPrices.blendedWithIdle).toBe(321_153_704_808n);
    },
  );
});
