// `node test/bench/books.ts`: what the books cost and how they scale: Redis operations, memory, a month's chargeback of ten thousand teams.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { silentLog } from '#domain/log.ts';
import { openStore } from '#store/open-store.ts';
import { drawProgress } from '#src/commands/draw-progress.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { type ChargebackTime, measureChargeback } from './books/measure-chargeback.ts';
import { measureOperations, type OperationsLoad, type OperationsResult } from './books/measure-operations.ts';
import { listMonths, loadRedis, loadSqlite, type RollupLoad } from './books/rollup-load.ts';

const USAGE = `usage: node test/bench/books.ts [options]
  --only scale,operations   what to measure; default both
  --teams N                 default 10000
  --models N                default 50
  --models-per-team N       models that a team uses in a month; default 3
  --months N                default 13
  --seconds N               of each measurement of operations; default 20
  --json                    print JSON instead of tables
  --strict                  exit 1 if a month's chargeback takes 2 s or more
`;
const LIMIT_MS = 2000;
const PLAIN = { head: [], border: [] };
const DAY_MS = 86_400_000;
const RETENTION = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };

/** Twice the requests must not mean more operations; twice the gateways or tenants may. */
const LOADS: readonly Omit<OperationsLoad, 'seconds'>[] = [
  { gateways: 1, tenants: 10, requestsPerSecond: 20 },
  { gateways: 1, tenants: 10, requestsPerSecond: 100 },
  { gateways: 1, tenants: 10, requestsPerSecond: 400 },
  { gateways: 1, tenants: 100, requestsPerSecond: 400 },
  { gateways: 4, tenants: 10, requestsPerSecond: 400 },
];

interface ScaleResult extends ChargebackTime {
  readonly store: 'sqlite' | 'redis';
  readonly bytes: number;
}

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'scale,operations' },
    teams: { type: 'string', default: '10000' },
    models: { type: 'string', default: '50' },
    'models-per-team': { type: 'string', default: '3' },
    months: { type: 'string', default: '13' },
    seconds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

async function measureScale(load: RollupLoad, tell: (share: number, text: string) => void): Promise<ScaleResult[]> {
  const nowMs = Date.now();
  const nowSecond = Math.floor(nowMs / 1000);
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-books-'));
  const server = await startRedis();
  const path = join(folder, 'books.db');
  const open = (url: string) =>
    openStore({ url, prefix: 'books', timeoutMs: 60_000, retention: RETENTION, log: silentLog });
  // The month before the present one: whole, and settled.
  const month = new Date((listMonths({ months: 2 }, nowSecond)[0] ?? 0) * 1000).toISOString().slice(0, 7);
  const results: ScaleResult[] = [];
  try {
    loadSqlite(path, load, nowSecond, (share, text) => tell(share * 0.2, `SQLite: ${text}`));
    const redis = open(server.url);
    await redis.settlement.open();
    const target = { url: server.url, prefix: 'books' };
    await loadRedis(target, load, nowSecond, (share, text) => tell(0.2 + share * 0.6, `Redis: ${text}`));
    const sqlite = open(`sqlite:${path}`);
    await sqlite.settlement.open();
    for (const [name, store] of Object.entries({ sqlite, redis })) {
      for (const groupBy of ['team', 'team,model']) {
        const time = await measureChargeback(store, { month, groupBy, repetitions: 3, nowMs });
        const bytes = name === 'sqlite' ? statSync(path).size : await readRedisBytes(server.url);
        results.push({ ...time, store: name as ScaleResult['store'], bytes });
        tell(0.8 + results.length * 0.05, `${name} by ${groupBy}`);
      }
      await store.settlement.close();
    }
    return results;
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function readRedisBytes(url: string): Promise<number> {
  const { Redis } = await import('ioredis');
  const client = new Redis(url);
  const text = await client.info('memory');
  client.disconnect();
  return Number(/^used_memory:(\d+)/m.exec(text)?.[1] ?? 0);
}

function renderScale(results: readonly ScaleResult[]): string {
  const table = new Table({
    style: PLAIN,
    head: ['store', 'grouped by', 'cells', 'rows', 'read ms', 'compute ms', 'JSON ms', 'total ms', 'store MB'],
  });
  for (const { store, groupBy, cells, rows, readMs, computeMs, renderMs, totalMs, bytes } of results) {
    const times = [readMs, computeMs, renderMs, totalMs].map((ms) => ms.toFixed(0));
    table.push([store, groupBy, cells, rows, ...times, (bytes / 1e6).toFixed(0)]);
  }
  return `${table.toString()}\n`;
}

function renderOperations(results: readonly OperationsResult[]): string {
  const table = new Table({
    style: PLAIN,
    head: ['gateways', 'tenants', 'requests/s', 'script calls/s', 'commands/s', 'MB per million requests'],
  });
  for (const { gateways, tenants, requestsPerSecond, callsPerSecond, commandsPerSecond, bytesPerRequest } of results) {
    const figures = [callsPerSecond.toFixed(1), commandsPerSecond.toFixed(0), bytesPerRequest.toFixed(0)];
    table.push([gateways, tenants, requestsPerSecond, ...figures]);
  }
  return `${table.toString()}\n`;
}

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const parts = values.only.split(',');
  const load: RollupLoad = {
    teams: Number(values.teams),
    models: Number(values.models),
    months: Number(values.months),
    modelsPerTeam: Number(values['models-per-team']),
  };
  const progress = drawProgress('books', process.stderr.isTTY);
  const scale = parts.includes('scale') ? await measureScale(load, progress.update) : [];
  const operations: OperationsResult[] = [];
  for (const each of parts.includes('operations') ? LOADS : []) {
    progress.update(
      operations.length / LOADS.length,
      `${each.gateways} gateways, ${each.tenants} tenants, ${each.requestsPerSecond}/s`,
    );
    operations.push(await measureOperations({ ...each, seconds: Number(values.seconds) }));
  }
  progress.stop();
  if (values.json) process.stdout.write(`${JSON.stringify({ load, scale, operations }, null, 2)}\n`);
  else
    process.stdout.write(
      `${scale.length > 0 ? renderScale(scale) : ''}${operations.length > 0 ? renderOperations(operations) : ''}`,
    );
  return values.strict && scale.some(({ totalMs }) => totalMs >= LIMIT_MS) ? 1 : 0;
}

process.exitCode = await main();
