import type { BookCell, RollupCell } from '#domain/books.ts';
import type { ChargebackRequest } from '#reports/chargeback.ts';
import { parseGroupBy } from '#reports/dimensions.ts';
import { renderCsv } from '#reports/render-csv.ts';
import { toReportJson } from '#reports/render-json.ts';
import { renderTable } from '#reports/render-table.ts';
import { parseNanoUsd } from '#domain/nano-usd.ts';
import type { IdlePolicy } from '#reports/report-shape.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createBook,
  createCell,
  computeExample,
  createReportConfig,
  DECEMBER,
  EXAMPLE_BOOK,
  EXAMPLE_CELL,
  EXAMPLE_FACTS,
  EXAMPLE_STATUS,
  NOVEMBER,
} from './sample-books.ts';

function compute(
  overrides: Partial<ChargebackRequest> & { cells?: readonly RollupCell[]; books?: readonly BookCell[] } = {},
) {
  const { cells = [EXAMPLE_CELL], books = [EXAMPLE_BOOK], ...request } = overrides;
  return computeExample({ cells, books }, { groupBy: ['team', 'model'], ...request });
}

describe('a pool behind a URL that hides several engines', () => {
  const ofReplicas = (...replicas: readonly number[]) =>
    compute({
      config: createReportConfig({
        deployments: [
          { name: 'llama-70b', models: ['llama-3.1-70b'], upstreams: replicas.map((count) => ({ replicas: count })) },
        ],
      }),
    });

  test('is marked as pooled, in JSON and in the table', () => {
    const report = ofReplicas(1, 4);
    expect(toReportJson(report)).toMatchObject({ pools: [{ deployment: 'llama-70b', pooled: true }] });
    expect(renderTable(report, { color: false })).toContain('llama-70b (pooled)');
  });

  test('is not marked where every URL is one engine', () => {
    const report = ofReplicas(1, 1);
    expect(JSON.stringify(toReportJson(report))).not.toContain('pooled');
    expect(renderTable(report, { color: false })).not.toContain('pooled');
  });
});

test('figures that left the store before the books of their hours are told, since rows do not add up without them', () => {
  expect(toReportJson(compute())).not.toHaveProperty('notes');
  const report = compute({ cells: [] });
  expect(report.notes).toEqual([expect.stringContaining('0.008573387 USD less than was charged')]);
  expect(renderTable(report, { color: false })).toContain('have left the store (retention.rollups)');
});

describe('the example of the contract', () => {
  test('comes out in its exact shape, unit prices included', () => {
    const report = toReportJson(compute());
    expect(report).toEqual({
      schema: 'inferometer.chargeback/1',
      from: '2026-11-01T00:00:00Z',
      to: '2026-12-01T00:00:00Z',
      timezone: 'UTC',
      currency: 'USD',
      basis: 'actual',
      idlePolicy: 'separate',
      groupBy: ['team', 'model'],
      generatedAt: '2026-12-01T00:00:00Z',
      settledThrough: '2026-12-01T00:00:00Z',
      complete: true,
      periodStatus: 'open',
      priceSet: expect.stringMatching(/^[0-9a-f]{64}$/),
      method: 'work-model/1',
      ledgerHash: 'abc123',
      rows: [
        {
          team: 'search',
          costCenter: '4711',
          model: 'llama-3.1-70b',
          requests: 120,
          failedRequests: 2,
          abortedRequests: 1,
          rejectedRequests: 0,
          requestsWithoutTokens: 0,
          tokens: { input: 9000, cachedInput: 512, output: 4000, reasoning: 0, total: 13512 },
          gpuSeconds: 12.345678,
          costNanoUsd: '8573387',
          prefillNanoUsd: '3000000',
          decodeNanoUsd: '5573387',
          otherNanoUsd: '0',
          wastedNanoUsd: '120000',
          idleShareNanoUsd: '0',
          totalNanoUsd: '8573387',
          amountUsd: '0.01',
          usdPerMillionTokens: {
            input: '0.315391085',
            output: '1.393346750',
            blended: '0.634501702',
            blendedWithIdle: null,
          },
        },
      ],
      pools: [
        {
          deployment: 'llama-70b',
          gpu: 'H100-SXM',
          prices: [{ name: 'h100-reserved', usdPerGpuHour: '2.5', from: '2026-01-01' }],
          profile: { source: 'declared', fitError: null },
          busySources: { in_flight: 0, engine: 0, dcgm: 0 },
          capacityGpuSeconds: 14400,
          capacityNanoUsd: '10000000000',
          chargedNanoUsd: '8573387',
          idleNanoUsd: '9991426613',
          unavailableNanoUsd: '0',
          unobservedNanoUsd: '0',
          unmeteredNanoUsd: '0',
          pendingNanoUsd: '0',
        },
      ],
      savings: [],
      corrections: [],
      totals: {
        capacityNanoUsd: '10000000000',
        chargedNanoUsd: '8573387',
        idleNanoUsd: '9991426613',
        unmeteredNanoUsd: '0',
        pendingNanoUsd: '0',
        unsharedNanoUsd: '9991426613',
        differenceNanoUsd: '0',
      },
      outstanding: {
        pendingNanoUsd: '0',
        unfrozenSeconds: 0,
        unsettledRequests: null,
        lateNanoUsd: '0',
        lateWindowsOfAllPeriods: 0,
        unattributedNanoUsd: '0',
      },
    });
  });

  test('row keys come in the order of the contract', () => {
    const rows = toReportJson(compute())['rows'] as Record<string, unknown>[];
    expect(Object.keys(rows[0] ?? {}).slice(0, 5)).toEqual([
      'team',
      'costCenter',
      'model',
      'requests',
      'failedRequests',
    ]);
  });
});

