// What must hold in the end of every run: each request that was answered has one settled, completed record, and the books balance.
import { expect } from 'vitest';
import { type TestStack, until } from './gateway.ts';

interface Records {
  readonly requests: readonly { readonly requestId: string; readonly outcome: string; readonly settled: boolean }[];
  readonly next: string | null;
}

interface Report {
  readonly rows: readonly { readonly requests: number }[];
  readonly totals: { readonly differenceNanoUsd: string };
}

/** Asks once and reads the answer to its end; its request id. Rejects unless it is whole. */
export async function askWhole(stack: TestStack, maxTokens = 5): Promise<string> {
  const response = await fetch(`${stack.gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'llama-3.1-8b',
      messages: [{ role: 'user', content: 'hello' }],
      max_tokens: maxTokens,
      ignore_eos: true,
    }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  return response.headers.get('x-inferometer-request-id') ?? '';
}

/** Waits until the ledger of a gateway with team `search` holds exactly these requests, at most 1000, and checks them. */
export async function expectWholeBooks(stack: TestStack, ids: readonly string[]): Promise<void> {
  const read = () => stack.admin<Records>('/api/requests?limit=1000');
  await until(
    'every record is settled',
    async () => {
      const { requests } = await read();
      return requests.length >= ids.length && requests.every(({ settled }) => settled);
    },
    { limitMs: 60_000, everyMs: 250 },
  );
  const { requests } = await read();
  expect(requests.map(({ requestId }) => requestId).sort()).toEqual(ids.toSorted());
  expect(new Set(requests.map(({ outcome }) => outcome))).toEqual(new Set(['completed']));
  const report = await stack.admin<Report>('/api/reports/chargeback?groupBy=team');
  expect(report.totals.differenceNanoUsd).toBe('0');
  expect(report.rows.reduce((sum, row) => sum + row.requests, 0)).toBe(ids.length);
}
