// The engine's own statistics and DCGM through the whole product: the busy time that is booked is the engine's, each replica is read by one
// gateway, another goes on when that one dies, and the books stay exact.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Simulator, startSimulator } from '#simulator/start-simulator.ts';
import { type TestExporter, startDcgmExporter } from '#test/support/dcgm-exporter.ts';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';
import { runCli } from '#test/support/run-cli.ts';

interface Pool {
  readonly busySources: Record<'in_flight' | 'engine' | 'dcgm', number>;
  readonly chargedNanoUsd: string;
}
interface Report {
  readonly pools: readonly Pool[];
  readonly totals: { readonly differenceNanoUsd: string };
}

const readMetric = async (stack: TestStack, series: string): Promise<number> => {
  const text = await (await fetch(`${stack.adminUrl}/metrics`)).text();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1));
};

const chat = async (stack: TestStack, words: number, maxTokens: number): Promise<void> => {
  const res = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      stream: true,
      max_tokens: maxTokens,
      messages: [{ role: 'user', content: 'word '.repeat(words) }],
    }),
  });
  expect(res.status).toBe(200);
  await res.text();
};

const HOUR_MS = 3_600_000;
const POLLER = (source: string) => `inferometer_statistics_poller{deployment="d0",upstream="u0",source="${source}"}`;

describe('one gateway', () => {
  let stack: TestStack;

  beforeAll(async () => {
    stack = await startTestStack({
      engines: [{ perfMetricsMaxRequests: 1000, deployment: { engineStatistics: true } }],
    });
    await until('the gateway reads the engine', async () => (await readMetric(stack, POLLER('iterations'))) === 1);
  }, 60_000);
  afterAll(() => stack?.close());

  test('books the busy time of the engine, not the time in flight', async () => {
    // Rows that were written before the gateway asked are not used, so that a little traffic goes ahead.
    for (let round = 0; round < 8; round += 1) await chat(stack, 30, 40);
    const [simulator] = stack.simulators;
    const before = simulator?.truth().busyMs ?? 0;
    const report = () => stack.admin<Report>('/api/reports/chargeback');
    await stack.settled(Date.now());
    const chargedBefore = Number((await report()).pools[0]?.chargedNanoUsd);
    await Promise.all(Array.from({ length: 6 }, () => chat(stack, 200, 400)));
    await stack.settled(Date.now());
    const after = await report();
    const busyMs = (simulator?.truth().busyMs ?? 0) - before;
    const gpus = simulator?.gpus ?? 1;
    const chargedMs = ((Number(after.pools[0]?.chargedNanoUsd) - chargedBefore) / (2.5e9 * gpus)) * 3_600_000;
    expect(after.pools[0]?.busySources.engine).toBeGreaterThan(0);
    expect(Math.abs(chargedMs - busyMs) / busyMs).toBeLessThan(0.05);
    expect(after.totals.differenceNanoUsd).toBe('0');
  }, 60_000);

  test('drains the step times of its requests as well', async () => {
    const [simulator] = stack.simulators;
    const readEntries = async (): Promise<readonly unknown[]> =>
      (await (await fetch(`${simulator?.url}/perf_metrics`)).json()) as readonly unknown[];
    // Nothing is left of the requests before; of one that just ended there is an entry, unless the gateway was faster.
    expect(await readEntries()).toEqual([]);
    await until('an entry is there before the gateway asks again', async () => {
      await chat(stack, 10, 5);
      return (await readEntries()).length === 1;
    });
  }, 60_000);

  test('its ledger can be recomputed', async () => {
    const { code, out } = await runCli(['ledger', 'verify', '--json', '--config', stack.configPath]);
    expect(JSON.parse(out)).toMatchObject({ ok: true, differenceNanoUsd: '0' });
    expect(code).toBe(0);
  }, 60_000);
});