/** Consistent books: capacity = charged + idle + unmetered, claimed = what the cells hold. */
const arbitraryBooks = fc
  .record({
    cells: fc.array(
      fc.record({
        team: fc.constantFrom('search', 'chat', '(unattributed)'),
        project: fc.constantFrom('', 'ranking'),
        deployment: fc.constantFrom('a', 'b', 'c'),
        model: fc.constantFrom('m1', 'm2'),
        start: fc.integer({ min: 0, max: 29 }).map((day) => NOVEMBER + day * 86_400),
        cost: fc.bigInt(0n, 10n ** 14n),
        tokens: fc.bigInt(0n, 10n ** 9n),
      }),
      { maxLength: 12 },
    ),
    pools: fc.array(
      fc.record({
        deployments: fc.constantFrom('a', 'b', 'c', 'a+b'),
        hour: fc.integer({ min: 0, max: 700 }).map((hour) => NOVEMBER + hour * 3600),
        idle: fc.bigInt(0n, 10n ** 14n),
        pending: fc.bigInt(0n, 10n ** 6n),
        unmetered: fc.bigInt(0n, 10n ** 6n),
      }),
      { maxLength: 8 },
    ),
  })
  .map(({ cells, pools }) => {
    const claimed = cells.map(({ deployment, cost }) => ({
      deployments: deployment,
      hour: NOVEMBER,
      idle: 0n,
      pending: 0n,
      unmetered: 0n,
      claimed: cost,
    }));
    return {
      cells: cells.map(({ cost, tokens, ...key }) =>
        createCell(key, { costNanoUsd: cost, prefillNanoUsd: cost, inputTokens: tokens, requests: 1n }),
      ),
      books: [...pools.map((pool) => ({ ...pool, claimed: 0n })), ...claimed].map((pool) =>
        createBook(
          { deployments: pool.deployments, hour: pool.hour, pool: pool.deployments },
          {
            idleNanoUsd: pool.idle,
            unmeteredNanoUsd: pool.unmetered,
            chargedNanoUsd: pool.claimed + pool.pending,
            claimedNanoUsd: pool.claimed,
            capacityNanoUsd: pool.idle + pool.unmetered + pool.claimed + pool.pending,
          },
        ),
      ),
    };
  });

const config = createReportConfig({
  teams: [{ name: 'search' }, { name: 'chat', models: ['M1'] }, { name: 'batch', models: ['c'] }],
  deployments: [
    { name: 'a', models: ['m1'] },
    { name: 'b', models: ['m2'] },
    { name: 'c', models: ['m2'] },
  ],
});

const groupings = ['team', 'team,model', 'deployment,project', 'day', 'costCenter,key', 'model'];

