// The Messages and Responses protocols of the flavours on the wire: events in their order and numbers, usage in each one's words, faults.
import { afterEach, describe, expect, it } from 'vitest';
import { type FlavorName, type Simulator, type SimulatorOptions, startSimulator } from '#simulator/start-simulator.ts';

const model = 'llama-3.1-8b';
const LONG = 'words that fill blocks of the cache '.repeat(30);
let simulator: Simulator | undefined;

afterEach(async () => {
  await simulator?.close();
  simulator = undefined;
});

async function start(flavor: FlavorName, options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  simulator = await startSimulator({ flavor, model, seed: 3, networkOverheadMs: 0, noiseCv: 0, ...options });
  return simulator;
}

async function post(path: string, body: object, fault?: string): Promise<Response> {
  const headers = { 'content-type': 'application/json', ...(fault === undefined ? {} : { 'x-simulate': fault }) };
  return fetch(`${simulator?.url}${path}`, { method: 'POST', headers, body: JSON.stringify({ model, ...body }) });
}

interface Event {
  /** The line `event:`; null without. */
  readonly name: string | null;
  readonly data: Record<string, unknown>;
}

function readEvents(text: string): Event[] {
  const blocks = text.split('\n\n').filter((block) => block !== '' && block !== 'data: [DONE]');
  return blocks.map((block) => ({
    name: /^event: (.*)$/m.exec(block)?.[1] ?? null,
    data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '') as Record<string, unknown>,
  }));
}

