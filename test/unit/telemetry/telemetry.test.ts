// Who reads what: one process per replica, another when it dies, limits on everything, and failures that stay quiet.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DeviceActivity } from '#accounting/device-activity.ts';
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import type { LeaseRequest, LeaseStore } from '#domain/lease-store.ts';
import type { Log } from '#domain/log.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createDispatcher } from '#gateway/upstream-dispatcher.ts';
import { Telemetry } from '#telemetry/create-telemetry.ts';
import { LEASE_TTL_MS } from '#telemetry/lease-holder.ts';
import { listStatisticsTargets } from '#telemetry/statistics-targets.ts';
import { createSampleConfig, LLAMA } from '#test/unit/observe/sample-config.ts';

let nowMs = 0;
let isStoreUp = true;
let leases: Map<string, { holder: string; untilMs: number }>;
let server: Server;
let answer: (url: string) => { readonly status: number; readonly body: string } | null;
let asked: string[];
let authorizations: (string | undefined)[];
let stopped: Telemetry[];

const clock: Clock = { monotonicMs: () => nowMs, epochMs: () => nowMs + 1e12, toEpochMs: (ms) => ms + 1e12 };
const store: LeaseStore = {
  async acquireLeases({ holder, names, ttlMs }: LeaseRequest & { readonly ttlMs: number }) {
    if (!isStoreUp) throw new StoreUnavailableError('down');
    return names.filter((name) => {
      const held = leases.get(name);
      const isFree = held === undefined || held.untilMs <= nowMs || held.holder === holder;
      if (isFree) leases.set(name, { holder, untilMs: nowMs + ttlMs });
      return isFree;
    });
  },
  async releaseLeases({ holder, names }) {
    if (!isStoreUp) throw new StoreUnavailableError('down');
    for (const name of names) if (leases.get(name)?.holder === holder) leases.delete(name);
  },
};