describe('the identities', () => {
  test('rows + pending + unshared + unmetered = capacity, in every policy and grouping', () => {
    fc.assert(
      fc.property(
        arbitraryBooks,
        fc.constantFrom<IdlePolicy>('separate', 'proportional', 'even'),
        fc.constantFrom(...groupings),
        (books, idlePolicy, groupBy) => {
          const { rows, totals } = compute({ ...books, idlePolicy, groupBy: parseGroupBy(groupBy), config });
          const sum = rows.reduce((total, row) => total + row.totalNanoUsd, 0n);
          expect(sum + totals.pendingNanoUsd + totals.unsharedNanoUsd + totals.unmeteredNanoUsd).toBe(
            totals.capacityNanoUsd,
          );
          expect(totals.differenceNanoUsd).toBe(0n);
          expect(totals.unsharedNanoUsd >= 0n).toBe(true);
          expect(rows.every(({ idleShareNanoUsd }) => idleShareNanoUsd >= 0n)).toBe(true);
        },
      ),
    );
  });

  test('cents of the rows sum to the rounded total', () => {
    fc.assert(
      fc.property(
        arbitraryBooks,
        fc.constantFrom<IdlePolicy>('separate', 'proportional', 'even'),
        (books, idlePolicy) => {
          const { rows } = compute({ ...books, idlePolicy, config });
          const total = rows.reduce((sum, row) => sum + row.totalNanoUsd, 0n);
          expect(rows.reduce((sum, row) => sum + row.amountCents, 0n)).toBe((total + 5_000_000n) / 10_000_000n);
          for (const row of rows)
            expect(Math.abs(Number(row.amountCents * 10_000_000n - row.totalNanoUsd))).toBeLessThan(10_000_000);
        },
      ),
    );
  });

  test('totalUsd of the CSV sums to capacity', () => {
    fc.assert(
      fc.property(
        arbitraryBooks,
        fc.constantFrom<IdlePolicy>('separate', 'proportional', 'even'),
        (books, idlePolicy) => {
          const report = compute({ ...books, idlePolicy, config });
          const lines = renderCsv(report).trimEnd().split('\r\n').slice(1);
          const sum = lines.reduce((total, line) => total + parseNanoUsd(line.split(',').at(-1) ?? ''), 0n);
          expect(sum).toBe(report.totals.capacityNanoUsd);
        },
      ),
    );
  });

  test('a team costs the same in every grouping, idle included', () => {
    fc.assert(
      fc.property(arbitraryBooks, fc.constantFrom<IdlePolicy>('proportional', 'even'), (books, idlePolicy) => {
        const totalOf = (groupBy: string) =>
          compute({ ...books, idlePolicy, groupBy: parseGroupBy(groupBy), config })
            .rows.filter(({ dimensions }) => dimensions['team'] === 'search')
            .reduce((sum, row) => sum + row.totalNanoUsd, 0n);
        expect(totalOf('team,day,deployment')).toBe(totalOf('team'));
      }),
    );
  });

  test('a missing nanodollar in the books is shown, not hidden', () => {
    const { totals } = compute({
      books: [{ ...EXAMPLE_BOOK, metrics: { ...EXAMPLE_BOOK.metrics, idleNanoUsd: 9_991_426_612n } }],
    });
    expect(totals.differenceNanoUsd).toBe(1n);
  });

  test('with a team filter the rest stands in otherTeams, and the amounts are those of the whole report', () => {
    const cells = [EXAMPLE_CELL, createCell({ team: 'chat' }, { costNanoUsd: 7_000_000n })];
    const books = [
      createBook({}, { ...EXAMPLE_BOOK.metrics, chargedNanoUsd: 15_573_387n, claimedNanoUsd: 15_573_387n }),
    ];
    const whole = compute({ cells, books });
    const report = compute({ cells, books, team: 'chat' });
    expect(report.rows).toEqual(whole.rows.filter(({ dimensions }) => dimensions['team'] === 'chat'));
    expect(report.totals.otherTeamsNanoUsd).toBe(8_573_387n);
    const byModel = compute({ cells, books, team: 'chat', groupBy: ['model'] });
    expect(byModel.rows.map(({ dimensions, totalNanoUsd }) => [dimensions, totalNanoUsd])).toEqual([
      [{ model: 'llama-3.1-70b' }, 7_000_000n],
    ]);
  });
});

