// The official Anthropic SDK through the gateway: on the engines that speak the Messages protocol, and on those that do not.
import Anthropic, { APIError, AuthenticationError, NotFoundError } from '@anthropic-ai/sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack } from '#test/support/gateway.ts';
import { SdkBooks } from '#test/support/sdk-books.ts';
import { listLacking, listServing } from '#test/support/sdk-flavors.ts';

const SPEAKERS = listServing('messages');
const STRANGERS = listLacking('messages');
const ROUTE = '/v1/messages';
const LONG = 'A paragraph that is long enough to fill some blocks of the prefix cache. '.repeat(12);

let stack: TestStack;
let books: SdkBooks;
let client: Anthropic;

const ask = (content: string): Anthropic.MessageParam[] => [{ role: 'user', content }];
const tools: Anthropic.Tool[] = [
  { name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } },
];
const idOf = (response: Response): string | null => response.headers.get('x-inferometer-request-id');

beforeAll(async () => {
  stack = await startTestStack({
    engines: [
      ...[...SPEAKERS, ...STRANGERS].map((flavor) => ({ flavor, name: flavor, models: [flavor] })),
      { flavor: 'vllm', name: 'detailed', models: ['detailed'], promptTokensDetails: true },
      { flavor: 'trtllm', name: 'falters', models: ['falters'], deployment: { timeouts: { idle: '2s' } } },
      { flavor: 'vllm', name: 'counting', models: ['counter'], deployment: { passThrough: [] } },
    ],
  });
  books = new SdkBooks(stack);
  client = new Anthropic({ baseURL: stack.gatewayUrl, apiKey: stack.keys['search'] as string, maxRetries: 0 });
});
afterAll(() => stack?.close());

