// Two gateways of one host with one journal folder: what one leaves behind when it is killed, the other settles.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { startTestStack, type TestStack, type TestStackOptions, until } from '#test/support/gateway.ts';

interface Report {
  rows: { requests: number; costNanoUsd: string }[];
  pools: { pendingNanoUsd: string }[];
  totals: { capacityNanoUsd: string; chargedNanoUsd: string; idleNanoUsd: string; differenceNanoUsd: string };
}

interface Listed {
  requests: { requestId: string; outcome: string; settled: boolean; tokens: { output: number | null } }[];
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

/** Sends one stream of `tokens` tokens; resolves to its request id, whether it ended or was cut. */
async function stream(url: string, key: string, tokens: number): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: 'tell me' }],
      max_tokens: tokens,
      ignore_eos: true,
      stream: true,
    }),
  });
  await response.text().catch(() => 'cut');
  return response.headers.get('x-inferometer-request-id') ?? '';
}

function journalsOf(running: TestStack): string[] {
  const root = join(running.dataDir, 'journal');
  return readdirSync(root).map((name) => join(root, name));
}

describe.each(STORES)('two gateways of one host on %s', (_kind, storeOptions) => {
  it('one killed under load is settled by the other within seconds: one record for each request, books exact', async () => {
    stack = await startTestStack(storeOptions());
    const running = stack;
    const sibling = await running.startSibling();
    const key = running.keys['search'] ?? '';
    const send = (url: string, tokens: number) => stream(url, key, tokens);
    const ids = await Promise.all([
      ...Array.from({ length: 6 }, () => send(running.gatewayUrl, 30)),
      ...Array.from({ length: 6 }, () => send(sibling.gatewayUrl, 30)),
    ]);
    const cut = [send(sibling.gatewayUrl, 3000), send(sibling.gatewayUrl, 3000)];
    const beside = send(running.gatewayUrl, 200);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    ids.push(...(await Promise.all([send(sibling.gatewayUrl, 5), send(sibling.gatewayUrl, 5)])));
    process.kill(sibling.process.pid, 'SIGKILL');
    const killedAtMs = Date.now();
    ids.push(...(await Promise.all([...cut, beside, send(running.gatewayUrl, 20)])));
    const listed = () => running.admin<Listed>('/api/requests?limit=1000');
    await until('every record is settled', async () => {
      const { requests } = await listed();
      return requests.length === ids.length && requests.every(({ settled }) => settled);
    });
    // Silence would take 15 minutes: this was adoption.
    expect(Date.now() - killedAtMs).toBeLessThan(25_000);
    const { requests } = await listed();
    expect(requests.map(({ requestId }) => requestId).toSorted()).toEqual(ids.toSorted());
    const interrupted = requests.filter(({ outcome }) => outcome === 'interrupted');
    expect(interrupted).toHaveLength(2);
    for (const { tokens } of interrupted) expect(tokens.output).toBeGreaterThan(20);
    await running.settled(Date.now());
    const report = await running.admin<Report>('/api/reports/chargeback?groupBy=team');
    expect(report.totals.differenceNanoUsd).toBe('0');
    expect(report.rows.reduce((sum, row) => sum + BigInt(row.costNanoUsd), 0n)).toBe(
      BigInt(report.totals.chargedNanoUsd),
    );
    expect(BigInt(report.totals.chargedNanoUsd) + BigInt(report.totals.idleNanoUsd)).toBe(
      BigInt(report.totals.capacityNanoUsd),
    );
    expect(report.rows.reduce((sum, row) => sum + row.requests, 0)).toBe(ids.length);
    expect(journalsOf(running)).toHaveLength(2);
    await until('the orphan is at rest', async () =>
      journalsOf(running).some((dir) => existsSync(join(dir, 'at-rest.json'))),
    );
  });

  it('after both were killed, the one that comes back settles the books of both', async () => {
    stack = await startTestStack(storeOptions());
    const running = stack;
    const sibling = await running.startSibling();
    const key = running.keys['search'] ?? '';
    const ids = await Promise.all(
      [running.gatewayUrl, sibling.gatewayUrl].flatMap((url) => [stream(url, key, 20), stream(url, key, 20)]),
    );
    for (const child of [running.gateway(), sibling.process]) process.kill(child.pid, 'SIGKILL');
    await running.restart();
    await running.settled(Date.now());
    const { requests } = await running.admin<Listed>('/api/requests?limit=1000');
    expect(requests.map(({ requestId }) => requestId).toSorted()).toEqual(ids.toSorted());
    expect(requests.map(({ outcome }) => outcome)).toEqual(ids.map(() => 'completed'));
    const report = await running.admin<Report>('/api/reports/chargeback?groupBy=team');
    expect(report.totals.differenceNanoUsd).toBe('0');
    expect(journalsOf(running)).toHaveLength(2);
  });
});