describe('two gateways on one Redis', () => {
  let stacks: TestStack[] = [];
  let simulator: Simulator;

  beforeAll(async () => {
    simulator = await startSimulator({ flavor: 'trtllm', model: 'llama-3.1-8b', seed: 4 });
    const { url, profile, gpus } = simulator;
    const deployment = {
      name: 'd0',
      models: ['llama-3.1-8b'],
      engine: 'tensorrt-llm',
      gpu: 'H100-SXM',
      gpusPerReplica: gpus,
      engineProfile: profile,
      engineStatistics: true,
      upstreams: [{ url, name: 'u0' }],
    };
    const storeUrl = inject('redisUrl');
    const store = { url: storeUrl, prefix: `t${randomUUID()}`, timeout: '500ms' };
    const start = () => startTestStack({ engines: [], storeUrl, config: { store, deployments: [deployment] } });
    stacks = [await start(), await start()];
  }, 60_000);
  afterAll(async () => {
    await Promise.all(stacks.map((stack) => stack.close()));
    await simulator?.close();
  });

  const readers = () => Promise.all(stacks.map((stack) => readMetric(stack, POLLER('iterations'))));

  test('one of them reads the engine, and what it reads holds for the traffic of both', async () => {
    await until('one reads', async () => (await readers()).includes(1));
    expect((await readers()).toSorted()).toEqual([0, 1]);
    for (let round = 0; round < 8; round += 1) await Promise.all(stacks.map((stack) => chat(stack, 30, 40)));
    await Promise.all(stacks.flatMap((stack) => [chat(stack, 100, 300), chat(stack, 200, 300)]));
    const [first] = stacks;
    await first?.settled(Date.now());
    const report = await first?.admin<Report>('/api/reports/chargeback');
    expect(report?.pools[0]?.busySources.engine).toBeGreaterThan(0);
    expect(report?.totals.differenceNanoUsd).toBe('0');
    expect((await readers()).toSorted()).toEqual([0, 1]);
  }, 60_000);

  test('when the reader is killed, the other goes on', async () => {
    const [left] = await readers();
    const [reader, other] = left === 1 ? stacks : stacks.toReversed();
    process.kill(reader?.gateway().pid ?? 0, 'SIGKILL');
    await until('the other reads', async () => {
      return other !== undefined && (await readMetric(other, POLLER('iterations'))) === 1;
    });
  }, 60_000);
});

describe('DCGM in front of an engine without statistics', () => {
  let stack: TestStack;
  let exporter: TestExporter;

  beforeAll(async () => {
    exporter = await startDcgmExporter();
    exporter.active = 0.5;
    stack = await startTestStack({ engines: [{ flavor: 'vllm', dcgm: exporter.url }] });
    await until('the gateway reads the exporter', async () => (await readMetric(stack, POLLER('dcgm'))) === 1);
  }, 60_000);
  afterAll(async () => {
    await stack?.close();
    await exporter?.close();
  });

  test('busy time is at most what the GPUs show, in the seconds in which they were seen in time', async () => {
    const until9s = performance.now() + 9000;
    while (performance.now() < until9s) await Promise.all([chat(stack, 50, 200), chat(stack, 50, 200)]);
    await stack.settled(Date.now());
    const { pools, totals } = await stack.admin<Report>('/api/reports/chargeback');
    const [pool] = pools;
    expect(pool?.busySources.dcgm).toBeGreaterThan(0);
    const busyMs = (Number(pool?.chargedNanoUsd) / 2.5e9) * HOUR_MS;
    const seconds = (pool?.busySources.dcgm ?? 0) + (pool?.busySources.in_flight ?? 0);
    // In flight all the time, at work for half of it as far as that was seen before the second was sealed.
    expect(busyMs).toBeLessThan(950 * seconds);
    expect(totals.differenceNanoUsd).toBe('0');
  }, 60_000);
});

describe('DCGM', () => {
  let stack: TestStack;
  let exporter: TestExporter;

  beforeAll(async () => {
    exporter = await startDcgmExporter(2);
    stack = await startTestStack({
      engines: [
        { deployment: { upstreams: [{ url: 'http://127.0.0.1:9', name: 'u0', dcgm: exporter.url, gpus: ['GPU-1'] }] } },
      ],
    });
  }, 60_000);
  afterAll(async () => {
    await stack?.close();
    await exporter?.close();
  });

  test('energy of the named GPUs is counted: 300 W are 300 J a second', async () => {
    const series = 'inferometer_energy_joules_total{deployment="d0",gpu="H100-SXM"}';
    await until('energy', async () => (await readMetric(stack, series)) > 600);
    const [fromJoules, fromMs] = [await readMetric(stack, series), performance.now()];
    await until('more energy', async () => (await readMetric(stack, series)) > fromJoules + 1200);
    const watts = ((await readMetric(stack, series)) - fromJoules) / ((performance.now() - fromMs) / 1000);
    expect(watts).toBeGreaterThan(150);
    expect(watts).toBeLessThan(450);
  }, 60_000);

  test('an exporter that is gone is counted, and costs nothing else', async () => {
    await exporter.close();
    const failures = 'inferometer_statistics_failures_total{deployment="d0",upstream="u0",source="dcgm"}';
    await until('failures', async () => (await readMetric(stack, failures)) >= 2);
    expect((await fetch(`${stack.gatewayUrl}/healthz`)).status).toBe(200);
    exporter = await startDcgmExporter();
  }, 60_000);
});