describe.each(SPEAKERS)('Anthropic SDK through the gateway on %s', (model) => {
  it('a message arrives with the usage of the engine, and the record says the same', async () => {
    const { data, response } = await client.messages
      .create({ model, max_tokens: 12, system: 'Be brief.', messages: ask('Say something.') })
      .withResponse();
    expect(data).toMatchObject({ type: 'message', role: 'assistant', stop_reason: 'max_tokens' });
    expect(data.content).toMatchObject([{ type: 'text', text: expect.stringMatching(/\w/) }]);
    const row = await books.expectReported(idOf(response), ROUTE);
    expect(row.stream).toBe(false);
    expect(row.tokens.output).toBe(data.usage.output_tokens);
    expect((row.tokens.input ?? 0) + (row.tokens.cachedInput ?? 0)).toBe(
      data.usage.input_tokens + (data.usage.cache_read_input_tokens ?? 0),
    );
  });

  it('a stream arrives event by event and adds up to the message', async () => {
    const stream = client.messages.stream({ model, max_tokens: 40, messages: ask('Say something long.') });
    const { response } = await stream.withResponse();
    const kinds: string[] = [];
    let text = '';
    for await (const event of stream) {
      if (event.type !== kinds.at(-1)) kinds.push(event.type);
      if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') text += event.delta.text;
    }
    expect(kinds).toEqual([
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
    const message = await stream.finalMessage();
    expect(message.content).toMatchObject([{ type: 'text', text }]);
    const row = await books.expectReported(idOf(response), ROUTE);
    expect(row).toMatchObject({ stream: true, tokens: { output: message.usage.output_tokens } });
    expect(row.timeToFirstTokenMs).toBeGreaterThan(0);
  });

  it('tool calls stream piece by piece, and a tool’s result goes back as a part of the prompt', async () => {
    const messages = ask('Please call the tool.');
    const stream = client.messages.stream({ model, max_tokens: 200, tools, messages });
    const { response } = await stream.withResponse();
    const message = await stream.finalMessage();
    expect(message.stop_reason).toBe('tool_use');
    const [call] = message.content;
    expect(call).toMatchObject({ type: 'tool_use', name: 'weather', input: { city: expect.any(String) } });
    await books.expectReported(idOf(response), ROUTE);
    const id = call?.type === 'tool_use' ? call.id : '';
    const followed = await client.messages
      .create({
        model,
        max_tokens: 9,
        tools,
        tool_choice: { type: 'none' },
        messages: [
          ...messages,
          { role: 'assistant', content: message.content },
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content: 'Sunny, 21 degrees.' }] },
        ],
      })
      .withResponse();
    const row = await books.expectReported(idOf(followed.response), ROUTE);
    expect((row.tokens.input ?? 0) + (row.tokens.cachedInput ?? 0)).toBeGreaterThan(message.usage.input_tokens);
  });

  it('a client that leaves in the middle ends the engine’s work, and pays for what it saw', async () => {
    const stream = client.messages.stream({ model, max_tokens: 4000, messages: ask('Write a novel.') });
    const { response } = await stream.withResponse();
    let seen = 0;
    for await (const event of stream) {
      if (event.type === 'content_block_delta') seen += 1;
      if (seen >= 5) break;
    }
    stream.abort();
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'client_aborted', tokenSource: 'counted', stream: true });
    const truth = await books.truthOf(row.requestId);
    expect(truth?.aborted).toBe(true);
    // The prompt was said at the start of the stream; of the output the engine may be some tokens ahead of what was sent.
    expect((row.tokens.input ?? 0) + (row.tokens.cachedInput ?? 0)).toBe(truth?.promptTokens);
    expect(row.tokens.output).toBeGreaterThanOrEqual(5);
    expect(row.tokens.output).toBeLessThanOrEqual(truth?.completionTokens ?? 0);
  });

  it('an engine that breaks off is an error to the SDK, never a short answer, and its tokens so far are on record', async () => {
    const stream = client.messages.stream(
      { model, max_tokens: 50, messages: ask('Say something.') },
      { headers: { 'x-simulate': 'cut-after=6' } },
    );
    const { response } = await stream.withResponse();
    await expect(stream.finalMessage()).rejects.toThrow(/stream|error/i);
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 6 } });
  });

  it('an error in the middle reaches the SDK as one, in Anthropic’s words', async () => {
    const stream = client.messages.stream(
      { model, max_tokens: 50, messages: ask('Say something.') },
      { headers: { 'x-simulate': 'error-event-after=4' } },
    );
    const { response } = await stream.withResponse();
    await expect(stream.finalMessage()).rejects.toThrow(/simulated failure of the engine/);
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 4 } });
  });

  it('a refusal of the engine keeps its status and its envelope', async () => {
    const failing = client.messages.create(
      { model, max_tokens: 5, messages: ask('x') },
      { headers: { 'x-simulate': 'status=503' } },
    );
    const error = await failing.then(() => undefined).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ status: 503, error: { type: 'error', error: { message: expect.any(String) } } });
    await books.expectRefused((error as APIError).headers?.get('x-inferometer-request-id'), 503);
  });
});