beforeEach(async () => {
  nowMs = 1e6;
  isStoreUp = true;
  leases = new Map();
  asked = [];
  authorizations = [];
  stopped = [];
  answer = () => ({ status: 200, body: '[]' });
  server = createServer((req, res) => {
    asked.push(req.url ?? '');
    authorizations.push(req.headers.authorization);
    const reply = answer(req.url ?? '');
    if (reply !== null) res.writeHead(reply.status).end(reply.body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  await Promise.all(stopped.map((telemetry) => telemetry.stop()));
  server.closeAllConnections();
  server.close();
});

function createConfig(overrides: Partial<DeploymentConfig> = {}, upstream: object = {}): Config {
  const { port } = server.address() as AddressInfo;
  const upstreams = LLAMA.upstreams.map((entry) => ({
    ...entry,
    url: `http://127.0.0.1:${port}`,
    dcgm: '',
    ...upstream,
  }));
  return createSampleConfig({ deployments: [{ ...LLAMA, upstreams, ...overrides }] });
}

function create(config = createConfig()) {
  const told: string[] = [];
  const failures: string[] = [];
  const activity = new DeviceActivity();
  const fields: unknown[] = [];
  const note = (said: object, text: string): void => {
    fields.push(said);
    told.push(text);
  };
  const log: Log = { debug() {}, info: note, warn: note, error() {} };
  const telemetry = new Telemetry({
    config: () => config,
    engines: ENGINE_TRAITS,
    leases: store,
    activity,
    clock,
    log,
    connect: createDispatcher,
    onEnergy: () => {},
    onFailure: ({ source }) => failures.push(source),
    intervalMs: Number.POSITIVE_INFINITY,
  });
  stopped.push(telemetry);
  return { telemetry, told, fields, failures, activity };
}

describe('which process reads', () => {
  test('of two with one config exactly one, and it goes on', async () => {
    const [left, right] = [create().telemetry, create().telemetry];
    for (let round = 0; round < 40; round += 1) {
      await Promise.all([left.round(), right.round()]);
      nowMs += 500;
    }
    expect(left.reading().length + right.reading().length).toBe(1);
    expect(asked.filter((url) => url === '/metrics')).toHaveLength(40);
  });

  test('when it dies another takes over, after the lease and not before', async () => {
    const [left, right] = [create().telemetry, create().telemetry];
    await left.round();
    for (; nowMs < 1e6 + LEASE_TTL_MS - 500; nowMs += 500) {
      await right.round();
      expect(right.reading()).toEqual([]);
    }
    nowMs += 5000;
    await right.round();
    expect(right.reading()).toMatchObject([{ deployment: 'llama-70b', upstream: 'trt-1', source: 'iterations' }]);
  });

  test('when it is stopped another takes over at once', async () => {
    const [left, right] = [create().telemetry, create().telemetry];
    await left.round();
    await left.stop();
    nowMs += 3500;
    await right.round();
    expect(right.reading()).toHaveLength(1);
  });

  test('a process that cannot reach the store stops before its lease can be another’s', async () => {
    const { telemetry, told } = create();
    await telemetry.round();
    isStoreUp = false;
    const until = nowMs + LEASE_TTL_MS;
    for (; nowMs < until + 5000; nowMs += 500) {
      const before = asked.length;
      await telemetry.round();
      // A read may last 4 s: none begins so late that it could outlive the lease.
      if (nowMs > until - 4000) expect(asked.length).toBe(before);
    }
    expect(telemetry.reading()).toEqual([]);
    expect(told.filter((text) => text.includes('the store does not say'))).toHaveLength(1);
    isStoreUp = true;
    await telemetry.round();
    nowMs += 3500;
    await telemetry.round();
    expect(telemetry.reading()).toHaveLength(1);
  });
});

describe('what is read', () => {
  test('nothing that the config does not ask for, and no lease is asked for then', async () => {
    const { telemetry } = create(createConfig({ engineStatistics: false }));
    await telemetry.round();
    expect([asked.length, leases.size]).toEqual([0, 0]);
  });

  test('an engine that several deployments use is read once, and engines behind one URL not at all', () => {
    const config = createConfig();
    const [deployment] = config.deployments;
    if (deployment === undefined) throw new Error('the sample has a deployment');
    const list = (deployments: DeploymentConfig[]) => listStatisticsTargets({ deployments }, ENGINE_TRAITS);
    const targets = list([deployment, { ...deployment, name: 'lora' }]);
    expect(targets).toMatchObject([{ kind: 'engine', deployments: ['llama-70b', 'lora'], isWholePool: true }]);
    const hidden = deployment.upstreams.map((upstream) => ({ ...upstream, replicas: 3 }));
    expect(list([{ ...deployment, upstreams: hidden }])).toEqual([]);
    expect(list([{ ...deployment, engine: 'vllm' }])).toEqual([]);
    const shared = ['http://a:1', 'http://b:1'].flatMap((url) =>
      deployment.upstreams.map((upstream) => ({ ...upstream, url, name: url, pool: 'both' })),
    );
    expect(list([{ ...deployment, upstreams: shared }]).map(({ isWholePool }) => isWholePool)).toEqual([false, false]);
  });

  test('an exporter is asked with the user and password of its URL, never with the engine’s key, and neither is told', async () => {
    const { port } = server.address() as AddressInfo;
    for (const [account, sent] of [
      ['me:p%40ss%3Acanary@', `Basic ${Buffer.from('me:p@ss:canary').toString('base64')}`],
      ['', undefined],
    ] as const) {
      authorizations = [];
      answer = () => ({ status: 401, body: '' });
      const upstream = { dcgm: `http://${account}127.0.0.1:${port}/metrics?node=a`, apiKey: 'engine-key' };
      const { telemetry, told, fields, failures } = create(createConfig({ engineStatistics: false }, upstream));
      await telemetry.round();
      expect(authorizations).toEqual([sent]);
      expect(asked.at(-1)).toBe('/metrics?node=a');
      expect(failures).toEqual(['dcgm']);
      expect(told).toHaveLength(1);
      expect(JSON.stringify(fields)).not.toContain('canary');
      await telemetry.stop();
    }
  });

  test('no lease holds a secret', () => {
    const config = createConfig({}, { dcgm: 'http://user:hunter2@127.0.0.1:1/metrics', apiKey: 'hunter2' });
    expect(JSON.stringify(listStatisticsTargets(config, ENGINE_TRAITS).map(({ lease }) => lease))).not.toContain(
      'hunter2',
    );
  });
});

describe('failures', () => {
  test.each([
    ['Prometheus text in place of rows', { status: 200, body: '# HELP x\nx 1\n' }],
    ['a route that is not there', { status: 404, body: 'Not Found' }],
    ['a page without end', { status: 200, body: `[${' '.repeat(9 << 20)}]` }],
  ])('%s: counted each time, told once, asked less and less often', async (_what, reply) => {
    const { telemetry, told, failures } = create();
    answer = () => reply;
    for (let round = 0; round < 40; round += 1, nowMs += 500) await telemetry.round();
    expect(failures.length).toBeGreaterThan(2);
    expect(asked.length).toBeLessThan(8);
    expect(failures).toHaveLength(asked.length);
    expect(told.filter((text) => text.includes('cannot be read'))).toHaveLength(1);
    answer = () => ({ status: 200, body: '[]' });
    for (let round = 0; round < 140; round += 1, nowMs += 500) await telemetry.round();
    expect(told.filter((text) => text.includes('can be read again'))).toHaveLength(1);
  });

  test('an engine that does not answer holds up neither others nor the end', async () => {
    const { telemetry } = create();
    answer = () => null;
    const round = telemetry.round();
    await expect.poll(() => asked.length).toBe(1);
    await telemetry.round();
    expect(asked).toHaveLength(1);
    await telemetry.stop();
    await round;
  });
});
