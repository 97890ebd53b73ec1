// The whole product as a user runs it: simulated engines in this process, the gateway as a child process with its own data folder.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findFreePort } from '#src/demo/free-port.ts';
import { type OwnProcess, startOwnProcess } from '#src/demo/child-process.ts';
import { type DisaggregatedOptions, startDisaggregated } from '#simulator/start-disaggregated.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '#simulator/start-simulator.ts';

export interface TestEngine extends Partial<SimulatorOptions> {
  /** Deployment name; default `d<index>`. */
  name?: string;
  /** Names clients may send; default the simulator's model. */
  models?: string[];
  /** `engine` of the config; default by flavor. */
  engine?: string;
  /** Merged into the deployment's config. */
  deployment?: Record<string, unknown>;
  /** URL of a DCGM exporter that shows its GPUs. */
  dcgm?: string;
  /** Engines behind this deployment; default 1. */
  replicas?: number;
  /** Its prompts are computed by an engine of their own: deployment `<name>-prefill`, the simulator after its own. One replica. */
  prefill?: DisaggregatedOptions['prefill'];
}

export interface TestStackOptions {
  engines?: TestEngine[];
  /** Store URL; default a SQLite file in the data folder. */
  storeUrl?: string;
  teams?: string[];
  /** Merged into the config's `server`. */
  server?: Record<string, unknown>;
  /** Merged over the top level of the config. */
  config?: Record<string, unknown>;
}

