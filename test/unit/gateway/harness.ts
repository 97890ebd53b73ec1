// A real gateway on a free port in front of fake engines, with a metering that keeps what it is told. For tests of the data plane.
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { Config, DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { AttemptEnd, AttemptStart, Metering } from '#domain/metering.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createGateway, type Gateway, type GatewayOptions } from '#gateway/create-gateway.ts';
import { type FakeEngine, startFakeEngine } from '#test/support/fake-engine.ts';

export const SEARCH_KEY = 'sk-search-0123456789';
export const ADS_KEY = 'sk-ads-0123456789abc';

/** Keeps everything accounting would be told. */
export class RecordingMetering implements Metering {
  readonly starts: AttemptStart[] = [];
  readonly ends: AttemptEnd[] = [];
  readonly unsent: UsageRecord[] = [];
  readonly contents: { readonly recordId: string; readonly steps: number }[] = [];
  readonly upstreamBytes: string[] = [];
  /** What `finish` answers; a promise is awaited before the last bytes go out. */
  finishWith: () => void | Promise<void> = () => {};
  #waiters: (() => void)[] = [];

  begin(start: AttemptStart) {
    this.starts.push(start);
    return {
      profileSource: 'declared',
      upstreamBytes: () => void this.upstreamBytes.push(start.recordId),
      content: (_atMs: number, steps: number) => void this.contents.push({ recordId: start.recordId, steps }),
      finish: (end: AttemptEnd) => {
        this.ends.push(end);
        for (const wake of this.#waiters.splice(0)) wake();
        return this.finishWith();
      },
    };
  }

  commit(): void {}

  recordUnsent(record: UsageRecord): void {
    this.unsent.push(record);
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** All records so far, by the order in which they were written. */
  get records(): UsageRecord[] {
    return [...this.unsent, ...this.ends.map(({ record }) => record)];
  }

  /** Resolves once `count` records were written. */
  async whenRecorded(count: number): Promise<void> {
    while (this.records.length < count) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
  }
}

/** The real clock unless told to run ahead. */
export class ShiftableClock implements Clock {
  #shiftMs = 0;

  advance(ms: number): void {
    this.#shiftMs += ms;
  }

  monotonicMs(): number {
    return performance.now() + this.#shiftMs;
  }

  epochMs(): number {
    return this.toEpochMs(this.monotonicMs());
  }

  toEpochMs(monotonicMs: number): number {
    return performance.timeOrigin + monotonicMs;
  }
}

export class CollectingLog implements Log {
  readonly lines: string[] = [];
  readonly #add = (fields: unknown, message: string): void => {
    this.lines.push(`${message} ${JSON.stringify(fields)}`);
  };
  readonly debug = this.#add;
  readonly info = this.#add;
  readonly warn = this.#add;
  readonly error = this.#add;
}

export function createUpstreamConfig(url: string, overrides: Partial<UpstreamConfig> = {}): UpstreamConfig {
  const name = overrides.name ?? 'trt-1';
  return {
    name,
    url,
    discovery: 'static',
    replicas: 1,
    pool: `llama-70b/${name}`,
    apiKey: '',
    headers: {},
    dcgm: '',
    gpus: [],
    ...overrides,
  };
}

export function createDeploymentConfig(
  upstreams: readonly UpstreamConfig[],
  overrides: Partial<DeploymentConfig> = {},
): DeploymentConfig {
  return {
    name: 'llama-70b',
    models: ['llama-3.1-70b', 'meta-llama/Llama-3.1-70B-Instruct'],
    engine: 'tensorrt-llm',
    servedModel: 'served',
    gpu: 'H100-SXM',
    gpuMillionths: 4_000_000,
    priceName: 'h100',
    provisioned: { kind: 'always' },
    upstreams,
    timeouts: { connectMs: 2000, firstByteMs: 60_000, idleMs: 60_000 },
    health: { path: '', intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 3 },
    engineStatistics: false,
    work: 'tokens',
    passThrough: ['/v1/audio/*', '/v1/images/*', '/v1/moderations'],
    errors: 'passthrough',
    dropFields: [],
    defaults: {},
    caps: {},
    weight: 1,
    priority: 0,
    ...overrides,
  };
}

export function createConfig(
  deployments: readonly DeploymentConfig[],
  overrides: {
    readonly server?: Partial<Config['server']>;
    readonly tenancy?: Partial<Config['tenancy']>;
    readonly privacy?: Config['privacy'];
  } = {},
): Config {
  const team = { costCenter: '', reservedGpuMillionths: {} };
  return {
    server: {
      host: '127.0.0.1',
      port: 0,
      maxBodyBytes: 256 * 1024,
      requestTimeoutMs: 600_000,
      drainDelayMs: 0,
      drainTimeoutMs: 10_000,
      workers: 1,
      exposeUpstream: true,
      ...overrides.server,
    },
    admin: { host: '127.0.0.1', port: 0, token: '', requireToken: true, metricsToken: '' },
    store: { url: 'sqlite::memory:', prefix: 'test', timeoutMs: 50, onStoreDown: 'admit' },
    journal: { dir: '', fsync: 'off', retentionMs: 0, maxBytes: 2 ** 34 },
    settlement: { horizonMs: 30_000, silenceMs: 900_000 },
    retention: { recordsMs: 1, rollupsMs: 1, archive: '' },
    logging: { level: 'silent', format: 'json', access: false },
    privacy: overrides.privacy ?? { user: 'keep' },
    prices: [],
    deployments,
    tenancy: {
      authentication: ['keys'],
      header: { name: 'x-team', trustedProxies: ['127.0.0.0/8'] },
      anonymous: '',
      ...overrides.tenancy,
    },
    teams: [
      {
        ...team,
        name: 'search',
        displayName: 'Search',
        keys: [{ key: SEARCH_KEY, name: 'ci', project: 'ranking' }],
        models: ['*'],
      },
      {
        ...team,
        name: 'ads',
        displayName: 'Ads',
        keys: [{ key: ADS_KEY, name: 'ci', project: '' }],
        models: ['gemma-*'],
      },
    ],
    finance: { billingAccountId: '', billingAccountName: '', invoiceIssuer: '', providerName: '' },
    watch: false,
  };
}

export interface Harness {
  readonly url: string;
  readonly port: number;
  readonly engine: FakeEngine;
  readonly gateway: Gateway;
  readonly metering: RecordingMetering;
  readonly clock: ShiftableClock;
  readonly log: CollectingLog;
  readonly rejections: string[];
  readonly health: string[];
  close(): Promise<void>;
}

/** Starts one engine and a gateway in front of it; `configure` may build the config from the engine's URL. */
export async function startHarness(
  configure: (url: string) => Config = (url) => createConfig([createDeploymentConfig([createUpstreamConfig(url)])]),
  overrides: Partial<GatewayOptions> = {},
): Promise<Harness> {
  const engine = await startFakeEngine();
  const metering = new RecordingMetering();
  const clock = new ShiftableClock();
  const log = new CollectingLog();
  const rejections: string[] = [];
  const health: string[] = [];
  const gateway = createGateway({
    config: configure(engine.url),
    engines: ENGINE_TRAITS,
    metering,
    listeners: [],
    clock,
    log,
    reportHealth: (pool, healthy) => void health.push(`${pool} ${healthy ? 'up' : 'down'}`),
    onRejection: (team, reason) => void rejections.push(`${team ?? 'none'} ${reason}`),
    readiness: () => ({ httpStatus: 200, body: { status: 'ready' } }),
    ...overrides,
  });
  const { port } = await gateway.listen();
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    engine,
    gateway,
    metering,
    clock,
    log,
    rejections,
    health,
    async close() {
      await gateway.close();
      await engine.close();
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  /** False where the connection broke before the answer's end. */
  readonly complete: boolean;
}

export interface SendOptions {
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly key?: string | null;
  readonly body?: string | Buffer | object;
}

/** Sends one request over its own connection and reads the whole answer, broken or not. */
export function send(port: number, options: SendOptions = {}): Promise<Answer> {
  const { path = '/v1/chat/completions', method = 'POST', headers = {}, key = SEARCH_KEY, body = chatBody() } = options;
  const bytes = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const req = httpRequest(
      {
        port,
        path,
        method,
        agent: false,
        headers: {
          'content-type': 'application/json',
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...headers,
        },
      },
      (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', () => {});
        res.on('close', () => {
          const whole = Buffer.concat(chunks);
          resolve({
            status: res.statusCode ?? 0,
            headers: res.headers,
            body: whole,
            text: whole.toString(),
            complete: res.complete,
          });
        });
      },
    );
    req.on('error', reject);
    if (method === 'GET') req.end();
    else req.end(bytes);
  });
}

/** A small chat request. */
export function chatBody(overrides: object = {}): object {
  return { model: 'llama-3.1-70b', messages: [{ role: 'user', content: 'Hello, engine' }], ...overrides };
}
