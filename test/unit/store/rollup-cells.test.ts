import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CELL_METRICS, type CellIncrement } from '#domain/settlement.ts';
import { claimBalances } from '#store/check-claim.ts';
import { mergeBlind } from '#store/member-blind.ts';
import { cellStart, formatDims, parseDims, spreadIncrements } from '#store/rollup-cells.ts';

const HOUR = 3600;
const increments = fc.array(
  fc.record({
    hour: fc.integer({ min: 0, max: 3000 }).map((hour) => 1_700_000_000 - (1_700_000_000 % HOUR) + hour * HOUR),
    team: fc.string(),
    project: fc.constantFrom('', 'p'),
    keyId: fc.constant(''),
    model: fc.constantFrom('m', 'n'),
    deployment: fc.constant('d'),
    metrics: fc.record({
      costNanoUsd: fc.bigInt({ min: 0n, max: 10n ** 17n }).map(String),
      requests: fc.constant('1'),
    }),
  }),
  { maxLength: 40 },
);

describe('spreadIncrements', () => {
  test('each granularity holds the whole cost, in cells that start on their edge', () => {
    fc.assert(
      fc.property(increments, (list: CellIncrement[]) => {
        const cost = CELL_METRICS.indexOf('costNanoUsd');
        const total = list.reduce((sum, { metrics }) => sum + BigInt(metrics.costNanoUsd ?? '0'), 0n);
        const sums = spreadIncrements(list);
        for (const granularity of ['hour', 'day', 'month'] as const) {
          const cells = sums.filter((sum) => sum.granularity === granularity);
          expect(cells.reduce((sum, { values }) => sum + (values[cost] ?? 0n), 0n)).toBe(total);
          for (const { start } of cells) expect(cellStart(granularity, start)).toBe(start);
        }
      }),
    );
  });

  test('dimensions are told apart whatever they hold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string(), { minLength: 5, maxLength: 5 }),
        ([team, project, keyId, model, deployment]) => {
          const dims = {
            team: team ?? '',
            project: project ?? '',
            keyId: keyId ?? '',
            model: model ?? '',
            deployment: deployment ?? '',
          };
          expect(parseDims(formatDims(dims))).toEqual(dims);
        },
      ),
    );
  });

  test('a month starts on its first day, in UTC', () => {
    expect(cellStart('month', Date.UTC(2026, 10, 30, 23, 59) / 1000)).toBe(Date.UTC(2026, 10, 1) / 1000);
    expect(cellStart('day', 90_000)).toBe(86_400);
  });
});

describe('claimBalances', () => {
  const claim = { k0: 0, k: 1, hash: '', totalNanoUsd: '0', lines: [], increments: [], pools: [], records: [] };
  test.each(['1e3', '1.0', '', ' 1', '0x1', '9'.repeat(19)])('an amount spelled %j never balances', (totalNanoUsd) => {
    expect(claimBalances({ ...claim, totalNanoUsd })).toBe(false);
  });
  test('an empty claim balances, one that goes backwards does not', () => {
    expect(claimBalances(claim)).toBe(true);
    expect(claimBalances({ ...claim, k0: 2 })).toBe(false);
  });
});

describe('mergeBlind', () => {
  test('ranges stay bounded and cover what they covered beyond the frontier', () => {
    const ranges = Array.from({ length: 200 }, (_, i): [number, number] => [i * 10, i * 10 + 3]);
    const merged = mergeBlind([], ranges, 55);
    expect(merged.length).toBeLessThanOrEqual(64);
    for (const [from, to] of ranges.filter(([, to]) => to > 55)) {
      expect(merged.some((range) => range[0] <= from && range[1] >= to)).toBe(true);
    }
  });
});
