// Several worker processes behind one port: one gateway to its clients, its operator and the books.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { findFreePort } from '#src/demo/free-port.ts';
import { connectKserve, startFakeTriton } from '#test/support/kserve-grpc.ts';
import { runCli } from '#test/support/run-cli.ts';
import { startTestStack, type TestStack, type TestStackOptions, until } from '#test/support/gateway.ts';

interface Report {
  rows: { requests: number; costNanoUsd: string }[];
  totals: { capacityNanoUsd: string; chargedNanoUsd: string; idleNanoUsd: string; differenceNanoUsd: string };
}

interface Listed {
  requests: { requestId: string; outcome: string; settled: boolean }[];
}

const STORES: [string, () => TestStackOptions][] = [
  ['sqlite', () => ({})],
  ['redis', () => ({ storeUrl: inject('redisUrl') })],
];
const SERVER = { workers: 2 };

let stack: TestStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

/** Processes that the gateway's own process has started. */
function workersOf(running: TestStack): number[] {
  const { pid } = running.gateway();
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return children.split(' ').filter(Boolean).map(Number);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** One request on a connection of its own, so that each may reach another worker; its id, and null where none was told. */
async function send(running: TestStack, body: Record<string, unknown>, key = running.keys['search']) {
  const response = await fetch(`${running.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: 'tell me' }],
      ignore_eos: true,
      ...body,
    }),
  });
  await response.text().catch(() => 'cut');
  return { status: response.status, id: response.headers.get('x-inferometer-request-id') ?? '' };
}

/** Σ of a metric over its series. */
async function readMetric(running: TestStack, name: string): Promise<number> {
  const text = await (await fetch(`${running.adminUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

async function readyz(running: TestStack) {
  const response = await fetch(`${running.adminUrl}/readyz`);
  return (await response.json()) as { status: string; checks: { workers: { serving: number; total: number } } };
}

const isWhole = (running: TestStack) => async () => (await readyz(running)).status === 'ready';

function expectExact(report: Report, requests: number): void {
  expect(report.totals.differenceNanoUsd).toBe('0');
  const rows = report.rows.reduce((sum, row) => sum + BigInt(row.costNanoUsd), 0n);
  expect(rows).toBe(BigInt(report.totals.chargedNanoUsd));
  expect(rows + BigInt(report.totals.idleNanoUsd)).toBe(BigInt(report.totals.capacityNanoUsd));
  expect(report.rows.reduce((sum, row) => sum + row.requests, 0)).toBe(requests);
}

describe.each(STORES)('two workers on %s', (_kind, storeOptions) => {
  it('one killed under load is replaced and settled: books exact, metrics whole, and a clean end', async () => {
    stack = await startTestStack({ ...storeOptions(), server: SERVER });
    const running = stack;
    await until('both serve', isWhole(running));
    const [victim = 0, survivor = 0] = workersOf(running);
    const wave = (count: number, tokens: number) =>
      Promise.all(Array.from({ length: count }, () => send(running, { max_tokens: tokens, stream: true })));
    const done = await wave(12, 20);
    expect(await readMetric(running, 'inferometer_requests_total')).toBe(12);
    const cut = wave(4, 3000);
    await until('four are in flight', async () => (await readMetric(running, 'inferometer_requests_in_flight')) === 4);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    process.kill(victim, 'SIGKILL');
    await until('another worker serves', async () => {
      const pids = workersOf(running);
      return pids.length === 2 && !pids.includes(victim) && pids.includes(survivor) && (await isWhole(running)());
    });
    expect(await readMetric(running, 'inferometer_requests_total')).toBeGreaterThanOrEqual(12);
    const after = await wave(6, 20);
    expect(after.map(({ status }) => status)).toEqual(after.map(() => 200));
    const all = [...done, ...(await cut), ...after].map(({ id }) => id);
    const listed = () => running.admin<Listed>('/api/requests?limit=1000');
    await until('every record is settled', async () => {
      const { requests } = await listed();
      return requests.length === all.length && requests.every(({ settled }) => settled);
    });
    const { requests } = await listed();
    expect(requests.map(({ requestId }) => requestId).toSorted()).toEqual(all.toSorted());
    const interrupted = requests.filter(({ outcome }) => outcome === 'interrupted').length;
    expect(interrupted).toBeGreaterThan(0);
    expect(interrupted).toBeLessThan(4);
    expect(await readMetric(running, 'inferometer_requests_total')).toBe(all.length - interrupted);
    await running.settled(Date.now());
    expectExact(await running.admin<Report>('/api/reports/chargeback?groupBy=team'), all.length);
    expect(await readMetric(running, 'inferometer_store_up')).toBe(1);
    expect(await readMetric(running, 'inferometer_build_info')).toBe(1);
    expect(await running.gateway().end(20_000)).toBe(0);
    const root = join(running.dataDir, 'journal');
    for (const name of readdirSync(root)) expect(existsSync(join(root, name, 'at-rest.json')), name).toBe(true);
  });
});

describe('workers', () => {
  it('whichever worker is asked, a caller finds its request while it is not settled', async () => {
    stack = await startTestStack({ server: SERVER });
    const running = stack;
    const { id } = await send(running, { max_tokens: 5 });
    const answers = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const response = await fetch(`${running.gatewayUrl}/v1/inferometer/requests/${id}`, {
          headers: { authorization: `Bearer ${running.keys['search']}`, connection: 'close' },
        });
        return response.status;
      }),
    );
    expect(answers).toEqual(answers.map(() => 200));
  });

  it('gRPC calls on several connections reach workers behind one port, and are booked once each', async () => {
    const triton = await startFakeTriton({ infer: (_call, respond) => respond(null, { model_name: 'net' }) });
    const port = await findFreePort();
    const address = `127.0.0.1:${triton.port}`;
    stack = await startTestStack({
      engines: [
        {
          flavor: 'triton',
          deployment: {
            name: 'nets',
            models: ['net'],
            engine: 'triton',
            work: 'duration',
            upstreams: [{ url: `http://${address}`, grpcUrl: `grpc://${address}`, name: 'u0' }],
            health: { interval: '60s' },
          },
        },
      ],
      server: SERVER,
      config: { grpc: { host: '127.0.0.1', port } },
    });
    const running = stack;
    const clients = Array.from({ length: 6 }, () => connectKserve(port, running.keys['search'] ?? ''));
    const calls = await Promise.all(clients.map((client) => client.call('ModelInfer', { model_name: 'net' })));
    for (const client of clients) client.close();
    triton.close();
    expect(calls.map(({ error }) => error)).toEqual(calls.map(() => null));
    await until('each call has its record', async () => {
      const { requests } = await running.admin<Listed>('/api/requests?limit=1000');
      return requests.length === 6 && requests.every(({ outcome }) => outcome === 'completed');
    });
    expect(await readMetric(running, 'inferometer_requests_total')).toBe(6);
  });

  it('SIGHUP brings a new configuration to all of them, and a bad file changes nothing', async () => {
    stack = await startTestStack({ server: SERVER });
    const running = stack;
    const text = readFileSync(running.configPath, 'utf8');
    const config = JSON.parse(text) as { teams: { keys: { key: string }[] }[] };
    const key = 'key-search-brought-by-reload';
    config.teams[0]?.keys.push({ key });
    writeFileSync(running.configPath, JSON.stringify(config));
    process.kill(running.gateway().pid, 'SIGHUP');
    const statuses = () =>
      Promise.all(Array.from({ length: 6 }, async () => (await send(running, { max_tokens: 2 }, key)).status));
    await until('all take the new key', async () => (await statuses()).every((status) => status === 200));
    writeFileSync(running.configPath, '{ "server": 7 }');
    process.kill(running.gateway().pid, 'SIGHUP');
    await until(
      'the refusal is told',
      async () => (await readMetric(running, 'inferometer_config_last_reload_successful')) === 0,
    );
    expect(await statuses()).toEqual(Array.from({ length: 6 }, () => 200));
    // A worker that is replaced meanwhile runs what the others run, not what stands in the file.
    const [victim = 0] = workersOf(running);
    process.kill(victim, 'SIGKILL');
    await until('it is replaced', async () => !workersOf(running).includes(victim) && (await isWhole(running)()));
    expect(await statuses()).toEqual(Array.from({ length: 6 }, () => 200));
    writeFileSync(running.configPath, text);
  });

  it('what is in flight when the supervisor is killed is answered to its end', async () => {
    stack = await startTestStack({ server: SERVER });
    const running = stack;
    const pids = workersOf(running);
    const response = await fetch(`${running.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${running.keys['search']}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'llama-3.1-8b',
        messages: [{ role: 'user', content: 'tell me' }],
        ignore_eos: true,
        stream: true,
        max_tokens: 150,
      }),
    });
    process.kill(running.gateway().pid, 'SIGKILL');
    expect((await response.text()).trimEnd()).toMatch(/data: \[DONE\]$/);
    await until('they are gone', async () => !pids.some(isAlive));
    await running.restart();
    await running.settled(Date.now());
    expectExact(await running.admin<Report>('/api/reports/chargeback?groupBy=team'), 1);
  });

  it('a supervisor that is killed leaves no worker behind, and its books are whole at the next start', async () => {
    stack = await startTestStack({ server: SERVER });
    const running = stack;
    const sent = await Promise.all(Array.from({ length: 6 }, () => send(running, { max_tokens: 5 })));
    const pids = workersOf(running);
    expect(pids).toHaveLength(2);
    process.kill(running.gateway().pid, 'SIGKILL');
    await until('they are gone', async () => !pids.some(isAlive));
    await running.restart();
    await running.settled(Date.now());
    expectExact(await running.admin<Report>('/api/reports/chargeback?groupBy=team'), sent.length);
  });

  it.each([1, 2])(
    'a port that is taken is the error of the gateway, with %i processes, and says what to do',
    async (workers) => {
      stack = await startTestStack();
      const running = stack;
      const config = JSON.parse(readFileSync(running.configPath, 'utf8')) as Record<string, object>;
      const path = join(running.dataDir, 'second.yaml');
      // The data port is taken by the first gateway, the admin port is not.
      const moved = { ...config, server: { ...config['server'], workers }, admin: { ...config['admin'], port: 0 } };
      writeFileSync(path, JSON.stringify(moved));
      const { code, err } = await runCli(['serve', '--config', path]);
      expect(code).toBe(1);
      expect(err).toMatch(/EADDRINUSE.*another program listens there: end it, or change server\.port/);
    },
  );
});
