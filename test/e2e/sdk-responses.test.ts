// The Responses API of the official OpenAI SDK, and rerank and score, which have no SDK, through the gateway on every flavour.
import OpenAI, { type APIError, NotFoundError, UnprocessableEntityError } from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestStack, startTestStack } from '#test/support/gateway.ts';
import { SdkBooks } from '#test/support/sdk-books.ts';
import { ALL_FLAVORS, listLacking, listServing } from '#test/support/sdk-flavors.ts';

const ROUTE = '/v1/responses';
const LONG = 'A paragraph that is long enough to fill some blocks of the prefix cache. '.repeat(12);

let stack: TestStack;
let books: SdkBooks;
let client: OpenAI;

const idOf = (response: Response): string | null => response.headers.get('x-inferometer-request-id');

function post(path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
  const identity = { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' };
  const init = { method: 'POST', headers: { ...identity, ...headers }, body: JSON.stringify(body) };
  return fetch(`${stack.gatewayUrl}${path}`, init);
}

/** Types of the events, repetitions once, and the last event. */
async function readStream(stream: AsyncIterable<OpenAI.Responses.ResponseStreamEvent>) {
  const types: string[] = [];
  const numbers: number[] = [];
  let text = '';
  let args = '';
  let last: OpenAI.Responses.ResponseStreamEvent | undefined;
  for await (const event of stream) {
    if (event.type !== types.at(-1)) types.push(event.type);
    numbers.push(event.sequence_number);
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.function_call_arguments.delta') args += event.delta;
    last = event;
  }
  return { types, numbers, text, args, last };
}

beforeAll(async () => {
  stack = await startTestStack({
    engines: [
      ...ALL_FLAVORS.map((flavor) => ({ flavor, name: flavor, models: [flavor] })),
      { flavor: 'trtllm', name: 'older', models: ['older'], noUsage: true, deployment: { passThrough: [] } },
      { flavor: 'vllm', name: 'falters', models: ['falters'], deployment: { timeouts: { idle: '2s' } } },
      { flavor: 'vllm', name: 'ranking', models: ['ranker'], deployment: { passThrough: ['/v1/score'] } },
    ],
  });
  books = new SdkBooks(stack);
  client = new OpenAI({ baseURL: `${stack.gatewayUrl}/v1`, apiKey: stack.keys['search'] as string, maxRetries: 0 });
});
afterAll(() => stack?.close());

describe.each(listServing('responses'))('Responses of the OpenAI SDK through the gateway on %s', (model) => {
  it('a response arrives with the usage of the engine, and the record says the same', async () => {
    const { data, response } = await client.responses
      .create({ model, input: 'Say something.', instructions: 'Be brief.', max_output_tokens: 12, stream: false })
      .withResponse();
    expect(data.output_text).toMatch(/\w/);
    const row = await books.expectReported(idOf(response), ROUTE);
    expect(row.tokens).toMatchObject({ output: data.usage?.output_tokens, reasoning: 0 });
    expect(row.tokens.total).toBe(data.usage?.total_tokens);
  });

  it('a stream arrives event by event, and its last one says the usage', async () => {
    const { data, response } = await client.responses
      .create({ model, input: 'Say something long.', max_output_tokens: 30, stream: true })
      .withResponse();
    const { types, numbers, text, last } = await readStream(data);
    expect(types.slice(0, 5)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
    ]);
    expect(types.at(-1)).toBe(model === 'trtllm' ? 'response.incomplete' : 'response.completed');
    expect(numbers).toEqual([...numbers.keys()]);
    expect(last !== undefined && 'response' in last ? last.response.output[0] : undefined).toMatchObject({
      content: [{ text }],
    });
    const row = await books.expectReported(idOf(response), ROUTE);
    expect(row).toMatchObject({ stream: true, tokens: { output: 30 } });
    expect(row.timeToFirstTokenMs).toBeGreaterThan(0);
  });

  it('what came from the cache is a part of the input, told apart where the engine does', async () => {
    const ask = () =>
      client.responses.create({ model, input: LONG, max_output_tokens: 3, stream: false }).withResponse();
    await books.expectReported(idOf((await ask()).response), ROUTE);
    const { data, response } = await ask();
    const row = await books.expectReported(idOf(response), ROUTE);
    const cached = data.usage?.input_tokens_details.cached_tokens ?? 0;
    if (model === 'transformers') expect(cached).toBe(0);
    else expect(cached).toBeGreaterThan(64);
    expect(row.tokens).toMatchObject({ cachedInput: cached, input: (data.usage?.input_tokens ?? 0) - cached });
  });

  it('a client that leaves in the middle ends the engine’s work, and pays for what it saw', async () => {
    const { data, response } = await client.responses
      .create({ model, input: 'Write a novel.', max_output_tokens: 4000, stream: true })
      .withResponse();
    let seen = 0;
    for await (const event of data) {
      if (event.type === 'response.output_text.delta') seen += 1;
      if (seen >= 5) break;
    }
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'client_aborted', tokenSource: 'counted' });
    const truth = await books.truthOf(row.requestId);
    expect(truth?.aborted).toBe(true);
    expect(row.tokens.output).toBeGreaterThanOrEqual(5);
    expect(row.tokens.output).toBeLessThanOrEqual(truth?.completionTokens ?? 0);
  });

  it.each([
    ['breaks off', 'cut-after=6', 6],
    ['errs in the middle', 'error-event-after=4', 4],
    ['loses its last events', 'no-done', 9],
  ])('a stream that %s is no completed one, and its tokens so far are on record', async (_name, fault, output) => {
    const { data, response } = await client.responses
      .create(
        { model, input: 'Say something.', max_output_tokens: 9, stream: true },
        { headers: { 'x-simulate': fault } },
      )
      .withResponse();
    const seen = await readStream(data).then(
      ({ types }) => types.at(-1),
      () => 'threw',
    );
    expect(['threw', 'error', 'response.failed']).toContain(seen);
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'upstream_error', tokenSource: 'counted', tokens: { output } });
  });
});

