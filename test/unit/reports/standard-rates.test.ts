// The standard basis: prices that follow from the engine profile and a planned load alone, and a variance line that keeps the bill whole.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { BookCell, RollupCell } from '#domain/books.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import { parseNanoUsd } from '#domain/nano-usd.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import { computeChargeback, type ChargebackRequest } from '#reports/chargeback.ts';
import { parseGroupBy } from '#reports/dimensions.ts';
import { renderCsv } from '#reports/render-csv.ts';
import { toReportJson } from '#reports/render-json.ts';
import { renderTable } from '#reports/render-table.ts';
import { computeRateCard } from '#reports/standard-rates.ts';
import { parseTimeZone } from '#reports/time-zone.ts';
import {
  createBook,
  createCell,
  createReportConfig,
  DECEMBER,
  EXAMPLE_FACTS,
  EXAMPLE_STATUS,
  NOVEMBER,
} from './sample-books.ts';

const POOL = 'llama-70b/trt-1';
const PROFILE = toProfileFemtos({
  iterationMs: 16,
  prefillTokenMs: 0.07,
  prefillContextMs: 2e-6,
  decodeStepMs: 0.1,
  contextTokenMs: 4e-5,
});

function factsWith(...versions: readonly object[]): FactBook {
  const [base] = EXAMPLE_FACTS.pools[POOL] ?? [];
  if (base === undefined) throw new Error('the sample has facts');
  const deployments = {
    'llama-70b': {
      model: 'llama-3.1-70b',
      profile: PROFILE,
      profileSource: 'calibrated' as const,
      profileFitError: 0.02,
    },
  };
  return { version: 1, pools: { [POOL]: versions.map((version) => ({ ...base, deployments, ...version })) } };
}

function compute(
  overrides: Partial<ChargebackRequest> & { cells?: readonly RollupCell[]; books?: readonly BookCell[] },
) {
  const { cells = [], books = [], ...request } = overrides;
  return computeChargeback({
    period: { from: NOVEMBER, to: DECEMBER, timezone: parseTimeZone('UTC') },
    groupBy: ['team', 'model'],
    idlePolicy: 'separate',
    basis: 'standard',
    team: null,
    source: { cells, books, facts: factsWith({}), status: EXAMPLE_STATUS, records: null, vouchers: [], lateClaims: [] },
    config: createReportConfig(),
    nowMs: DECEMBER * 1000,
    ...request,
  });
}

const load = { concurrency: 32, contextTokens: 2000 };

describe('the rate card', () => {
  test('is time of the replica at the planned load times GPUs and price', () => {
    // 4 GPUs at 2.50 dollars an hour: 10 / 3.6e6 dollars per ms. In: 0.07 + 1e-6·2000 = 0.072 ms. Out: 0.1 + 0.08 + 16/32 = 0.68 ms.
    const [rate, ...others] = computeRateCard(
      factsWith({}),
      { from: NOVEMBER, to: DECEMBER },
      { load, deployments: [] },
    );
    expect(others).toEqual([]);
    expect(rate).toMatchObject({
      model: 'llama-3.1-70b',
      deployment: 'llama-70b',
      input: 200_000_000n,
      cachedInput: 0n,
      output: 1_888_888_889n,
      profileSource: 'calibrated',
    });
  });

  test('is cheaper per token out, and the same in, where more sequences are planned side by side', () => {
    const rateAt = (concurrency: number) =>
      computeRateCard(
        factsWith({}),
        { from: NOVEMBER, to: DECEMBER },
        { load: { ...load, concurrency }, deployments: [] },
      )[0];
    expect(rateAt(1)?.output).toBeGreaterThan(20n * (rateAt(128)?.output ?? 0n));
    expect(rateAt(1)?.input).toBe(rateAt(128)?.input);
  });

  test('is that of the beginning of the period: what is learned or priced later changes the next one', () => {
    const later = {
      effectiveFrom: NOVEMBER + 3600,
      prices: [{ name: 'x', from: NOVEMBER + 3600, nanoUsdPerGpuHour: '9', source: '' }],
    };
    const period = { from: NOVEMBER, to: DECEMBER };
    expect(computeRateCard(factsWith({}, later), period, { load, deployments: [] })).toEqual(
      computeRateCard(factsWith({}), period, { load, deployments: [] }),
    );
  });

  test('begins with the first facts of a period that has none at its beginning', () => {
    const facts = factsWith({ effectiveFrom: NOVEMBER + 86_400 });
    expect(computeRateCard(facts, { from: NOVEMBER, to: DECEMBER }, { load, deployments: [] })).toHaveLength(1);
    expect(computeRateCard(facts, { from: NOVEMBER - 86_400, to: NOVEMBER }, { load, deployments: [] })).toEqual([]);
  });
});

