// From requests to a team's dollars on the real product: books that balance to the nanodollar, on both stores and through a kill.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { type TestStack, type TestStackOptions, startTestStack, until } from '#test/support/gateway.ts';

const CANARY = 'canary7f3a9b1ebc6d4e02';

interface Report {
  rows: {
    team: string;
    requests: number;
    gpuSeconds: number;
    costNanoUsd: string;
    totalNanoUsd: string;
    tokens: { total: number };
    wastedNanoUsd: string;
    abortedRequests: number;
  }[];
  pools: { pendingNanoUsd: string; capacityNanoUsd: string; chargedNanoUsd: string; idleNanoUsd: string }[];
  totals: { capacityNanoUsd: string; chargedNanoUsd: string; idleNanoUsd: string; differenceNanoUsd: string };
}

const STORES: [string, () => TestStackOptions][] = [
  ['sqlite', () => ({})],
  ['redis', () => ({ storeUrl: inject('redisUrl') })],
];

let stack: TestStack | undefined;
afterEach(async () => {
  await stack?.close();
  stack = undefined;
});

async function chat(
  running: TestStack,
  team: string,
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<string> {
  const response = await fetch(`${running.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${running.keys[team]}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: `${CANARY} tell me` }],
      ...body,
    }),
  });
  await response.text();
  return response.headers.get('x-inferometer-request-id') ?? '';
}

function sum(values: readonly string[]): bigint {
  return values.reduce((total, value) => total + BigInt(value), 0n);
}

function expectBalanced(report: Report): void {
  expect(report.totals.differenceNanoUsd).toBe('0');
  expect(BigInt(report.totals.capacityNanoUsd)).toBe(
    BigInt(report.totals.chargedNanoUsd) + BigInt(report.totals.idleNanoUsd),
  );
  const rows = sum(report.rows.map((row) => row.costNanoUsd));
  const pending = sum(report.pools.map((pool) => pool.pendingNanoUsd));
  expect(rows + pending).toBe(BigInt(report.totals.chargedNanoUsd));
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

describe.each(STORES)('books on %s', (kind, storeOptions) => {
  it('every request is charged to its team, charged + idle = capacity, and teams match the truth of the engine', async () => {
    stack = await startTestStack({ teams: ['search', 'assistant'], ...storeOptions() });
    const running = stack;
    const wave = (team: string, count: number, tokens: number) =>
      Array.from({ length: count }, (_, index) => chat(running, team, { max_tokens: tokens, stream: index % 2 === 0 }));
    const ids = new Map<string, string>();
    for (let round = 0; round < 3; round += 1) {
      const [search, assistant] = [
        await Promise.all(wave('search', 6, 60)),
        await Promise.all(wave('assistant', 4, 150)),
      ];
      for (const id of search) ids.set(id, 'search');
      for (const id of assistant) ids.set(id, 'assistant');
    }
    await running.settled(Date.now());
    const report = await running.admin<Report>('/api/reports/chargeback?groupBy=team');
    expectBalanced(report);
    expect(report.rows.map((row) => [row.team, row.requests])).toEqual(
      expect.arrayContaining([
        ['search', 18],
        ['assistant', 12],
      ]),
    );
    const truth = new Map<string, number>();
    for (const request of running.simulators[0]?.truth().requests ?? []) {
      const team = ids.get(request.requestId ?? '') ?? 'stranger';
      truth.set(team, (truth.get(team) ?? 0) + request.gpuTimeMs / 1000);
    }
    const charged = report.rows.reduce((total, row) => total + row.gpuSeconds, 0);
    const used = [...truth.values()].reduce((total, seconds) => total + seconds, 0);
    for (const row of report.rows) {
      // Shares, since the busy time of so short a run holds the network's milliseconds too.
      expect(row.gpuSeconds / charged).toBeCloseTo((truth.get(row.team) ?? 0) / used, 1);
    }
    await expectNoCanary(running, kind);
  });

  it('a gateway killed with requests in flight books them after its restart: balanced, one record each, the cut ones interrupted', async () => {
    stack = await startTestStack(storeOptions());
    const running = stack;
    await chat(running, 'search', { max_tokens: 20 });
    const cut = chat(running, 'search', { max_tokens: 3000, ignore_eos: true, stream: true }).catch(() => 'cut');
    await until(
      'the stream runs',
      async () => (running.simulators[0]?.truth().requests.length ?? 0) >= 1 && (await inFlight(running)) === 1,
    );
    await new Promise((resolve) => setTimeout(resolve, 2500));
    process.kill(running.gateway().pid, 'SIGKILL');
    expect(await cut).toBe('cut');
    await running.restart();
    await running.settled(Date.now());
    const report = await running.admin<Report>('/api/reports/chargeback?groupBy=team');
    expectBalanced(report);
    const { requests } = await running.admin<{
      requests: { outcome: string; costNanoUsd: string | null; tokens: { output: number } }[];
    }>('/api/requests');
    expect(requests.map((request) => request.outcome).toSorted()).toEqual(['completed', 'interrupted']);
    const interrupted = requests.find((request) => request.outcome === 'interrupted');
    expect(interrupted?.tokens.output).toBeGreaterThan(20);
    expect(BigInt(interrupted?.costNanoUsd ?? 0)).toBeGreaterThan(0n);
  });
});

async function inFlight(running: TestStack): Promise<number> {
  const { deployments } = await running.admin<{ deployments: { upstreams: { inFlight: number }[] }[] }>(
    '/api/deployments',
  );
  return deployments[0]?.upstreams[0]?.inFlight ?? 0;
}

async function expectNoCanary(running: TestStack, kind: string): Promise<void> {
  for (const file of filesBelow(running.dataDir)) expect(readFileSync(file).includes(CANARY), file).toBe(false);
  if (kind !== 'redis') return;
  const redis = new Redis(inject('redisUrl'));
  for (const key of await redis.keys('*')) {
    expect(key.includes(CANARY)).toBe(false);
    const dump = await redis.dumpBuffer(key);
    expect(dump?.includes(CANARY) ?? false, key).toBe(false);
  }
  redis.disconnect();
}