describe('idle', () => {
  const cells = [
    createCell({ team: 'search', deployment: 'a' }, { costNanoUsd: 300n, inputTokens: 1_000_000n }),
    createCell({ team: 'chat', deployment: 'a' }, { costNanoUsd: 100n, inputTokens: 1_000_000n }),
  ];
  const books = [
    createBook(
      { deployments: 'a' },
      { capacityNanoUsd: 1400n, chargedNanoUsd: 400n, claimedNanoUsd: 400n, idleNanoUsd: 1000n },
    ),
    createBook({ deployments: 'c', pool: 'c' }, { capacityNanoUsd: 50n, idleNanoUsd: 50n }),
  ];

  test('proportional follows the cost in the pool, and a pool without use stays unshared', () => {
    const { rows, totals } = compute({ cells, books, idlePolicy: 'proportional', groupBy: ['team'], config });
    expect(rows.map(({ dimensions, idleShareNanoUsd }) => [dimensions['team'], idleShareNanoUsd])).toEqual([
      ['chat', 250n],
      ['search', 750n],
    ]);
    expect(totals.unsharedNanoUsd).toBe(50n);
    expect(rows[0]?.unitPrices.blendedWithIdle).toBe(350n);
  });

  test('even gives every team allowed on the pool the same, use or not', () => {
    const { rows } = compute({ cells, books, idlePolicy: 'even', groupBy: ['team'], config });
    expect(rows.map(({ dimensions, idleShareNanoUsd }) => [dimensions['team'], idleShareNanoUsd])).toEqual([
      ['batch', 25n],
      ['chat', 500n],
      ['search', 525n],
    ]);
  });
});

describe('savings', () => {
  const baseline = { name: 'Transformers', nanoUsdPerMillionTokens: 500_000_000n, usdPerMillionTokens: '0.5' };
  const withBaseline = createReportConfig({
    deployments: [{ name: 'llama-70b', models: ['llama-3.1-70b'], baseline }],
  });

  test('compare the baseline with the measured price, idle of the pool included in every policy', () => {
    const cells = [createCell({}, { costNanoUsd: 20_000_000n, inputTokens: 1_000_000n })];
    const books = [
      createBook(
        {},
        {
          capacityNanoUsd: 60_000_000n,
          chargedNanoUsd: 20_000_000n,
          claimedNanoUsd: 20_000_000n,
          idleNanoUsd: 40_000_000n,
        },
      ),
    ];
    const { savings } = toReportJson(compute({ cells, books, config: withBaseline }));
    expect(savings).toEqual([
      {
        model: 'llama-3.1-70b',
        baseline: 'Transformers',
        baselineUsd: '0.5',
        measuredUsd: '0.06',
        factor: 8.3,
        basis: 'blendedWithIdle',
        avoidedUsd: '0.44',
      },
    ]);
  });

  test('are null without tokens', () => {
    const { savings } = compute({ cells: [], config: withBaseline });
    expect(savings).toMatchObject([{ measuredNanoUsd: null, factorTenths: null, avoidedNanoUsd: null }]);
  });
});

describe('settlement', () => {
  test.each([
    [DECEMBER - 1, true],
    [DECEMBER - 2, false],
  ])('with the frontier at %i complete is %s', (frontier, complete) => {
    const source = {
      cells: [],
      books: [],
      facts: EXAMPLE_FACTS,
      status: { ...EXAMPLE_STATUS, frontier },
      records: null,
      vouchers: [],
      lateClaims: [],
    };
    expect(compute({ source }).complete).toBe(complete);
  });

  test('before the first gateway nothing is settled and no hash exists', () => {
    const status = { ...EXAMPLE_STATUS, frontier: null, k: 0, freezeHash: '' };
    const report = toReportJson(
      compute({
        source: {
          cells: [],
          books: [],
          facts: { version: 0, pools: {} },
          status,
          records: null,
          vouchers: [],
          lateClaims: [],
        },
      }),
    );
    expect(report).toMatchObject({ settledThrough: null, complete: false, ledgerHash: null, rows: [], pools: [] });
  });
});
