// Everything a schedule plays on: a real Redis or SQLite, engines, a proxy on every link, gateways as processes. Not here: what goes wrong (play-schedule.ts).
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listSegments, segmentPath } from '#accounting/journal-segments.ts';
import { listJournals } from '#accounting/journal-slots.ts';
import { silentLog } from '#domain/log.ts';
import { type Simulator, startSimulator } from '#simulator/start-simulator.ts';
import { type OpenedStore, openStore } from '#store/open-store.ts';
import { reservePort } from '#test/support/reserve-port.ts';
import { TcpProxy } from '#test/support/tcp-proxy.ts';
import { ChaosRedis } from './chaos-redis.ts';
import type { ChaosSchedule } from './draw-schedule.ts';
import { GatewayProcess } from './gateway-process.ts';

export const TEAMS = ['search', 'ads', 'research'] as const;
/** One deployment per engine, so that each has its own pool. */
export const MODELS = ['llama-3.1-8b', 'mistral-7b'] as const;
const USD_PER_GPU_HOUR = 2.5;
const DAY_MS = 86_400_000;
const RETENTION = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };

export interface StageGateway {
  readonly process: GatewayProcess;
  readonly url: string;
  readonly adminUrl: string;
  readonly journalDir: string;
  readonly configPath: string;
  /** Null on SQLite. */
  readonly storeLink: TcpProxy | null;
}

/** Started parts of one schedule. `close` ends every process and removes every file. */
export interface ChaosStage {
  readonly gateways: readonly StageGateway[];
  readonly engines: readonly Simulator[];
  readonly engineLinks: readonly TcpProxy[];
  readonly redis: ChaosRedis | null;
  readonly keys: Readonly<Record<string, string>>;
  readonly dataDir: string;
  /** The store as it is now, past all proxies; the caller closes it. */
  openStore(): OpenedStore;
  close(): Promise<void>;
}

/** Builds the stage of a schedule; its gateways are not started yet. */
export async function buildStage(schedule: ChaosSchedule): Promise<ChaosStage> {
  const dataDir = mkdtempSync(join(tmpdir(), 'inferometer-chaos-'));
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const closer of closers.toReversed()) await closer().catch(() => {});
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    const redis = schedule.topology === 'sqlite' ? null : await ChaosRedis.start(dataDir);
    if (redis !== null) closers.push(() => redis.close());
    const { engines, engineLinks } = await startEngines(schedule, closers);
    const keys = Object.fromEntries(TEAMS.map((team) => [team, `key-${team}-${randomBytes(12).toString('hex')}`]));
    const gateways: StageGateway[] = [];
    const shared = { schedule, dataDir, redis, engines, engineLinks, keys };
    for (let index = 0; index < schedule.gateways; index += 1) {
      const gateway = await placeGateway(index, shared, closers);
      gateways.push(gateway);
      closers.push(() => gateway.process.kill());
    }
    const openNow = () => {
      const url = redis === null ? sqliteUrl(dataDir) : `redis://127.0.0.1:${redis.port}`;
      return openStore({ url, prefix: 'chaos', timeoutMs: 5000, retention: RETENTION, log: silentLog });
    };
    return { gateways, engines, engineLinks, redis, keys, dataDir, openStore: openNow, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Bytes of the largest journal segment below a gateway's `journal.dir`; 0 without one. */
export function readSegmentBytes({ journalDir }: StageGateway): number {
  const sizes = listJournals(journalDir).flatMap((dir) =>
    listSegments(dir).map((segment) => statSync(segmentPath(dir, segment)).size),
  );
  return Math.max(0, ...sizes);
}

function sqliteUrl(dataDir: string): string {
  return `sqlite:${join(dataDir, 'inferometer.db')}`;
}

async function startEngines(schedule: ChaosSchedule, closers: (() => Promise<unknown>)[]) {
  const engines: Simulator[] = [];
  const engineLinks: TcpProxy[] = [];
  for (const [index, model] of MODELS.entries()) {
    const engine = await startSimulator({
      flavor: 'vllm',
      model,
      seed: schedule.index * 10 + index + 1,
      networkOverheadMs: 0,
      promptTokensDetails: true,
      gpus: 1,
    });
    closers.push(() => engine.close());
    engines.push(engine);
    const link = await TcpProxy.start(engine.port);
    closers.push(() => link.close());
    engineLinks.push(link);
  }
  return { engines, engineLinks };
}

interface Shared extends Pick<ChaosStage, 'engines' | 'engineLinks' | 'keys' | 'dataDir' | 'redis'> {
  readonly schedule: ChaosSchedule;
}

async function placeGateway(index: number, shared: Shared, closers: (() => Promise<unknown>)[]): Promise<StageGateway> {
  const { dataDir, redis, schedule } = shared;
  const storeLink = redis === null ? null : await TcpProxy.start(redis.port);
  if (storeLink !== null) closers.push(() => storeLink.close());
  const [port, adminPort] = [await reservePort(), await reservePort()];
  const journalDir = join(dataDir, schedule.sharedHost ? 'journal' : `journal-${index}`);
  mkdirSync(journalDir, { recursive: true });
  const configPath = join(dataDir, `gateway-${index}.yaml`);
  const storeUrl = storeLink === null ? sqliteUrl(dataDir) : `redis://127.0.0.1:${storeLink.port}`;
  const workers = index === 0 ? schedule.workers : 1;
  const config = writeConfig(shared, { port, adminPort, workers, journalDir, storeUrl });
  writeFileSync(configPath, JSON.stringify(config, null, 2));
  const process = new GatewayProcess({ configPath, clockFile: join(dataDir, `clock-${index}`) });
  const url = `http://127.0.0.1:${port}`;
  return { process, url, adminUrl: `http://127.0.0.1:${adminPort}`, journalDir, configPath, storeLink };
}

function writeConfig(
  { schedule, engines, engineLinks, keys }: Shared,
  own: {
    readonly port: number;
    readonly adminPort: number;
    readonly workers: number;
    readonly journalDir: string;
    readonly storeUrl: string;
  },
): Record<string, unknown> {
  return {
    server: { host: '127.0.0.1', port: own.port, workers: own.workers, drainDelay: '0s', drainTimeout: '5s' },
    admin: { host: '127.0.0.1', port: own.adminPort, requireToken: false },
    store: { url: own.storeUrl, prefix: 'chaos', timeout: '300ms' },
    journal: { dir: own.journalDir, fsync: schedule.fsync === 'strict' ? 'strict' : schedule.fsync === 'true' },
    settlement: { horizon: schedule.horizon, silence: schedule.silence },
    logging: { access: false, level: 'info' },
    prices: [{ name: 'h100', gpu: 'H100-SXM', usdPerGpuHour: USD_PER_GPU_HOUR, from: '2026-01-01', source: 'chaos' }],
    deployments: MODELS.map((model, index) => ({
      name: `d${index}`,
      models: [model],
      engine: 'vllm',
      gpu: 'H100-SXM',
      gpusPerReplica: engines[index]?.gpus,
      engineProfile: engines[index]?.profile,
      upstreams: [{ url: `http://127.0.0.1:${engineLinks[index]?.port}`, name: `u${index}` }],
      health: { interval: '500ms', timeout: '500ms' },
      timeouts: { connect: '1s', firstByte: '5s', idle: '3s' },
    })),
    teams: TEAMS.map((name) => ({ name, costCenter: `cc-${name}`, keys: [{ key: keys[name], name: 'chaos' }] })),
  };
}