describe('Anthropic SDK through the gateway', () => {
  it.each(['trtllm', 'detailed'])(
    'what came from the cache on %s stands apart from the input, in the answer and in the record',
    async (model) => {
      const send = () => client.messages.create({ model, max_tokens: 4, messages: ask(LONG) }).withResponse();
      const first = await send();
      await books.expectReported(idOf(first.response), ROUTE);
      const { data, response } = await send();
      const row = await books.expectReported(idOf(response), ROUTE);
      const cached = data.usage.cache_read_input_tokens ?? 0;
      expect(cached).toBeGreaterThan(64);
      expect(row.tokens).toMatchObject({ input: data.usage.input_tokens, cachedInput: cached });
      expect((await books.truthOf(row.requestId))?.cachedTokens).toBe(cached);
      expect(data.usage.input_tokens).toBeLessThan(first.data.usage.input_tokens);
      const stream = client.messages.stream({ model, max_tokens: 4, messages: ask(LONG) });
      const streamed = await stream.withResponse();
      await stream.finalMessage();
      const last = await books.expectReported(idOf(streamed.response), ROUTE);
      expect(last.tokens).toMatchObject({ input: data.usage.input_tokens, cachedInput: cached });
    },
  );

  it('an engine that falls silent is given up, and the SDK told so', async () => {
    const stream = client.messages.stream(
      { model: 'falters', max_tokens: 50, messages: ask('Say something.') },
      { headers: { 'x-simulate': 'stall-after=3' } },
    );
    const { response } = await stream.withResponse();
    await expect(stream.finalMessage()).rejects.toThrow();
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'timed_out', tokenSource: 'counted', tokens: { output: 3 } });
    expect((await books.truthOf(row.requestId))?.promptTokens).toBe(row.tokens.input);
  });

  it('tokens are counted as the engine counts them, metered by time; an engine without the route says so', async () => {
    const messages = ask(LONG);
    const { data } = await client.messages.create({ model: 'counter', max_tokens: 1, messages }).withResponse();
    const counted = await client.messages.countTokens({ model: 'counter', messages }).withResponse();
    expect(counted.data).toEqual({ input_tokens: data.usage.input_tokens });
    const row = await books.recordOf(idOf(counted.response));
    expect(row).toMatchObject({ route: `${ROUTE}/count_tokens`, model: 'counter', outcome: 'completed', status: 200 });
    expect(row).toMatchObject({ tokenSource: 'unknown', tokens: { total: null } });
    const beta = await client.beta.messages.countTokens({ model: 'counter', messages });
    expect(beta.input_tokens).toBe(data.usage.input_tokens);
    const refused = await client.messages
      .countTokens({ model: 'transformers', messages })
      .then(() => undefined)
      .catch((thrown: unknown) => thrown);
    expect(refused).toBeInstanceOf(NotFoundError);
    await books.expectRefused((refused as NotFoundError).headers?.get('x-inferometer-request-id'), 404);
    const unknown = client.messages.countTokens({ model: 'nope', messages });
    await expect(unknown).rejects.toThrow(NotFoundError);
    await expect(unknown).rejects.toMatchObject({ error: { type: 'error', error: { type: 'not_found_error' } } });
  });

  it('the gateway’s own errors come in Anthropic’s envelope and as the SDK’s classes', async () => {
    const message = { max_tokens: 5, messages: ask('x') };
    const unknown = client.messages.create({ model: 'nope', ...message });
    await expect(unknown).rejects.toThrow(NotFoundError);
    await expect(unknown).rejects.toMatchObject({ error: { type: 'error', error: { type: 'not_found_error' } } });
    const stranger = new Anthropic({ baseURL: stack.gatewayUrl, apiKey: 'not-a-key-of-anybody', maxRetries: 0 });
    const refused = stranger.messages.create({ model: 'vllm', ...message });
    await expect(refused).rejects.toThrow(AuthenticationError);
    await expect(refused).rejects.toMatchObject({ error: { type: 'error', error: { type: 'authentication_error' } } });
  });

  it('a bearer token identifies as well as x-api-key, and neither reaches the engine', async () => {
    const bearer = new Anthropic({
      baseURL: stack.gatewayUrl,
      apiKey: null,
      authToken: stack.keys['search'] as string,
      maxRetries: 0,
    });
    const { response } = await bearer.messages
      .create({ model: 'vllm', max_tokens: 3, messages: ask('x') })
      .withResponse();
    await books.expectReported(idOf(response), ROUTE);
  });

  it.each(STRANGERS)(
    '%s has no such route: the SDK gets its 404, the record no tokens and no GPU time',
    async (model) => {
      const failing = client.messages.create({ model, max_tokens: 5, messages: ask('x') });
      const error = await failing.then(() => undefined).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(NotFoundError);
      await books.expectRefused((error as NotFoundError).headers?.get('x-inferometer-request-id'), 404);
    },
  );

  it('in the end every request has its cost and the books close', async () => {
    await books.expectSettled();
  }, 90_000);
});
