// Month cells and hour books as years of use would leave them, written straight into a store's own layout. Not here: measuring them (measure-chargeback.ts).
import { Redis } from 'ioredis';
import { BOOK_METRICS, CELL_METRICS, type BookMetric, type CellMetric } from '#domain/settlement.ts';
import { RedisKeys } from '#store/redis/keys.ts';
import { cellStart, formatDims } from '#store/rollup-cells.ts';
import { openDatabase } from '#store/sqlite/open-database.ts';
import { ADD_TO_BOOKS, ADD_TO_CELL } from '#store/sqlite/sql-columns.ts';

export interface RollupLoad {
  readonly teams: number;
  readonly models: number;
  /** Months, the present one the last of them. */
  readonly months: number;
  /** Models that a team uses in a month. */
  readonly modelsPerTeam: number;
}

const HOUR = 3600;
const DEPLOYMENTS_GPU = 'H100-SXM';

/** Values of one cell: a month of a team on a model. Absent metrics are 0. */
function cellValues(pair: number): Readonly<Partial<Record<CellMetric, number>>> {
  const requests = 100 + (pair % 900);
  const cost = 1_000_003 * requests + pair;
  return {
    requests,
    attempts: requests,
    inputTokens: requests * 811,
    cachedInputTokens: requests * 97,
    outputTokens: requests * 203,
    reportedTokens: requests * 1111,
    gpuMicros: requests * 131_071,
    costNanoUsd: cost,
    prefillNanoUsd: Math.floor(cost / 3),
    decodeNanoUsd: cost - Math.floor(cost / 3),
  };
}

const BOOK_VALUES: Readonly<Partial<Record<BookMetric, number>>> = {
  capacityNanoUsd: 2_500_000_000,
  chargedNanoUsd: 1_500_000_000,
  idleNanoUsd: 1_000_000_000,
  claimedNanoUsd: 1_500_000_000,
  capacityGpuMicros: 3_600_000_000,
  chargedGpuMicros: 2_160_000_000,
  busyMs: 2_160_000,
  flightMs: 21_600_000,
  provisionedSeconds: 3600,
};

/** First seconds of the months, ascending. */
export function listMonths({ months }: Pick<RollupLoad, 'months'>, nowSecond: number): number[] {
  const starts = [cellStart('month', nowSecond)];
  while (starts.length < months) starts.unshift(cellStart('month', (starts[0] ?? 0) - 1));
  return starts;
}

/** Dimensions of each pair of a team and one of its models; a pair has the same number in every month. */
export function* listPairs({ teams, models, modelsPerTeam }: RollupLoad): Generator<{ pair: number; dims: string }> {
  let pair = 0;
  for (let team = 0; team < teams; team += 1) {
    for (let use = 0; use < modelsPerTeam; use += 1) {
      const model = (team * 7 + use) % models;
      pair += 1;
      const dims = { team: `team-${team}`, project: '', keyId: `k_${team}` };
      yield { pair, dims: formatDims({ ...dims, model: `model-${model}`, deployment: `deployment-${model}` }) };
    }
  }
}

type Tell = (share: number, text: string) => void;

/** Into a new SQLite file. */
export function loadSqlite(path: string, load: RollupLoad, nowSecond: number, tell: Tell): void {
  const db = openDatabase(path);
  db.exec('PRAGMA synchronous = OFF');
  const months = listMonths(load, nowSecond);
  const addDims = db.prepare('INSERT INTO dims (id, dims) VALUES (?, ?)');
  const addCell = db.prepare(ADD_TO_CELL);
  const addBook = db.prepare(ADD_TO_BOOKS);
  db.exec('BEGIN');
  for (const { pair, dims } of listPairs(load)) addDims.run(pair, dims);
  for (const [index, month] of months.entries()) {
    for (const { pair } of listPairs(load)) {
      const values = cellValues(pair);
      addCell.run('month', month, pair, ...CELL_METRICS.map((metric) => values[metric] ?? 0));
    }
    for (const hour of hoursOf(month, nowSecond)) {
      for (let model = 0; model < load.models; model += 1) {
        const deployments = JSON.stringify([`deployment-${model}`]);
        addBook.run(
          hour,
          `pool-${model}`,
          deployments,
          DEPLOYMENTS_GPU,
          ...BOOK_METRICS.map((m) => BOOK_VALUES[m] ?? 0),
        );
      }
    }
    db.exec('COMMIT; BEGIN');
    tell((index + 1) / months.length, `${index + 1} of ${months.length} months`);
  }
  const last = Math.floor(nowSecond / HOUR) * HOUR;
  db.prepare("UPDATE store SET frontier = ?, freeze_count = 1, freeze_hash = 'bench'").run(last);
  db.exec('COMMIT');
  db.close();
}

/** Into an empty Redis, through a store that was opened there before. */
export async function loadRedis(
  target: { readonly url: string; readonly prefix: string },
  load: RollupLoad,
  nowSecond: number,
  tell: Tell,
): Promise<void> {
  const redis = new Redis(target.url);
  const keys = new RedisKeys(target.prefix);
  const months = listMonths(load, nowSecond);
  const send = async (commands: (string | number)[][]) => {
    for (const [error] of (await redis.pipeline(commands).exec()) ?? []) if (error !== null) throw error;
  };
  try {
    await inBatches(listPairs(load), 2000, async (pairs) =>
      send([['hset', keys.dims, ...pairs.flatMap(({ pair, dims }) => [dims, pair])]]),
    );
    for (const [index, month] of months.entries()) {
      await inBatches(listPairs(load), 2000, async (pairs) =>
        send(pairs.map(({ pair }) => ['hset', keys.cells('month', month), ...cellFields(pair)])),
      );
      await inBatches(hoursOf(month, nowSecond), 24, async (hours) =>
        send(hours.map((hour) => ['hset', keys.books(hour), ...bookFields(load.models)])),
      );
      tell((index + 1) / months.length, `${index + 1} of ${months.length} months`);
    }
    const last = Math.floor(nowSecond / HOUR) * HOUR;
    await redis.hset(keys.meta, 'frontier', String(last), 'k', '1', 'freezeHash', 'bench');
  } finally {
    redis.disconnect();
  }
}

function cellFields(pair: number): (string | number)[] {
  const values = cellValues(pair);
  return CELL_METRICS.flatMap((metric, i) => (values[metric] === undefined ? [] : [`${pair}:${i}`, values[metric]]));
}

function bookFields(models: number): (string | number)[] {
  return Array.from({ length: models }, (_, model) => [
    `names:pool-${model}`,
    JSON.stringify([JSON.stringify([`deployment-${model}`]), DEPLOYMENTS_GPU]),
    ...BOOK_METRICS.flatMap((metric, i) =>
      BOOK_VALUES[metric] === undefined ? [] : [`${i}:pool-${model}`, BOOK_VALUES[metric]],
    ),
  ]).flat();
}

/** Hours of a month that have passed. */
function* hoursOf(month: number, nowSecond: number): Generator<number> {
  const next = cellStart('month', month + 32 * 86_400);
  for (let hour = month; hour < Math.min(next, nowSecond - (nowSecond % HOUR)); hour += HOUR) yield hour;
}

async function inBatches<T>(from: Iterable<T>, size: number, work: (batch: T[]) => Promise<void>): Promise<void> {
  let batch: T[] = [];
  for (const item of from) {
    batch.push(item);
    if (batch.length < size) continue;
    await work(batch);
    batch = [];
  }
  if (batch.length > 0) await work(batch);
}