describe('a report at standard prices', () => {
  const tokens = { requests: 1n, inputTokens: 1_000_000n, cachedInputTokens: 500_000n, outputTokens: 100_000n };
  const cell = (team: string, costNanoUsd: bigint, extra = {}) =>
    createCell(
      { team, deployment: 'llama-70b', model: 'llama-3.1-70b' },
      { ...tokens, costNanoUsd, decodeNanoUsd: costNanoUsd, ...extra },
    );
  const bill = (charged: bigint) =>
    createBook(
      {},
      { capacityNanoUsd: charged + 70n, chargedNanoUsd: charged, claimedNanoUsd: charged, idleNanoUsd: 70n },
    );

  test('gives two teams of equal tokens equal prices, whatever their neighbours’ load made them cost', () => {
    const report = compute({ cells: [cell('a', 100n), cell('b', 900_000_000n)], books: [bill(900_000_100n)] });
    const [a, b, variance, ...others] = report.rows;
    expect(others).toEqual([]);
    // 200_000_000 in + a tenth of 1_888_888_889 out.
    expect([a?.totalNanoUsd, b?.totalNanoUsd]).toEqual([388_888_889n, 388_888_889n]);
    expect(variance).toMatchObject({ dimensions: { team: '(variance)', model: null }, totalNanoUsd: 122_222_322n });
    expect(report.standard?.varianceNanoUsd).toBe(122_222_322n);
    expect(report.totals.differenceNanoUsd).toBe(0n);
  });

  test('keeps the actual cost of work without tokens and of deployments without a rate', () => {
    const other = createCell(
      { team: 'c', deployment: 'elsewhere', model: 'x' },
      { costNanoUsd: 7n, prefillNanoUsd: 7n },
    );
    const timed = createCell(
      { team: 'd', deployment: 'llama-70b', model: 'llama-3.1-70b' },
      { costNanoUsd: 11n, otherNanoUsd: 11n },
    );
    const { rows } = compute({ cells: [other, timed], books: [bill(18n)] });
    expect(rows.map(({ dimensions, totalNanoUsd }) => [dimensions['team'], totalNanoUsd])).toEqual([
      ['c', 7n],
      ['d', 11n],
    ]);
  });

  test('says so in JSON, CSV and the table, with the planned load and the rates', () => {
    const report = compute({ cells: [cell('a', 100n)], books: [bill(100n)] });
    expect(toReportJson(report)).toMatchObject({
      basis: 'standard',
      rateCard: {
        plannedLoad: load,
        rates: [
          {
            model: 'llama-3.1-70b',
            deployment: 'llama-70b',
            usdPerMillionTokens: { input: '0.200000000', cachedInput: '0.000000000', output: '1.888888889' },
            profileSource: 'calibrated',
            usdPerGpuHour: '2.5',
          },
        ],
      },
      totals: { varianceNanoUsd: '-388888789' },
    });
    const csv = renderCsv(report).split('\r\n');
    expect(csv.find((line) => line.startsWith('variance'))).toMatch(/^variance,\(variance\),,.*-0\.388888789$/);
    const table = renderTable(report, { color: false });
    expect(table).toContain('standard prices');
    expect(table).toContain('32 sequences of 2000 tokens');
    expect(table).toContain('$0.2000 per 1M in, $1.8889 per 1M out (calibrated profile)');
  });

  test('uses the planned load of the configuration', () => {
    const config = { ...createReportConfig(), finance: { plannedLoad: { concurrency: 1, contextTokens: 0 } } };
    const { standard } = compute({ cells: [cell('a', 100n)], books: [bill(100n)], config });
    // 0.1 + 16 ms out.
    expect(standard?.rates[0]?.output).toBe(44_722_222_222n);
  });

  test('of one team holds no variance, which stands with the other teams’ rows', () => {
    const report = compute({ cells: [cell('a', 100n), cell('b', 5n)], books: [bill(105n)], team: 'a' });
    expect(report.rows.map(({ dimensions }) => dimensions['team'])).toEqual(['a']);
    const [row] = report.rows;
    expect((row?.totalNanoUsd ?? 0n) + report.totals.otherTeamsNanoUsd).toBe(105n);
  });

  test('sums to the bill exactly, for every grouping and idle policy, as CSV too', () => {
    const amount = fc.bigInt({ min: 0n, max: 10n ** 12n });
    const team = fc.constantFrom('a', 'b', 'c');
    const deployment = fc.constantFrom('llama-70b', 'elsewhere');
    const cells = fc.array(fc.tuple(team, deployment, amount, amount, amount, amount), { maxLength: 12 });
    const groupings = ['team', 'team,model', 'model', 'day', 'deployment,team', 'costCenter', 'project,key'];
    fc.assert(
      fc.property(
        cells,
        amount,
        fc.constantFrom(...groupings),
        fc.constantFrom('separate', 'proportional', 'even'),
        (drawn, idle, groupBy, idlePolicy) => {
          const sources = drawn.map(([name, at, cost, inputTokens, outputTokens, otherNanoUsd]) =>
            createCell(
              { team: name, deployment: at, model: at === 'llama-70b' ? 'llama-3.1-70b' : 'x' },
              {
                costNanoUsd: cost + otherNanoUsd,
                decodeNanoUsd: cost,
                otherNanoUsd,
                inputTokens,
                outputTokens,
                requests: 1n,
              },
            ),
          );
          const charged = sources.reduce((sum, { metrics }) => sum + metrics.costNanoUsd, 0n);
          const books = [
            createBook(
              {},
              {
                capacityNanoUsd: charged + idle,
                chargedNanoUsd: charged,
                claimedNanoUsd: charged,
                idleNanoUsd: idle,
              },
            ),
          ];
          const report = compute({
            cells: sources,
            books,
            groupBy: parseGroupBy(groupBy),
            idlePolicy: idlePolicy as 'even',
          });
          const { totals } = report;
          const rows = report.rows.reduce((sum, row) => sum + row.totalNanoUsd, 0n);
          expect(rows + totals.pendingNanoUsd + totals.unsharedNanoUsd + totals.unmeteredNanoUsd).toBe(
            totals.capacityNanoUsd,
          );
          expect(totals.differenceNanoUsd).toBe(0n);
          const lines = renderCsv(report).trim().split('\r\n').slice(1);
          const sum = lines.reduce((total, line) => total + parseNanoUsd(line.split(',').at(-1) ?? ''), 0n);
          expect(sum).toBe(totals.capacityNanoUsd);
          expect(report.rows.reduce((total, row) => total + row.amountCents, 0n)).toBe(
            (rows + 5_000_000n) / 10_000_000n,
          );
        },
      ),
      { numRuns: 150 },
    );
  });
});
