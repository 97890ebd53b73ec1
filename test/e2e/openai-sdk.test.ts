// The official OpenAI SDK through the gateway, on each engine flavour: what an application does when it changes only its base URL.
import OpenAI, {
  type APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  UnprocessableEntityError,
} from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack } from '#test/support/gateway.ts';
import { SdkBooks } from '#test/support/sdk-books.ts';
import { ALL_FLAVORS, listLacking, listServing } from '#test/support/sdk-flavors.ts';

const CHAT = '/v1/chat/completions';
/** A deployment that drops what its engine does not know. */
const LENIENT = 'lenient';

let stack: TestStack;
let books: SdkBooks;
let client: OpenAI;

const idOf = (response: Response): string | null => response.headers.get('x-inferometer-request-id');
const ask = (content: string) => [{ role: 'user' as const, content }];
const tools = [
  {
    type: 'function' as const,
    function: { name: 'lookup', parameters: { type: 'object', properties: { query: { type: 'string' } } } },
  },
];

/** The error that a call fails with. */
async function errorOf(call: Promise<unknown>): Promise<APIError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown as APIError,
  );
  if (error === undefined) throw new Error('the call was to fail');
  return error;
}

const idOfError = (error: APIError): string | null | undefined => error.headers?.get('x-inferometer-request-id');

beforeAll(async () => {
  stack = await startTestStack({
    engines: [
      ...ALL_FLAVORS.map((flavor) => ({ flavor, name: flavor, models: [flavor] })),
      {
        flavor: 'transformers',
        name: LENIENT,
        models: [LENIENT],
        deployment: { dropFields: ['stream_options', 'tool_choice'] },
      },
    ],
  });
  books = new SdkBooks(stack);
  client = new OpenAI({ baseURL: `${stack.gatewayUrl}/v1`, apiKey: stack.keys['search'] as string, maxRetries: 0 });
});
afterAll(() => stack?.close());

describe.each(listServing('chat'))('openai SDK, chat through the gateway on %s', (model) => {
  it('an answer arrives with the usage the engine reported, and the record says the same', async () => {
    const { data, response } = await client.chat.completions
      .create({ model, messages: ask('Say something.'), max_tokens: 12 })
      .withResponse();
    expect(data.choices[0]?.message.content).toBeTruthy();
    const row = await books.expectReported(idOf(response), CHAT);
    expect(row).toMatchObject({ stream: false, tokens: { output: data.usage?.completion_tokens } });
    expect(row.tokens.total).toBe(data.usage?.total_tokens);
  });

  it('a stream arrives whole, without a usage chunk nobody asked for, and is counted by the report of the engine', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({ model, messages: ask('Say something long.'), max_tokens: 30, stream: true })
      .withResponse();
    let text = '';
    let emptyChoices = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (chunk.choices.length === 0) emptyChoices += 1;
    }
    expect(text.length).toBeGreaterThan(10);
    expect(emptyChoices).toBe(0);
    const row = await books.expectReported(idOf(response), CHAT);
    expect(row.stream).toBe(true);
    expect(row.timeToFirstTokenMs).toBeGreaterThan(0);
  });

  it('a stream that asks for usage gets it; an engine that knows no such field says so itself', async () => {
    const asked = client.chat.completions
      .create({ model, messages: ask('Hi'), max_tokens: 5, stream: true, stream_options: { include_usage: true } })
      .withResponse();
    if (model === 'transformers') {
      const error = await errorOf(asked);
      expect(error).toBeInstanceOf(UnprocessableEntityError);
      await books.expectRefused(idOfError(error), 422);
      return;
    }
    const { data: stream, response } = await asked;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) usage = chunk.usage ?? usage;
    expect(usage?.completion_tokens).toBe(5);
    await books.expectReported(idOf(response), CHAT);
  });

  it('tool calls stream piece by piece and add up to valid arguments', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({ model, messages: ask('Please call the tool.'), tools, max_tokens: 200, stream: true })
      .withResponse();
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
    expect(JSON.parse(args)).toEqual({ query: expect.any(String) });
    expect(finish).toBe('tool_calls');
    await books.expectReported(idOf(response), CHAT);
  });

  it('several choices are counted together where the engine makes them, and refused by it where not', async () => {
    const asked = client.chat.completions.create({ model, messages: ask('Hi'), n: 3, max_tokens: 6 }).withResponse();
    if (model === 'triton' || model === 'transformers') {
      const error = await errorOf(asked);
      expect(error).toBeInstanceOf(model === 'triton' ? BadRequestError : UnprocessableEntityError);
      await books.expectRefused(idOfError(error), model === 'triton' ? 400 : 422);
      return;
    }
    const { data, response } = await asked;
    expect(data.choices).toHaveLength(3);
    const row = await books.expectReported(idOf(response), CHAT);
    expect(row.tokens.output).toBe(18);
  });

  it('a client that stops reading ends the engine request, and its record says client_aborted with the tokens so far', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({ model, messages: ask('Write a novel.'), max_tokens: 4000, stream: true })
      .withResponse();
    let seen = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content) seen += 1;
      if (seen >= 5) break;
    }
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'client_aborted', tokenSource: 'counted' });
    const truth = await books.truthOf(row.requestId);
    expect(truth?.aborted).toBe(true);
    expect(row.tokens.output).toBeGreaterThanOrEqual(5);
    expect(row.tokens.output).toBeLessThanOrEqual(truth?.completionTokens ?? 0);
  });

  it('an engine that breaks off is an error to the SDK, never a short answer, and its tokens so far are on record', async () => {
    const { data: stream, response } = await client.chat.completions
      .create(
        { model, messages: ask('Say something long.'), max_tokens: 50, stream: true },
        { headers: { 'x-simulate': 'cut-after=7' } },
      )
      .withResponse();
    const read = async (): Promise<void> => {
      for await (const _chunk of stream);
    };
    await expect(read()).rejects.toThrow();
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 7 } });
  });

  it('completions answer, streamed and not', async () => {
    const whole = await client.completions.create({ model, prompt: 'Once upon a time', max_tokens: 8 }).withResponse();
    expect(whole.data.choices[0]?.text).toBeTruthy();
    await books.expectReported(idOf(whole.response), '/v1/completions');
    const { data: stream, response } = await client.completions
      .create({ model, prompt: 'Once', max_tokens: 8, stream: true })
      .withResponse();
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
    expect(text).not.toBe('');
    await books.expectReported(idOf(response), '/v1/completions');
  });
});

