// Engines that die, come and go under traffic, on the real product: what clients see, and what the books say afterwards.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { loadConfig } from '#config/load-config.ts';
import { silentLog } from '#domain/log.ts';
import { type Simulator, startSimulator } from '#simulator/start-simulator.ts';
import { composeGateway } from '#src/compose.ts';
import { findFreePort } from '#src/demo/free-port.ts';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';

interface RecordJson {
  requestId: string;
  attempt: number;
  outcome: string;
  upstream: string | null;
  costNanoUsd: string | null;
}

interface Report {
  settledThrough: string | null;
  rows: { requests: number; failedRequests: number; costNanoUsd: string }[];
  pools: { pendingNanoUsd: string; capacityGpuSeconds: number }[];
  totals: { capacityNanoUsd: string; chargedNanoUsd: string; idleNanoUsd: string; differenceNanoUsd: string };
}

const cleanUps: (() => Promise<unknown> | unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

function send(gatewayUrl: string, key: string, body: object): Promise<Response> {
  return fetch(`${gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'Say something' }], ...body }),
  });
}

/** Keeps `clients` requests in flight until `count` were sent; what each client got. */
async function sendMany(options: {
  readonly stack: TestStack;
  readonly clients: number;
  readonly count: number;
  readonly onSent: (sent: number) => void;
}): Promise<{ status: number; isAnswer: boolean }[]> {
  const { stack, clients, count, onSent } = options;
  const answers: { status: number; isAnswer: boolean }[] = [];
  let sent = 0;
  const client = async (): Promise<void> => {
    while (sent < count) {
      onSent((sent += 1));
      const answer = await send(stack.gatewayUrl, stack.keys['search'] ?? '', { max_tokens: 40 });
      const text = await answer.text().catch(() => 'broken');
      answers.push({ status: answer.status, isAnswer: text.includes('chat.completion') });
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return answers;
}

function expectBalanced({ totals }: Report): void {
  expect(totals.differenceNanoUsd).toBe('0');
  expect(BigInt(totals.capacityNanoUsd)).toBe(BigInt(totals.chargedNanoUsd) + BigInt(totals.idleNanoUsd));
}

it('an engine killed under traffic costs no unanswered request, and every attempt is in the books once', async () => {
  const stack = await startTestStack({ engines: [{ replicas: 3 }] });
  cleanUps.push(() => stack.close());
  const [, victim] = stack.simulators;
  let killed: Promise<void> | undefined;
  const answers = await sendMany({
    stack,
    clients: 6,
    count: 240,
    onSent: (sent) => {
      if (sent === 120) killed = victim?.close();
    },
  });
  await killed;
  expect(answers).toHaveLength(240);
  expect(answers.filter(({ status, isAnswer }) => status !== 200 || !isAnswer)).toEqual([]);

  await stack.settled(Date.now());
  const report = await stack.admin<Report>('/api/reports/chargeback');
  expectBalanced(report);
  expect(report.rows).toMatchObject([{ requests: 240, failedRequests: 0 }]);
  const { requests: records } = await stack.admin<{ requests: RecordJson[] }>('/api/requests?limit=1000');
  const failed = records.filter(({ outcome }) => outcome === 'upstream_error');
  // What the victim had, and at most as many connections as it takes to leave it out.
  expect(failed.length).toBeGreaterThanOrEqual(1);
  expect(new Set(failed.map(({ upstream }) => upstream))).toEqual(new Set(['u1']));
  expect(records).toHaveLength(240 + failed.length);
  for (const { requestId, attempt } of failed) {
    const [next] = records.filter((record) => record.requestId === requestId && record.attempt === attempt + 1);
    expect(next?.upstream).not.toBe('u1');
  }
  const cost = records.reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd ?? '0'), 0n);
  expect(cost).toBe(BigInt(report.totals.chargedNanoUsd));
  const metrics = await (await fetch(`${stack.adminUrl}/metrics`)).text();
  const retried = `inferometer_retries_total{deployment="d0",result="answered"} ${failed.length}`;
  expect(metrics).toContain(retried);
  expect(metrics).toContain('inferometer_upstream_up{deployment="d0",upstream="u1"} 0');
  expect(metrics).toContain('inferometer_queue_length{deployment="d0"} 0');
});

it('the addresses behind a dns+ name come and go without an error, each with its own GPUs in the books', async () => {
  const port = await findFreePort();
  const start = (host: string, seed: number): Promise<Simulator> =>
    startSimulator({ flavor: 'trtllm', model: 'llama-3.1-8b', seed, host, port });
  const simulators = [await start('127.0.0.1', 1), await start('127.0.0.2', 2)];
  cleanUps.push(() => Promise.all(simulators.map((simulator) => simulator.close())));
  const dataDir = mkdtempSync(join(tmpdir(), 'inferometer-test-'));
  cleanUps.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const key = `key-${randomBytes(12).toString('hex')}`;
  const path = join(dataDir, 'inferometer.yaml');
  writeFileSync(path, JSON.stringify(createDnsConfig(dataDir, { port, key })));
  const loaded = loadConfig({ path, env: {} });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  expect(loaded.warnings).toEqual([]);
  let addresses = ['127.0.0.1'];
  const running = await composeGateway({
    config: loaded.config,
    log: silentLog,
    version: 'test',
    configReloadSuccessful: () => true,
    discovery: { resolve: () => Promise.resolve(addresses), intervalMs: 20 },
  });
  cleanUps.push(() => running.drain());
  const admin = async <T>(what: string): Promise<T> => (await (await fetch(`${running.adminUrl}${what}`)).json()) as T;
  const namesOf = async (): Promise<string> => {
    const { deployments } = await admin<{ deployments: { upstreams: { name: string }[] }[] }>('/api/deployments');
    return deployments.flatMap(({ upstreams }) => upstreams.map(({ name }) => name)).join();
  };
  const answersFrom = async (): Promise<Set<string | null>> => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => send(running.gatewayUrl, key, { max_tokens: 20 })),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    await Promise.all(answers.map((answer) => answer.text()));
    return new Set(answers.map(({ headers }) => headers.get('x-inferometer-upstream')));
  };
  expect(await answersFrom()).toEqual(new Set(['trt@127.0.0.1']));
  addresses = ['127.0.0.2', '127.0.0.1'];
  await until('both addresses', async () => (await namesOf()) === 'trt@127.0.0.1,trt@127.0.0.2');
  expect(await answersFrom()).toEqual(new Set(['trt@127.0.0.1', 'trt@127.0.0.2']));
  const inFlight = Array.from({ length: 4 }, () => send(running.gatewayUrl, key, { max_tokens: 200 }));
  addresses = ['127.0.0.2'];
  await until('one address', async () => (await namesOf()) === 'trt@127.0.0.2');
  expect(await answersFrom()).toEqual(new Set(['trt@127.0.0.2']));
  expect((await Promise.all(inFlight)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  await Promise.all((await Promise.all(inFlight)).map((answer) => answer.text()));

  const report = (to = ''): Promise<Report> => admin(`/api/reports/chargeback${to}`);
  const settle = async (): Promise<Report> => {
    const nowMs = Date.now();
    await until('settled', async () => {
      const { settledThrough, pools } = await report();
      return Date.parse(settledThrough ?? '') >= nowMs && pools.every(({ pendingNanoUsd }) => pendingNanoUsd === '0');
    });
    return report();
  };
  const settled = await settle();
  expectBalanced(settled);
  expect(settled.rows).toMatchObject([{ requests: 28, failedRequests: 0 }]);
  // From here on one address is paid for, whatever it was before.
  const later = await settle();
  expectBalanced(later);
  const seconds = (Date.parse(later.settledThrough ?? '') - Date.parse(settled.settledThrough ?? '')) / 1000;
  const capacity = ({ pools }: Report): number => pools.reduce((sum, pool) => sum + pool.capacityGpuSeconds, 0);
  expect(seconds).toBeGreaterThan(0);
  expect(capacity(later) - capacity(settled)).toBe(seconds * (simulators[0]?.gpus ?? 0));
});

function createDnsConfig(dataDir: string, { port, key }: { readonly port: number; readonly key: string }): object {
  return {
    server: { host: '127.0.0.1', port: 0, drainDelay: '0s', drainTimeout: '5s' },
    admin: { host: '127.0.0.1', port: 0 },
    store: { url: `sqlite:${join(dataDir, 'inferometer.db')}`, timeout: '500ms' },
    journal: { dir: join(dataDir, 'journal') },
    logging: { access: false },
    prices: [{ name: 'h100', gpu: 'H100-SXM', usdPerGpuHour: 2.5, from: '2026-01-01', source: 'test' }],
    deployments: [
      {
        name: 'llama',
        models: ['llama-3.1-8b'],
        engine: 'tensorrt-llm',
        gpu: 'H100-SXM',
        upstreams: [{ url: `dns+http://engines.test:${port}`, name: 'trt' }],
      },
    ],
    teams: [{ name: 'search', costCenter: 'cc', keys: [{ key, name: 'test' }] }],
  };
}
