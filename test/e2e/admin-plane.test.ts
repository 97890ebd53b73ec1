// The admin plane of a real gateway with a real store: what one team's traffic looks like in every view of it.
import { type TestStack, startTestStack, until } from '#test/support/gateway.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

interface Row {
  readonly team: string;
  readonly requests: number;
  readonly tokens: { readonly total: number };
  readonly costNanoUsd: string;
  readonly totalNanoUsd: string;
}

interface Report {
  readonly rows: readonly Row[];
  readonly pools: readonly { readonly pendingNanoUsd: string }[];
  readonly totals: Readonly<Record<string, string>>;
}

interface RequestRow {
  readonly requestId: string;
  readonly team: string;
  readonly settled: boolean;
  readonly costNanoUsd: string | null;
  readonly tokens: { readonly total: number };
}

let stack: TestStack;
const expectedRequests = { search: 3, chat: 2 };

async function ask(team: string): Promise<void> {
  const response = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.keys[team] ?? ''}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      max_tokens: 20,
      messages: [{ role: 'user', content: 'one two three' }],
    }),
  });
  expect(response.status).toBe(200);
  await response.text();
}

async function readRequests(query = ''): Promise<readonly RequestRow[]> {
  return (await stack.admin<{ requests: RequestRow[] }>(`/api/requests${query}`)).requests;
}

beforeAll(async () => {
  stack = await startTestStack({ teams: ['search', 'chat'] });
  for (const [team, count] of Object.entries(expectedRequests)) {
    for (let i = 0; i < count; i += 1) await ask(team);
  }
});

afterAll(async () => {
  await stack?.close();
});

describe('the admin plane of a running gateway', () => {
  test('a finished request is listed at once, and with its cost as soon as it is settled', async () => {
    const early = await readRequests();
    expect(early).toHaveLength(5);
    for (const row of early) if (!row.settled) expect(row.costNanoUsd).toBeNull();
    await stack.settled(Date.now());
    await until('all records settled', async () => (await readRequests()).every(({ settled }) => settled));
    const late = await readRequests();
    expect(new Set(late.map(({ requestId }) => requestId))).toEqual(new Set(early.map(({ requestId }) => requestId)));
    for (const row of late) expect(BigInt(row.costNanoUsd ?? '0') > 0n).toBe(true);
  });

  test('report, usage and single requests agree to the nanodollar, and every idle policy adds up to the bill', async () => {
    await stack.settled(Date.now());
    const requests = await readRequests();
    for (const idle of ['separate', 'proportional', 'even']) {
      const report = await stack.admin<Report>(`/api/reports/chargeback?groupBy=team&idle=${idle}`);
      const total = (values: readonly string[]) => values.reduce((sum, value) => sum + BigInt(value), 0n);
      const { capacityNanoUsd, unsharedNanoUsd, unmeteredNanoUsd, differenceNanoUsd } = report.totals;
      expect(differenceNanoUsd).toBe('0');
      expect(
        total([
          ...report.rows.map(({ totalNanoUsd }) => totalNanoUsd),
          ...report.pools.map(({ pendingNanoUsd }) => pendingNanoUsd),
          unsharedNanoUsd ?? '',
          unmeteredNanoUsd ?? '',
        ]),
      ).toBe(BigInt(capacityNanoUsd ?? '-1'));
      for (const row of report.rows) {
        const own = requests.filter(({ team }) => team === row.team);
        expect(row.requests).toBe(expectedRequests[row.team as 'search' | 'chat']);
        expect(row.tokens.total).toBe(own.reduce((sum, { tokens }) => sum + tokens.total, 0));
        expect(BigInt(row.costNanoUsd)).toBe(total(own.map(({ costNanoUsd }) => costNanoUsd ?? '')));
      }
    }
    const usage = await stack.admin<{ buckets: Row[] }>('/api/usage?granularity=hour&groupBy=team');
    expect(usage.buckets.reduce((sum, { requests: count }) => sum + count, 0)).toBe(5);
    const byUser = await stack.admin<Report>('/api/reports/chargeback?groupBy=user');
    expect(byUser.rows.reduce((sum, { requests: count }) => sum + count, 0)).toBe(5);
  });

  test('metrics count the same money as the books', async () => {
    await stack.settled(Date.now());
    const report = await stack.admin<Report>('/api/reports/chargeback?groupBy=team');
    const charged = Number(report.rows.reduce((sum, { costNanoUsd }) => sum + BigInt(costNanoUsd), 0n)) / 1e9;
    const text = await (await fetch(`${stack.adminUrl}/metrics`)).text();
    const sum = (name: string) =>
      text
        .split('\n')
        .filter((line) => line.startsWith(`${name}{`))
        .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0);
    expect(sum('inferometer_cost_usd_total')).toBeCloseTo(charged, 9);
    expect(sum('inferometer_requests_total')).toBe(5);
    expect(sum('inferometer_capacity_cost_usd_total')).toBeGreaterThan(charged);
  });

  test('deployments tell price, health and how busy they were', async () => {
    const { deployments } = await stack.admin<{ deployments: Record<string, unknown>[] }>('/api/deployments');
    expect(deployments[0]).toMatchObject({
      name: 'd0',
      upstreams: [{ name: 'u0', healthy: true, inFlight: 0 }],
      usdPerMillionTokens: { blended: expect.stringMatching(/^\d+\.\d{9}$/) },
      profile: { source: 'declared' },
    });
    const { utilisation, meanConcurrency } = deployments[0] as { utilisation: number; meanConcurrency: number };
    expect(utilisation).toBeGreaterThan(0);
    expect(utilisation).toBeLessThan(1);
    expect(meanConcurrency).toBeGreaterThanOrEqual(0.99);
  });
});
