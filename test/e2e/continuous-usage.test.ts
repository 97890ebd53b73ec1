// `continuousUsage` against engines that have running counts: what a client sees is what it would see without, what is billed of a cut
// stream is what the engine had made by then.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';

let stack: TestStack;
beforeAll(async () => {
  const flavors = ['trtllm', 'vllm'] as const;
  stack = await startTestStack({
    engines: flavors.flatMap((flavor) =>
      [true, false].map((continuousUsage) => ({
        flavor,
        name: `${flavor}-${continuousUsage}`,
        models: [`${flavor}-${continuousUsage}`],
        seed: 5,
        deployment: { continuousUsage },
      })),
    ),
  });
});
afterAll(() => stack.close());

const ask = (path: string, body: object, signal?: AbortSignal) =>
  fetch(`${stack.gatewayUrl}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      ...(path === '/v1/completions' ? { prompt: 'Hello' } : { messages: [{ role: 'user', content: 'Hello' }] }),
      stream: true,
      ...body,
    }),
    ...(signal === undefined ? {} : { signal }),
  });

/** Ids and times differ from request to request. */
const anonymous = (text: string): string => text.replaceAll(/"(id|created|model)":("[^"]*"|\d+)/g, '"$1":0');

interface RecordAnswer {
  readonly requests: readonly {
    readonly outcome: string;
    readonly tokenSource: string;
    readonly tokens: { readonly input: number; readonly output: number };
  }[];
}

const findRecord = async (id: string): Promise<RecordAnswer['requests'][number]> => {
  let found: RecordAnswer['requests'][number] | undefined;
  await until('the record is there', async () => {
    const answer = await fetch(`${stack.gatewayUrl}/v1/inferometer/requests/${id}`, {
      headers: { authorization: `Bearer ${stack.keys['search']}` },
    });
    found = answer.ok ? ((await answer.json()) as RecordAnswer).requests[0] : undefined;
    return found !== undefined;
  });
  if (found === undefined) throw new Error('no record');
  return found;
};

describe.each(['trtllm', 'vllm'])('%s', (flavor) => {
  it.each([
    ['/v1/chat/completions', {}],
    ['/v1/chat/completions', { n: 2, stream_options: { include_usage: true } }],
    ['/v1/completions', {}],
    ['/v1/completions', { stream_options: { include_usage: true } }],
  ])('%s %j is the same stream with running counts and without', async (path, body) => {
    const read = async (continuous: boolean): Promise<string> => {
      const answer = await ask(path, { model: `${flavor}-${continuous}`, max_tokens: 12, ...body });
      expect(answer.status).toBe(200);
      return anonymous(await answer.text());
    };
    const events = (text: string): string[] =>
      text
        .split('\n\n')
        .map((event) => event.replaceAll(/"(content|text)":"[^"]*"/g, '"$1":""').trimEnd())
        .toSorted();
    expect(events(await read(true))).toEqual(events(await read(false)));
  });

  it('a stream that its client cuts has exact counts, said by the engine', async () => {
    const controller = new AbortController();
    const answer = await ask('/v1/chat/completions', { model: `${flavor}-true`, max_tokens: 2000 }, controller.signal);
    const reader = answer.body?.getReader();
    let contents = 0;
    let text = '';
    while (contents < 5) {
      const { value, done } = (await reader?.read()) ?? {};
      if (done !== false) throw new Error(`the stream ended early: ${text}`);
      text += Buffer.from(value ?? []).toString();
      contents = text.split('"content":"').length - 1;
    }
    controller.abort();
    const record = await findRecord(answer.headers.get('x-inferometer-request-id') ?? '');
    expect(record).toMatchObject({ outcome: 'client_aborted', tokenSource: 'reported' });
    expect(record.tokens.output).toBeGreaterThanOrEqual(4);
    expect(record.tokens.output).toBeLessThan(2000);
    expect(record.tokens.input).toBeGreaterThan(0);
  });
});