export interface TestStack {
  readonly gatewayUrl: string;
  readonly adminUrl: string;
  readonly adminToken: string;
  /** Key of each team. */
  readonly keys: Readonly<Record<string, string>>;
  readonly simulators: readonly Simulator[];
  readonly configPath: string;
  readonly dataDir: string;
  /** The gateway's process, replaced by `restart`. */
  readonly gateway: () => OwnProcess;
  /** Everything the gateway printed is in here after `close`. */
  admin<T>(path: string): Promise<T>;
  /** Starts another gateway of the same host: same store, journal folder, engines and keys, ports of its own. */
  startSibling(): Promise<Sibling>;
  /** Starts the gateway again after it was ended. */
  restart(): Promise<void>;
  /** Polls a report until every window before `epochMs` is settled. */
  settled(epochMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface Sibling {
  readonly gatewayUrl: string;
  readonly adminUrl: string;
  readonly process: OwnProcess;
}

const ENGINE_OF_FLAVOR = {
  trtllm: 'tensorrt-llm',
  triton: 'triton-openai',
  vllm: 'vllm',
  transformers: 'transformers',
  kserve: 'triton',
} as const;

/** Resolves when `check` returns true; polls every `everyMs`, rejects with `what` after `limitMs`. */
export async function until(
  what: string,
  check: () => Promise<boolean>,
  { limitMs = 30_000, everyMs = 100 } = {},
): Promise<void> {
  const deadline = performance.now() + limitMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  throw new Error(`${what}: not within ${limitMs} ms${last === undefined ? '' : ` (${String(last)})`}`);
}

async function startEngines(engines: TestEngine[]) {
  const simulators: Simulator[] = [];
  const deployments: Record<string, unknown>[] = [];
  for (const [index, engine] of engines.entries()) {
    const {
      name = `d${index}`,
      models,
      engine: kind,
      deployment,
      replicas = 1,
      dcgm,
      prefill,
      flavor = 'trtllm',
      model = 'llama-3.1-8b',
      ...options
    } = engine;
    const describe = (named: string, engines: readonly Simulator[], more: Record<string, unknown>) => ({
      name: named,
      models: models ?? [model],
      engine: kind ?? ENGINE_OF_FLAVOR[flavor],
      servedModel: model,
      gpu: 'H100-SXM',
      gpusPerReplica: engines.at(-1)?.gpus ?? 1,
      engineProfile: engines.at(-1)?.profile,
      upstreams: engines.map(({ url, grpcPort }, number) => ({
        url,
        name: `u${number}`,
        ...(grpcPort === null ? {} : { grpcUrl: `grpc://127.0.0.1:${grpcPort}` }),
        ...(dcgm === undefined ? {} : { dcgm }),
      })),
      health: { interval: '1s', timeout: '1s' },
      ...more,
    });
    const shared = { host: '127.0.0.1', port: 0, flavor, model, ...options };
    if (prefill !== undefined) {
      const pair = await startDisaggregated({ seed: index * 10 + 1, ...shared, prefill });
      simulators.push(pair.front, pair.prefill);
      deployments.push(describe(name, [pair.front], { prefillBy: `${name}-prefill`, ...deployment }));
      deployments.push(describe(`${name}-prefill`, [pair.prefill], {}));
      continue;
    }
    const own: Simulator[] = [];
    for (let replica = 0; replica < replicas; replica += 1) {
      own.push(await startSimulator({ seed: index * 10 + replica + 1, ...shared }));
    }
    simulators.push(...own);
    deployments.push(describe(name, own, { ...deployment }));
  }
  return { simulators, deployments };
}

/** Starts engines and a gateway and waits until it is ready. */
export async function startTestStack(options: TestStackOptions = {}): Promise<TestStack> {
  const dataDir = mkdtempSync(join(tmpdir(), 'inferometer-test-'));
  const { simulators, deployments } = await startEngines(options.engines ?? [{}]);
  const [port, adminPort] = [await findFreePort(), await findFreePort()];
  const adminToken = randomBytes(12).toString('hex');
  const keys = Object.fromEntries(
    (options.teams ?? ['search']).map((team) => [team, `key-${team}-${randomBytes(12).toString('hex')}`]),
  );
  const config = {
    server: { host: '127.0.0.1', port, drainDelay: '0s', drainTimeout: '5s', ...options.server },
    admin: { host: '127.0.0.1', port: adminPort, token: adminToken },
    store: {
      url: options.storeUrl ?? `sqlite:${join(dataDir, 'inferometer.db')}`,
      prefix: `t${randomBytes(6).toString('hex')}`,
      timeout: '500ms',
    },
    journal: { dir: join(dataDir, 'journal') },
    prices: [{ name: 'h100', gpu: 'H100-SXM', usdPerGpuHour: 2.5, from: '2026-01-01', source: 'test' }],
    deployments,
    teams: Object.entries(keys).map(([team, key]) => ({
      name: team,
      costCenter: `cc-${team}`,
      keys: [{ key, name: 'test', project: `${team}-project` }],
    })),
    ...options.config,
  };
  const configPath = join(dataDir, 'inferometer.yaml');
  writeFileSync(configPath, JSON.stringify(config, null, 2));
  const gatewayUrl = `http://127.0.0.1:${port}`;
  const adminUrl = `http://127.0.0.1:${adminPort}`;

  const start = async (path = configPath) => {
    const child = startOwnProcess(['serve', '--config', path], (line) => line.includes('gateway is ready'));
    await child.ready;
    return child;
  };
  const siblings: Sibling[] = [];
  let gateway = await start();
  const admin = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${adminUrl}${path}`, { headers: { authorization: `Bearer ${adminToken}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  return {
    gatewayUrl,
    adminUrl,
    adminToken,
    keys,
    simulators,
    configPath,
    dataDir,
    admin,
    gateway: () => gateway,
    async startSibling() {
      const [own, ownAdmin] = [await findFreePort(), await findFreePort()];
      const path = join(dataDir, `sibling-${siblings.length + 1}.yaml`);
      const { server, admin: adminConfig } = config;
      const moved = { ...config, server: { ...server, port: own }, admin: { ...adminConfig, port: ownAdmin } };
      writeFileSync(path, JSON.stringify(moved));
      const sibling = {
        gatewayUrl: `http://127.0.0.1:${own}`,
        adminUrl: `http://127.0.0.1:${ownAdmin}`,
        process: await start(path),
      };
      siblings.push(sibling);
      return sibling;
    },
    async restart() {
      gateway = await start();
    },
    async settled(epochMs) {
      await until(
        'books settled',
        async () => {
          const report = await admin<{
            settledThrough: string | null;
            totals: { chargedNanoUsd: string };
            pools: { pendingNanoUsd: string }[];
          }>('/api/reports/chargeback');
          const pending = report.pools.some((pool) => pool.pendingNanoUsd !== '0');
          return report.settledThrough !== null && Date.parse(report.settledThrough) >= epochMs && !pending;
        },
        { limitMs: 60_000, everyMs: 250 },
      );
    },
    async close() {
      await Promise.all([gateway, ...siblings.map((sibling) => sibling.process)].map((child) => child.end(10_000)));
      await Promise.all(simulators.map((simulator) => simulator.close()));
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