describe('Responses of the OpenAI SDK through the gateway', () => {
  it.each(['trtllm', 'vllm'])('a call streams piece by piece on %s', async (model) => {
    const parameters = { type: 'object', properties: { query: { type: 'string' } } };
    const tools = [{ type: 'function' as const, name: 'lookup', strict: false, parameters }];
    const { data, response } = await client.responses
      .create({ model, input: 'Look it up.', tools, tool_choice: 'required', stream: true })
      .withResponse();
    const { types, args, last } = await readStream(data);
    expect(types).toContain('response.function_call_arguments.done');
    expect(JSON.parse(args)).toEqual({ query: expect.any(String) });
    expect(last).toMatchObject({ response: { output: [{ type: 'function_call', name: 'lookup', arguments: args }] } });
    await books.expectReported(idOf(response), ROUTE);
  });

  it('an older server that says usage null is counted by its stream, and estimated without one', async () => {
    const { data, response } = await client.responses
      .create({ model: 'older', input: 'Say something.', max_output_tokens: 8, stream: true })
      .withResponse();
    const { last } = await readStream(data);
    expect(last).toMatchObject({ response: { usage: null } });
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'completed', tokenSource: 'counted', tokens: { output: 8 } });
    const whole = await client.responses
      .create({ model: 'older', input: 'Say something.', max_output_tokens: 8 })
      .withResponse();
    expect(whole.data.usage).toBeNull();
    expect(await books.recordOf(idOf(whole.response))).toMatchObject({
      outcome: 'completed',
      tokenSource: 'estimated',
    });
  });

  it('an engine that falls silent is given up, and the SDK told so', async () => {
    const { data, response } = await client.responses
      .create(
        { model: 'falters', input: 'Say something.', max_output_tokens: 50, stream: true },
        { headers: { 'x-simulate': 'stall-after=3' } },
      )
      .withResponse();
    const seen = await readStream(data).then(
      ({ types }) => types.at(-1),
      () => 'threw',
    );
    expect(['threw', 'error', 'response.failed']).toContain(seen);
    const row = await books.recordOf(idOf(response));
    expect(row).toMatchObject({ outcome: 'timed_out', tokenSource: 'counted', tokens: { output: 3 } });
  });

  it('transformers streams a request that says nothing of streaming, and it is counted all the same', async () => {
    const answer = await post(ROUTE, { model: 'transformers', input: 'hi', max_output_tokens: 6 });
    expect(answer.headers.get('content-type')).toMatch('text/event-stream');
    expect(await answer.text()).toContain('response.completed');
    await books.expectReported(idOf(answer), ROUTE);
  });

  it('transformers says itself which fields it does not know', async () => {
    const error = await client.responses.create({ model: 'transformers', input: 'hi', store: false }).then(
      () => undefined,
      (thrown: unknown) => thrown as APIError,
    );
    expect(error).toBeInstanceOf(UnprocessableEntityError);
    await books.expectRefused(error?.headers?.get('x-inferometer-request-id'), 422);
  });

  it.each(listLacking('responses'))('%s has no such route: the SDK gets its 404', async (model) => {
    const error = await client.responses.create({ model, input: 'x' }).then(
      () => undefined,
      (thrown: unknown) => thrown as APIError,
    );
    expect(error).toBeInstanceOf(NotFoundError);
    await books.expectRefused(error?.headers?.get('x-inferometer-request-id'), 404);
  });
});

describe('rerank and score through the gateway', () => {
  const documents = ['the sea', 'a stone', { text: 'an old song' }];

  it.each(listServing('rerank'))('%s ranks, and the pairs are counted as input only', async (model) => {
    const answer = await post('/v1/rerank', { model, query: 'water', documents, top_n: 2 });
    const { results, usage } = (await answer.json()) as { results: unknown[]; usage: { total_tokens: number } };
    expect([answer.status, results.length]).toEqual([200, 2]);
    const row = await books.expectReported(idOf(answer), '/v1/rerank');
    expect(row.tokens).toMatchObject({ input: usage.total_tokens, output: 0 });
  });

  it.each(listLacking('rerank'))('%s has no rerank: its 404 comes through', async (model) => {
    const answer = await post('/v1/rerank', { model, query: 'water', documents });
    expect(answer.status).toBe(404);
    await books.expectRefused(idOf(answer), 404);
  });

  it('score is forwarded where the deployment says so, and metered by its time', async () => {
    const answer = await post('/v1/score', { model: 'ranker', text_1: 'water', text_2: ['the sea', 'a stone'] });
    expect(await answer.json()).toMatchObject({ data: [{ object: 'score' }, { object: 'score' }] });
    const row = await books.recordOf(idOf(answer));
    expect(row).toMatchObject({ outcome: 'completed', route: '/v1/score', tokenSource: 'unknown' });
    const elsewhere = await post('/v1/score', { model: 'older', text_1: 'water', text_2: 'the sea' });
    expect([elsewhere.status, await elsewhere.json()]).toMatchObject([404, { error: { code: 'route_not_found' } }]);
  });

  it('in the end every request has its cost and the books close', async () => {
    await books.expectSettled();
  }, 90_000);
});