describe.each(['trtllm', 'vllm'])('openai SDK, a list of prompts through the gateway on %s', (model) => {
  it.each([false, true])('is counted as a whole (stream: %s)', async (streams) => {
    const body = { model, prompt: ['Once upon a time', 'In a hole in the ground'], max_tokens: 6, n: 2 };
    const call = streams
      ? await client.completions.create({ ...body, stream: true }).withResponse()
      : await client.completions.create(body).withResponse();
    const seen = new Set<number>();
    if (Symbol.asyncIterator in call.data) for await (const chunk of call.data) seen.add(chunk.choices[0]?.index ?? -1);
    else for (const choice of call.data.choices) seen.add(choice.index);
    expect([...seen].toSorted()).toEqual([0, 1, 2, 3]);
    const row = await books.expectReported(idOf(call.response), '/v1/completions');
    expect(row.tokens.output).toBe(24);
  });
});

describe.each(listServing('embeddings'))('openai SDK, embeddings through the gateway on %s', (model) => {
  it('vectors arrive, and are counted as input only', async () => {
    const { data, response } = await client.embeddings
      .create({ model, input: 'one text', dimensions: 16 })
      .withResponse();
    expect(data.data[0]?.embedding).toHaveLength(16);
    const row = await books.expectReported(idOf(response), '/v1/embeddings');
    expect(row.tokens).toMatchObject({ input: data.usage.prompt_tokens, output: 0 });
  });
});

describe('openai SDK, a flavour that lacks the route', () => {
  it.each([
    ...listLacking('chat').map((model) => ['chat', model] as const),
    ...listLacking('completions').map((model) => ['completions', model] as const),
    ...listLacking('embeddings').map((model) => ['embeddings', model] as const),
  ])('%s on %s is the engine’s 404, with no tokens and no GPU time on record', async (capability, model) => {
    const calls = {
      chat: () => client.chat.completions.create({ model, messages: ask('x') }),
      completions: () => client.completions.create({ model, prompt: 'x' }),
      embeddings: () => client.embeddings.create({ model, input: 'x' }),
    };
    const error = await errorOf(calls[capability]());
    expect(error).toBeInstanceOf(NotFoundError);
    await books.expectRefused(idOfError(error), 404);
  });
});

describe('openai SDK through the gateway', () => {
  it('the model list holds every name the caller may use, and one can be asked for', async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    expect(names.toSorted()).toEqual([...ALL_FLAVORS, LENIENT].toSorted());
    expect((await client.models.retrieve('vllm')).owned_by).toBe('vllm');
  });

  it('where the deployment drops what its engine does not know, a stream on transformers says its usage too', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({
        model: LENIENT,
        messages: ask('Hi'),
        max_tokens: 5,
        stream: true,
        stream_options: { include_usage: true },
      })
      .withResponse();
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) usage = chunk.usage ?? usage;
    expect(usage?.completion_tokens).toBe(5);
    await books.expectReported(idOf(response), CHAT);
  });

  it('errors reach the SDK as its own error classes', async () => {
    const messages = ask('x');
    await expect(client.chat.completions.create({ model: 'nope', messages })).rejects.toThrow(NotFoundError);
    const stranger = client.withOptions({ apiKey: 'not-a-key-of-anybody' });
    await expect(stranger.chat.completions.create({ model: 'vllm', messages })).rejects.toThrow(AuthenticationError);
    const failing = client.chat.completions.create(
      { model: 'vllm', messages },
      { headers: { 'x-simulate': 'status=500' } },
    );
    await expect(failing).rejects.toThrow(InternalServerError);
  });

  it('in the end every request has its cost and the books close', async () => {
    await books.expectSettled();
  }, 90_000);
});