const message = (content: string, fields: object = {}) => ({
  max_tokens: 3,
  messages: [{ role: 'user', content }],
  ...fields,
});
const tools = [{ name: 'f', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];

describe('the Messages protocol', () => {
  it.each(['trtllm', 'vllm'] as const)(
    '%s opens, fills and closes one block, named twice in every event',
    async (flavor) => {
      await start(flavor);
      const text = await (await post('/v1/messages', message('hi', { stream: true }))).text();
      const events = readEvents(text);
      expect(events.map(({ name }) => name)).toEqual([
        'message_start',
        'content_block_start',
        'content_block_delta',
        'content_block_delta',
        'content_block_delta',
        'content_block_stop',
        'message_delta',
        'message_stop',
      ]);
      for (const { name, data } of events) expect(data['type']).toBe(name);
      expect(events.at(-2)?.data).toMatchObject({ delta: { stop_reason: 'max_tokens' }, usage: { output_tokens: 3 } });
      // vLLM alone writes the mark of OpenAI's streams after the last event of Anthropic's.
      expect(text.endsWith('data: [DONE]\n\n')).toBe(flavor === 'vllm');
    },
  );

  it.each([
    ['trtllm', {}, 'parted', 'parted'],
    ['vllm', {}, 'whole', 'whole'],
    ['vllm', { promptTokensDetails: true }, 'parted', 'whole'],
  ] as const)(
    'what came from the cache on %s %o: %s in the end, %s at the start',
    async (flavor, options, end, begin) => {
      const running = await start(flavor, options);
      const ask = async () => ((await (await post('/v1/messages', message(LONG))).json()) as { usage: unknown }).usage;
      await ask();
      const usage = await ask();
      const truth = running.truth().requests.at(-1);
      const [prompt, cached] = [truth?.promptTokens ?? 0, truth?.cachedTokens ?? 0];
      expect(cached).toBeGreaterThan(100);
      const input = { whole: { input_tokens: prompt }, parted: { input_tokens: prompt - cached } };
      expect(usage).toMatchObject({ ...input[end], output_tokens: 3 });
      const stream = readEvents(await (await post('/v1/messages', message(LONG, { stream: true }))).text());
      expect(stream[0]?.data['message']).toMatchObject({ usage: { ...input[begin], output_tokens: 0 } });
      expect(stream.at(-2)?.data).toMatchObject({ usage: { ...input[end], output_tokens: 3 } });
      for (const said of [usage, stream.at(-2)?.data['usage']]) {
        const read = (said as Record<string, unknown>)['cache_read_input_tokens'];
        expect(read).toBe(end === 'whole' ? undefined : cached);
      }
    },
  );

  it('a call is a block of its own whose pieces join to its input; a demanded one is refused by trtllm', async () => {
    await start('trtllm');
    const asked = message('call the tool', { tools, max_tokens: 99 });
    const whole = (await (await post('/v1/messages', asked)).json()) as { content: { input: unknown }[] };
    const events = readEvents(await (await post('/v1/messages', { ...asked, stream: true })).text());
    expect(events[1]?.data['content_block']).toMatchObject({ type: 'tool_use', name: 'f', input: {} });
    const pieces = events.flatMap(({ data }) => (data['delta'] as { partial_json?: string })?.partial_json ?? []);
    expect(JSON.parse(pieces.join(''))).toEqual(whole.content[0]?.input);
    expect(events.at(-2)?.data).toMatchObject({ delta: { stop_reason: 'tool_use' } });
    const demanded = await post('/v1/messages', { ...asked, tool_choice: { type: 'any' } });
    expect([demanded.status, await demanded.json()]).toMatchObject([
      400,
      { type: 'error', error: { type: 'invalid_request_error' } },
    ]);
    const counted = await post('/v1/messages/count_tokens', { messages: asked.messages, tools });
    expect(await counted.json()).toEqual({ input_tokens: simulator?.truth().requests[0]?.promptTokens });
  });

  it('what is missing or broken is refused in Anthropic’s envelope', async () => {
    await start('vllm');
    const refusals = [
      { messages: [] },
      { max_tokens: 4 },
      { max_tokens: 4, messages: 'x' },
      { ...message('x'), model: 'y' },
    ];
    for (const body of refusals) {
      const answer = await post('/v1/messages', body);
      expect([answer.status, await answer.json()]).toMatchObject([
        'model' in body ? 404 : 400,
        { type: 'error', error: { type: expect.any(String), message: expect.any(String) } },
      ]);
    }
  });
});

describe('the Responses protocol', () => {
  it.each(['trtllm', 'vllm', 'transformers'] as const)(
    '%s numbers its events without a gap, text and call alike',
    async (flavor) => {
      await start(flavor);
      const call = {
        tools: [{ type: 'function', name: 'f', parameters: tools[0]?.input_schema }],
        max_output_tokens: 60,
      };
      for (const body of [
        { input: 'hi', max_output_tokens: 4 },
        { input: 'call the tool', ...call },
      ]) {
        const events = readEvents(await (await post('/v1/responses', { ...body, stream: true })).text());
        expect(events.map(({ data }) => data['sequence_number'])).toEqual([...events.keys()]);
        expect(events.slice(0, 3).map(({ data }) => data['type'])).toEqual([
          'response.created',
          'response.in_progress',
          'response.output_item.added',
        ]);
        // transformers serve names an event in its data alone.
        for (const { name, data } of events) expect(name).toBe(flavor === 'transformers' ? null : data['type']);
        const truth = simulator?.truth().requests.at(-1);
        expect(events.at(-1)?.data['response']).toMatchObject({
          id: truth?.id,
          usage: { input_tokens: truth?.promptTokens, output_tokens: truth?.completionTokens },
        });
      }
    },
  );

  it('an answer cut by its limit ends incomplete where the engine says so', async () => {
    for (const [flavor, last] of [
      ['trtllm', 'response.incomplete'],
      ['vllm', 'response.completed'],
    ] as const) {
      const running = await start(flavor);
      const body = { input: 'hi', max_output_tokens: 4, stream: true };
      expect(readEvents(await (await post('/v1/responses', body)).text()).at(-1)?.name).toBe(last);
      await running.close();
    }
    simulator = undefined;
  });

  it('transformers streams unless told otherwise, and refuses the fields it does not know', async () => {
    await start('transformers');
    expect((await post('/v1/responses', { input: 'hi' })).headers.get('content-type')).toMatch('text/event-stream');
    const whole = await post('/v1/responses', { input: 'hi', stream: false, max_output_tokens: 2 });
    expect(await whole.json()).toMatchObject({ object: 'response', status: 'completed' });
    expect((await post('/v1/responses', { input: 'hi', store: true })).status).toBe(422);
  });

  it('an older server says usage null, streamed or not', async () => {
    await start('trtllm', { noUsage: true });
    const body = { input: [{ role: 'user', content: 'hi' }], instructions: 'Be brief.', max_output_tokens: 4 };
    expect(await (await post('/v1/responses', body)).json()).toMatchObject({ usage: null });
    const events = readEvents(await (await post('/v1/responses', { ...body, stream: true })).text());
    expect(events.at(-1)?.data['response']).toMatchObject({ usage: null });
  });
});

describe('faults', () => {
  it.each([
    ['/v1/messages', message('hi', { max_tokens: 9 }), 'content_block_delta'],
    ['/v1/responses', { input: 'hi', max_output_tokens: 9 }, 'response.output_text.delta'],
  ])('%s breaks off, errs and loses its end as asked', async (path, body, delta) => {
    await start('trtllm');
    const stream = { ...body, stream: true };
    const tokensIn = (text: string) => text.split(`event: ${delta}`).length - 1;
    const erring = await (await post(path, stream, 'error-event-after=2')).text();
    expect(tokensIn(erring)).toBe(2);
    expect(readEvents(erring).at(-1)).toMatchObject({ name: 'error', data: { type: 'error' } });
    const endless = await (await post(path, stream, 'no-done')).text();
    expect(tokensIn(endless)).toBe(9);
    expect(readEvents(endless).at(-1)?.name).toBe(delta);
    await expect((await post(path, stream, 'cut-after=2')).text()).rejects.toThrow();
    expect(((await (await post(path, body, 'no-usage')).json()) as { usage?: unknown }).usage ?? null).toBeNull();
    expect(JSON.stringify(await (await post(path, body, 'usage-zero')).json())).toContain('"input_tokens":0');
  });
});

describe('rerank and score', () => {
  it('vllm ranks each document by the pair it makes with the query, prompt tokens alone', async () => {
    const running = await start('vllm');
    const body = { query: 'which', documents: ['one', { text: 'two' }, 'three'], top_n: 2 };
    const answer = (await (await post('/v1/rerank', body)).json()) as {
      results: { index: number; document: { text: string }; relevance_score: number }[];
      usage: { prompt_tokens: number; total_tokens: number };
    };
    expect(answer.results).toHaveLength(2);
    expect(answer.results[0]?.relevance_score).toBeGreaterThanOrEqual(answer.results[1]?.relevance_score ?? 1);
    for (const { index, document } of answer.results) expect(document.text).toBe(['one', 'two', 'three'][index]);
    const [truth] = running.truth().requests;
    expect(truth).toMatchObject({ promptTokens: answer.usage.total_tokens, completionTokens: 0, decodeMs: 0 });
    const scored = await post('/v1/score', { text_1: 'which', text_2: ['one', 'two'] });
    expect(await scored.json()).toMatchObject({
      data: [{ index: 0 }, { index: 1 }],
      usage: { total_tokens: expect.any(Number) },
    });
    expect((await post('/v1/rerank', { query: 'x' })).status).toBe(400);
  });

  it.each([
    ['triton', '/v1/messages'],
    ['triton', '/v1/responses'],
    ['triton', '/v1/rerank'],
    ['transformers', '/v1/messages'],
    ['transformers', '/v1/embeddings'],
    ['trtllm', '/v1/rerank'],
    ['kserve', '/v1/messages'],
  ] as const)('%s has no %s', async (flavor, path) => {
    await start(flavor);
    expect((await post(path, message('x'))).status).toBe(404);
  });
});
