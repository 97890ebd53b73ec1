// Two deployments of one model, the first one's engines taken away: applications notice nothing, and the books show every attempt and the whole bill.
import { gzipSync } from 'node:zlib';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack, until } from '#test/support/gateway.ts';

interface Row {
  requestId: string;
  attempt: number;
  deployment: string;
  upstream: string | null;
  outcome: string;
  status: number;
  tokens: { output: number | null };
}

let stack: TestStack;
let client: OpenAI;

beforeAll(async () => {
  stack = await startTestStack({
    engines: [
      // Checks that come late, so that it is the requests that find out.
      {
        name: 'main',
        replicas: 2,
        models: ['chat'],
        deployment: { priority: 1, health: { interval: '1h', timeout: '1s' } },
      },
      { name: 'spare', models: ['chat'], flavor: 'vllm', deployment: { priority: 0 } },
    ],
  });
  client = new OpenAI({ baseURL: `${stack.gatewayUrl}/v1`, apiKey: stack.keys['search'] as string, maxRetries: 0 });
});
afterAll(() => stack?.close());

async function rowsOf(requestId: string | null, count: number): Promise<Row[]> {
  let rows: Row[] = [];
  await until(`${count} records of ${requestId}`, async () => {
    rows = (await stack.admin<{ requests: Row[] }>(`/api/requests?requestId=${requestId}`)).requests;
    return rows.length === count;
  });
  return rows.toSorted((left, right) => left.attempt - right.attempt);
}

const ask = () =>
  client.chat.completions
    .create({ model: 'chat', messages: [{ role: 'user', content: 'Hello.' }], max_tokens: 6 })
    .withResponse();

describe('a model of two deployments', () => {
  it('is served by the first while it is there, a compressed body included', async () => {
    const { response } = await ask();
    expect(response.headers.get('x-inferometer-deployment')).toBe('main');
    const answer = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${stack.keys['search']}`,
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      },
      body: gzipSync(JSON.stringify({ model: 'chat', messages: [{ role: 'user', content: 'Zip.' }], max_tokens: 4 })),
    });
    expect([answer.status, answer.headers.get('x-inferometer-deployment')]).toEqual([200, 'main']);
    expect(await answer.json()).toMatchObject({ usage: { completion_tokens: 4 } });
  });

  it('goes on to the second when every engine of the first is gone, whole and streamed', async () => {
    await Promise.all(stack.simulators.slice(0, 2).map((simulator) => simulator.close()));
    const { data, response } = await ask();
    expect(response.headers.get('x-inferometer-deployment')).toBe('spare');
    const rows = await rowsOf(response.headers.get('x-inferometer-request-id'), 3);
    expect(rows.map(({ deployment, outcome, status }) => [deployment, outcome, status])).toEqual([
      ['main', 'upstream_error', 502],
      ['main', 'upstream_error', 502],
      ['spare', 'completed', 200],
    ]);
    expect(rows[2]?.tokens.output).toBe(data.usage?.completion_tokens);
    const stream = await client.chat.completions.create({
      model: 'chat',
      messages: [{ role: 'user', content: 'Stream.' }],
      max_tokens: 8,
      stream: true,
    });
    let finish: string | null = null;
    for await (const chunk of stream) finish = chunk.choices[0]?.finish_reason ?? finish;
    expect(finish).toBe('length');
  });

  it('is counted once, and every nanodollar of both deployments is accounted for', async () => {
    await stack.settled(Date.now());
    const report = await stack.admin<{
      rows: { requests: number; failedRequests: number }[];
      totals: { differenceNanoUsd: string };
    }>('/api/reports/chargeback?groupBy=team');
    expect(report.totals.differenceNanoUsd).toBe('0');
    expect(report.rows).toMatchObject([{ requests: 4, failedRequests: 0 }]);
    const metrics = await (await fetch(`${stack.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/inferometer_retries_total\{[^}]*deployment="spare"[^}]*result="answered"[^}]*\} 2/);
  });
});
