// The official OpenAI SDK through the gateway, on each engine flavour: what an application does when it changes only its base URL.
import OpenAI, { AuthenticationError, InternalServerError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack, until } from '#test/support/gateway.ts';

const FLAVORS = ['trtllm', 'triton', 'vllm', 'transformers'] as const;
const EMBEDDING = 'embedder';

let stack: TestStack;
let client: OpenAI;

interface RequestRow {
  requestId: string;
  outcome: string;
  status: number;
  stream: boolean;
  tokenSource: string;
  tokens: { input: number | null; output: number | null; total: number | null };
}

async function rowOf(requestId: string | null | undefined): Promise<RequestRow> {
  let row: RequestRow | undefined;
  await until(`a record of ${requestId}`, async () => {
    const page = await stack.admin<{ requests: RequestRow[] }>(`/api/requests?requestId=${requestId}`);
    row = page.requests[0];
    return row !== undefined;
  });
  return row as RequestRow;
}

beforeAll(async () => {
  stack = await startTestStack({
    engines: [
      ...FLAVORS.map((flavor) => ({ flavor, name: flavor, models: [flavor] })),
      { flavor: 'vllm', name: EMBEDDING, models: [EMBEDDING] },
    ],
  });
  client = new OpenAI({ baseURL: `${stack.gatewayUrl}/v1`, apiKey: stack.keys['search'] as string, maxRetries: 0 });
});
afterAll(() => stack?.close());

describe.each(FLAVORS)('openai SDK through the gateway on %s', (model) => {
  it('a chat answer arrives with the usage the engine reported, and the record says the same', async () => {
    const { data, response } = await client.chat.completions
      .create({ model, messages: [{ role: 'user', content: 'Say something.' }], max_tokens: 12 })
      .withResponse();
    expect(data.choices[0]?.message.content).toBeTruthy();
    const row = await rowOf(response.headers.get('x-inferometer-request-id'));
    expect(row).toMatchObject({ outcome: 'completed', status: 200, stream: false, tokenSource: 'reported' });
    expect(row.tokens.output).toBe(data.usage?.completion_tokens);
    expect(row.tokens.total).toBe(data.usage?.total_tokens);
  });

  it('a stream arrives whole, without a usage chunk nobody asked for, and is counted by the report of the engine', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({ model, messages: [{ role: 'user', content: 'Say something long.' }], max_tokens: 30, stream: true })
      .withResponse();
    let text = '';
    let emptyChoices = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (chunk.choices.length === 0) emptyChoices += 1;
    }
    expect(text.length).toBeGreaterThan(10);
    expect(emptyChoices).toBe(0);
    const row = await rowOf(response.headers.get('x-inferometer-request-id'));
    expect(row).toMatchObject({ outcome: 'completed', stream: true, tokenSource: 'reported' });
    expect(row.tokens.output).toBeGreaterThan(5);
  });

  it('completions answer, streamed and not', async () => {
    const whole = await client.completions.create({ model, prompt: 'Once upon a time', max_tokens: 8 });
    expect(whole.choices[0]?.text).toBeTruthy();
    let text = '';
    for await (const chunk of await client.completions.create({ model, prompt: 'Once', max_tokens: 8, stream: true })) {
      text += chunk.choices[0]?.text ?? '';
    }
    expect(text).not.toBe('');
  });

  it('a client that stops reading ends the engine request, and its record says client_aborted with the tokens so far', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({ model, messages: [{ role: 'user', content: 'Write a novel.' }], max_tokens: 4000, stream: true })
      .withResponse();
    let seen = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) seen += 1;
      if (seen >= 5) break;
    }
    const row = await rowOf(response.headers.get('x-inferometer-request-id'));
    expect(row.outcome).toBe('client_aborted');
    expect(row.tokenSource).toBe('counted');
    expect(row.tokens.output).toBeGreaterThanOrEqual(5);
    expect(row.tokens.output).toBeLessThan(4000);
  });
});

describe('openai SDK through the gateway', () => {
  it('a stream that asked for usage gets the usage chunk', async () => {
    const stream = await client.chat.completions.create({
      model: 'trtllm',
      messages: [{ role: 'user', content: 'Hi' }],
      max_tokens: 5,
      stream: true,
      stream_options: { include_usage: true },
    });
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) usage = chunk.usage ?? usage;
    expect(usage?.completion_tokens).toBe(5);
  });

  it('tool calls stream piece by piece and add up to valid arguments', async () => {
    const stream = await client.chat.completions.create({
      model: 'vllm',
      messages: [{ role: 'user', content: 'Please call the tool.' }],
      tools: [
        {
          type: 'function',
          function: { name: 'lookup', parameters: { type: 'object', properties: { query: { type: 'string' } } } },
        },
      ],
      tool_choice: 'required',
      max_tokens: 200,
      stream: true,
    });
    let args = '';
    let name = '';
    let finish: string | null | undefined;
    for await (const chunk of stream) {
      const call = chunk.choices[0]?.delta.tool_calls?.[0];
      name += call?.function?.name ?? '';
      args += call?.function?.arguments ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
    }
    expect(name).toBe('lookup');
    expect(JSON.parse(args)).toBeTypeOf('object');
    expect(finish).toBe('tool_calls');
  });

  it('embeddings answer and are counted as input only', async () => {
    const { data, response } = await client.embeddings
      .create({ model: EMBEDDING, input: ['one text', 'another text'] })
      .withResponse();
    expect(data.data).toHaveLength(2);
    const row = await rowOf(response.headers.get('x-inferometer-request-id'));
    expect(row.tokens.input).toBe(data.usage.prompt_tokens);
    expect(row.tokens.output).toBe(0);
  });

  it('the model list holds every name the caller may use, and one can be asked for', async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    expect(names.toSorted()).toEqual([...FLAVORS, EMBEDDING].toSorted());
    expect((await client.models.retrieve('vllm')).owned_by).toBe('vllm');
  });

  it('errors reach the SDK as its own error classes', async () => {
    const messages = [{ role: 'user' as const, content: 'x' }];
    await expect(client.chat.completions.create({ model: 'nope', messages })).rejects.toThrow(NotFoundError);
    const stranger = client.withOptions({ apiKey: 'not-a-key-of-anybody' });
    await expect(stranger.chat.completions.create({ model: 'vllm', messages })).rejects.toThrow(AuthenticationError);
    const failing = client.chat.completions.create(
      { model: 'vllm', messages },
      { headers: { 'x-simulate': 'status=500' } },
    );
    await expect(failing).rejects.toThrow(InternalServerError);
  });
});
