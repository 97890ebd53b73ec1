// What an application can ask of the gateway about itself: its requests, usage and budget, and what an answer will probably cost.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';

interface RequestsAnswer {
  readonly requests: readonly {
    readonly requestId: string;
    readonly clientRequestId: string;
    readonly settled: boolean;
    readonly costNanoUsd: string | null;
    readonly gpuSeconds: number | null;
    readonly late: boolean | null;
    readonly team: string;
  }[];
}

let stack: TestStack;
beforeAll(async () => {
  stack = await startTestStack({ teams: ['search', 'ads'] });
});
afterAll(() => stack.close());

const get = (team: string, path: string) =>
  fetch(`${stack.gatewayUrl}${path}`, { headers: { authorization: `Bearer ${stack.keys[team]}` } });

const chat = (body: object, id: string) =>
  fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${stack.keys['search']}`,
      'content-type': 'application/json',
      'x-request-id': id,
    },
    body: JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'Hello' }], ...body }),
  });

describe('own books', () => {
  it('an answer says what it probably costs; the books agree with it where the engine was its own', async () => {
    const answer = await chat({ max_tokens: 64 }, 'estimated-1');
    await answer.text();
    const estimate = answer.headers.get('x-inferometer-cost-estimate-usd');
    expect(estimate).toMatch(/^0\.\d{9}$/);
    const early = await get('search', '/v1/inferometer/requests/estimated-1');
    expect(early.status).toBe(200);
    const [unsettled] = ((await early.json()) as RequestsAnswer).requests;
    if (unsettled?.settled === false) {
      expect(unsettled).toMatchObject({ costNanoUsd: null, late: null });
      expect(early.headers.get('retry-after')).toBe('1');
    }
    let cost = 0;
    await until(
      'the request is settled',
      async () => {
        const { requests } = (await (
          await get('search', '/v1/inferometer/requests/estimated-1')
        ).json()) as RequestsAnswer;
        expect(requests).toHaveLength(1);
        cost = Number(requests[0]?.costNanoUsd ?? 0);
        return requests[0]?.settled === true;
      },
      { limitMs: 60_000 },
    );
    expect(Number(estimate) * 1e9).toBeGreaterThan(cost * 0.5);
    expect(Number(estimate) * 1e9).toBeLessThan(cost * 2);
    const own = answer.headers.get('x-inferometer-request-id') ?? '';
    const byOwnId = (await (await get('search', `/v1/inferometer/requests/${own}`)).json()) as RequestsAnswer;
    expect(byOwnId.requests).toMatchObject([
      { requestId: own, clientRequestId: 'estimated-1', team: 'search', late: false },
    ]);
  });

  it('a stream carries no estimate', async () => {
    const answer = await chat({ max_tokens: 4, stream: true }, 'streamed-1');
    await answer.text();
    expect(answer.headers.has('x-inferometer-cost-estimate-usd')).toBe(false);
  });

  it.each(['estimated-1', 'nobody', '%', 'x'.repeat(2000)])(
    'a foreign or unknown request is not found: %.12s',
    async (id) => {
      const answer = await get('ads', `/v1/inferometer/requests/${id}`);
      expect(answer.status).toBe(404);
      expect(await answer.json()).toMatchObject({ error: { code: 'request_not_found' } });
    },
  );

  it('without a key there is nothing to read', async () => {
    for (const path of ['requests/estimated-1', 'usage', 'budget']) {
      const answer = await fetch(`${stack.gatewayUrl}/v1/inferometer/${path}`);
      expect([path, answer.status]).toEqual([path, 401]);
    }
  });

  it('usage is of the own team alone', async () => {
    const read = async (team: string) => {
      const answer = await get(team, '/v1/inferometer/usage?groupBy=team,model&granularity=hour');
      return (await answer.json()) as { buckets: { team: string; requests: number; tokens: { total: number } }[] };
    };
    const own = await read('search');
    expect(own.buckets.map(({ team }) => team)).toEqual(own.buckets.map(() => 'search'));
    expect(own.buckets.reduce((sum, { requests }) => sum + requests, 0)).toBeGreaterThanOrEqual(1);
    expect((await read('ads')).buckets).toEqual([]);
  });

  it.each([
    ['groupBy', 'groupBy=weather'],
    ['team', 'team=ads'],
    ['from', 'from=yesterday'],
    ['granularity', 'granularity=second'],
  ])('a parameter that cannot be used is named: %s', async (param, query) => {
    const answer = await get('search', `/v1/inferometer/usage?${query}`);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: 'invalid_request', param } });
  });

  it('a team without a budget is told so', async () => {
    expect(await (await get('search', '/v1/inferometer/budget')).json()).toEqual({ budget: null });
  });

  it('live unit prices are cost by tokens of what was served', async () => {
    interface Deployments {
      deployments: { usdPerHour: string; usdPerMillionTokens: Record<string, string | null>; utilisation: number }[];
    }
    interface Report {
      rows: { costNanoUsd: string; tokens: { total: number } }[];
      pools: { capacityGpuSeconds: number }[];
    }
    await until('prices cover what is settled', async () => {
      const [{ deployments }, report] = await Promise.all([
        stack.admin<Deployments>('/api/deployments'),
        stack.admin<Report>('/api/reports/chargeback'),
      ]);
      const [row] = report.rows;
      if (row === undefined) return false;
      const blended = (Number(row.costNanoUsd) / 1e9 / row.tokens.total) * 1e6;
      expect(Number(deployments[0]?.usdPerMillionTokens['blended'])).toBeCloseTo(blended, 6);
      expect(deployments[0]?.usdPerHour).toBe('2.5');
      return true;
    });
  });
});
