// Cells, books and facts for report tests: small builders, and the numbers of the contract's example.
import type { BookCell, BooksReader, BooksStatus, RollupCell } from '#domain/books.ts';
import type { LateClaim, Voucher } from '#domain/voucher.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import { BOOK_METRICS, CELL_METRICS } from '#domain/settlement.ts';
import type { BookMetric, CellMetric, SettledRecordJson } from '#domain/settlement.ts';
import type { Config } from '#config/config.ts';
import { type ChargebackRequest, computeChargeback } from '#reports/chargeback.ts';
import { parseTimeZone } from '#reports/time-zone.ts';

/** 2026-11-01T00:00:00Z and 2026-12-01T00:00:00Z. */
export const NOVEMBER = 1_793_491_200;
export const DECEMBER = NOVEMBER + 30 * 86_400;

export function createCell(
  key: Partial<Omit<RollupCell, 'metrics'>>,
  metrics: Partial<Record<CellMetric, bigint>> = {},
): RollupCell {
  const zero = Object.fromEntries(CELL_METRICS.map((metric) => [metric, 0n])) as Record<CellMetric, bigint>;
  return {
    start: NOVEMBER,
    team: 'search',
    project: '',
    keyId: '',
    model: 'llama-3.1-70b',
    deployment: 'llama-70b',
    ...key,
    metrics: { ...zero, ...metrics },
  };
}

export function createBook(
  key: Partial<Omit<BookCell, 'metrics'>>,
  metrics: Partial<Record<BookMetric, bigint>> = {},
): BookCell {
  const zero = Object.fromEntries(BOOK_METRICS.map((metric) => [metric, 0n])) as Record<BookMetric, bigint>;
  const pool = { pool: 'llama-70b/trt-1', deployments: 'llama-70b', gpu: 'H100-SXM' };
  return { hour: NOVEMBER, ...pool, ...key, metrics: { ...zero, ...metrics } };
}

export const EXAMPLE_CELL = createCell(
  {},
  {
    requests: 120n,
    failedRequests: 2n,
    abortedRequests: 1n,
    inputTokens: 9000n,
    cachedInputTokens: 512n,
    outputTokens: 4000n,
    gpuMicros: 12_345_678n,
    costNanoUsd: 8_573_387n,
    prefillNanoUsd: 3_000_000n,
    decodeNanoUsd: 5_573_387n,
    wastedNanoUsd: 120_000n,
  },
);

export const EXAMPLE_BOOK = createBook(
  {},
  {
    capacityNanoUsd: 10_000_000_000n,
    chargedNanoUsd: 8_573_387n,
    claimedNanoUsd: 8_573_387n,
    idleNanoUsd: 9_991_426_613n,
    capacityGpuMicros: 14_400_000_000n,
  },
);

export const EXAMPLE_FACTS: FactBook = {
  version: 1,
  pools: {
    'llama-70b/trt-1': [
      {
        pool: 'llama-70b/trt-1',
        effectiveFrom: NOVEMBER - 86_400,
        active: true,
        gpu: 'H100-SXM',
        gpuMillionths: 4_000_000,
        prices: [{ name: 'h100-reserved', from: 1_767_225_600, nanoUsdPerGpuHour: '2500000000', source: 'contract' }],
        provisioned: { kind: 'always' },
        deployments: {
          'llama-70b': {
            model: 'llama-3.1-70b',
            profile: { t0: '1', a: '1', halfQ: '1', d: '1', k: '1' },
            profileSource: 'declared',
            profileFitError: null,
          },
        },
      },
    ],
  },
};

export const EXAMPLE_STATUS: BooksStatus = {
  epoch: 'e',
  schema: 1,
  nowMs: DECEMBER * 1000,
  frontier: DECEMBER - 1,
  k: 3,
  freezeHash: 'abc123',
  claimState: '',
  latePublications: 0,
  members: [],
};

/** Only what reports read of a config. */
export function createReportConfig(
  overrides: {
    teams?: readonly { name: string; costCenter?: string; models?: readonly string[] }[];
    deployments?: readonly {
      name: string;
      models: readonly string[];
      baseline?: Config['deployments'][number]['baseline'];
      upstreams?: readonly { replicas: number }[];
    }[];
  } = {},
): Pick<Config, 'teams' | 'deployments'> {
  const teams = overrides.teams ?? [{ name: 'search', costCenter: '4711' }];
  return {
    teams: teams.map((team) => ({
      displayName: team.name,
      costCenter: '',
      keys: [],
      reservedGpuMillionths: {},
      models: ['*'],
      ...team,
    })),
    deployments: (overrides.deployments ?? [{ name: 'llama-70b', models: ['llama-3.1-70b'] }]).map((deployment) => ({
      upstreams: [],
      ...deployment,
    })) as unknown as Config['deployments'],
  };
}

/** A reader over fixed cells: answers any granularity with the cells whose start lies in the period. */
export function createFixedBooks(
  parts: {
    cells?: readonly RollupCell[];
    books?: readonly BookCell[];
    records?: readonly SettledRecordJson[];
    status?: Partial<BooksStatus>;
    facts?: FactBook;
    vouchers?: readonly Voucher[];
    lateClaims?: readonly LateClaim[];
  } = {},
): BooksReader {
  const inside = (start: number, { from, to }: { from: number; to: number }) => start >= from && start < to;
  return {
    readStatus: async () => ({ ...EXAMPLE_STATUS, ...parts.status }),
    readFacts: async () => parts.facts ?? EXAMPLE_FACTS,
    readRollups: async (period) => (parts.cells ?? [EXAMPLE_CELL]).filter(({ start }) => inside(start, period)),
    readBooks: async (period) => (parts.books ?? [EXAMPLE_BOOK]).filter(({ hour }) => inside(hour, period)),
    readVouchers: async () => parts.vouchers ?? [],
    readLateClaims: async (period) => (parts.lateClaims ?? []).filter(({ hour }) => inside(hour, period)),
    readRecords: async (query) => {
      const start = Number(query.cursor ?? 0);
      const found = (parts.records ?? []).filter(
        ({ endedAtMs }) => endedAtMs >= (query.fromMs ?? 0) && endedAtMs < (query.toMs ?? Infinity),
      );
      const next = start + query.limit < found.length ? String(start + query.limit) : null;
      return { records: found.slice(start, start + query.limit), next };
    },
  };
}

/** The report of the example's books in its month: by team, idle apart, unless the request says otherwise. */
export function computeExample(
  source: Partial<ChargebackRequest['source']> = {},
  request: Partial<ChargebackRequest> = {},
): ReturnType<typeof computeChargeback> {
  return computeChargeback({
    period: { from: NOVEMBER, to: DECEMBER, timezone: parseTimeZone('UTC') },
    groupBy: ['team'],
    idlePolicy: 'separate',
    team: null,
    source: {
      cells: [EXAMPLE_CELL],
      books: [EXAMPLE_BOOK],
      facts: EXAMPLE_FACTS,
      status: EXAMPLE_STATUS,
      records: null,
      vouchers: [],
      lateClaims: [],
      ...source,
    },
    config: createReportConfig(),
    nowMs: DECEMBER * 1000,
    ...request,
  });
}
