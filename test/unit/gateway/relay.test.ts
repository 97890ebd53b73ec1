import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, answerStream, CHAT_ANSWER, chatEvents, createGate } from '#test/support/fake-engine.ts';
import { chatBody, type Harness, send, startHarness } from './harness.ts';

describe('relay', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness();
  });
  afterEach(() => harness.close());

  it('an answer reaches the client byte for byte and leaves one record with the reported tokens', async () => {
    const answer = await send(harness.port, { headers: { 'x-request-id': 'mine-1' } });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(JSON.stringify(CHAT_ANSWER));
    expect(answer.headers['x-request-id']).toBe('mine-1');
    expect(answer.headers['x-inferometer-deployment']).toBe('llama-70b');
    expect(answer.headers['x-inferometer-upstream']).toBe('trt-1');
    expect(answer.headers['server-timing']).toMatch(/^gateway;dur=\d+\.\d{3}$/);
    expect(harness.metering.records).toMatchObject([
      {
        team: 'search',
        project: 'ranking',
        clientRequestId: 'mine-1',
        requestId: answer.headers['x-inferometer-request-id'],
        outcome: 'completed',
        status: 200,
        tokens: { input: 5, cachedInput: 2, output: 3, reasoning: null },
        tokenSource: 'reported',
        model: 'llama-3.1-70b',
        upstream: 'trt-1',
        lastAttempt: true,
      },
    ]);
  });

  it('usage is asked for by splicing, and its chunk is taken out again while every other byte stays', async () => {
    harness.engine.answerWith(answerStream(chatEvents(['Hel', 'lo'], { usage: true })));
    const answer = await send(harness.port, { body: '{"model":"llama-3.1-70b","stream":true,"messages":[]}' });
    expect(answer.text).toBe(chatEvents(['Hel', 'lo'], { usage: false }).join(''));
    expect(harness.engine.requests[0]?.body.toString()).toBe(
      '{"stream_options":{"include_usage":true},"model":"served","stream":true,"messages":[]}',
    );
    expect(harness.metering.records).toMatchObject([
      { outcome: 'completed', tokens: { input: 5, output: 2 }, tokenSource: 'reported', stream: true },
    ]);
    expect(harness.metering.contents.reduce((sum, { steps }) => sum + steps, 0)).toBe(2);
  });

  it('a client that asked for usage gets the stream untouched', async () => {
    const events = chatEvents(['Hel', 'lo'], { usage: true });
    harness.engine.answerWith(answerStream(events));
    const answer = await send(harness.port, { body: chatBody({ stream: true, stream_options: {} }) });
    expect(answer.text).toBe(events.join(''));
  });

  const named = (events: [string, object][]): string[] =>
    events.map(([event, data]) => `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`);
  const streams: [string, string, string[], object][] = [
    [
      'Responses',
      '/v1/responses',
      named([
        ['response.created', { response: { usage: null, error: null } }],
        ['response.output_text.delta', { delta: 'Hel' }],
        ['response.output_text.delta', { delta: 'lo' }],
        [
          'response.completed',
          {
            response: {
              error: null,
              usage: { input_tokens: 9, output_tokens: 4, input_tokens_details: { cached_tokens: 3 } },
            },
          },
        ],
      ]),
      { tokens: { input: 6, cachedInput: 3, output: 4 } },
    ],
    [
      'Anthropic messages',
      '/v1/messages',
      named([
        ['message_start', { message: { usage: { input_tokens: 9, cache_read_input_tokens: 3, output_tokens: 1 } } }],
        ['content_block_start', { content_block: { type: 'text', text: '' } }],
        ['content_block_delta', { delta: { type: 'text_delta', text: 'Hel' } }],
        ['content_block_delta', { delta: { type: 'input_json_delta', partial_json: '{' } }],
        ['message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 4 } }],
        ['message_stop', {}],
      ]),
      { tokens: { input: 9, cachedInput: 3, output: 4 } },
    ],
    [
      'list prompts with one usage chunk each',
      '/v1/completions',
      [
        'data: {"id":"a","choices":[{"index":0,"text":"x","finish_reason":"stop"}],"usage":null}\n\n',
        'data: {"id":"b","choices":[{"index":1,"text":"y","finish_reason":"stop"}],"usage":null}\n\n',
        'data: {"id":"a","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3}}\n\n',
        'data: {"id":"b","choices":[],"usage":{"prompt_tokens":2,"completion_tokens":1}}\n\n',
        'data: [DONE]\n\n',
      ],
      { tokens: { input: 6, output: 4 } },
    ],
  ];
  it.each(streams)('a stream is metered in the words of its protocol: %s', async (_name, path, events, record) => {
    harness.engine.answerWith(answerStream(events));
    const answer = await send(harness.port, {
      path,
      body: { model: 'llama-3.1-70b', stream: true, prompt: ['a', 'b'] },
    });
    expect(answer.text).toBe(events.filter((event) => !event.includes('"choices":[]')).join(''));
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported', ...record }]);
    expect(harness.metering.contents.reduce((sum, { steps }) => sum + steps, 0)).toBe(2);
    const asks = harness.engine.requests[0]?.body.includes('stream_options');
    expect(asks).toBe(path === '/v1/completions');
  });

  it('a stream of an engine that breaks mid-way tells an Anthropic client in its own words', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('event: ping\ndata: {"type":"ping"}\n\n', () => res.destroy());
    });
    const answer = await send(harness.port, { path: '/v1/messages', body: { model: 'llama-3.1-70b', stream: true } });
    expect(answer.complete).toBe(false);
    const [, event] = answer.text.split('\n\n');
    expect(event?.startsWith('event: error\ndata: {"type":"error"')).toBe(true);
  });

  it('usage is found at the end of an answer too large to be parsed whole', async () => {
    const embedding = Array.from({ length: 100_000 }, (_, index) => index / 7);
    const body = {
      object: 'list',
      data: [{ embedding, usage: { prompt_tokens: 1 } }],
      usage: { prompt_tokens: 12, total_tokens: 12 },
    };
    harness.engine.answerWith(answerJson(body));
    const answer = await send(harness.port, { path: '/v1/embeddings', body: { model: 'llama-3.1-70b', input: 'x' } });
    expect(answer.body.length).toBeGreaterThan(1024 * 1024);
    expect(answer.text).toBe(JSON.stringify(body));
    expect(harness.metering.records).toMatchObject([{ tokens: { input: 12, output: 0 }, tokenSource: 'reported' }]);
  });

  it('an engine that ignores include_usage is counted from its stream, the prompt estimated from its text', async () => {
    const events = chatEvents(['Hel', 'lo', '!'], { usage: false });
    harness.engine.answerWith(answerStream(events));
    const answer = await send(harness.port, { body: chatBody({ stream: true }) });
    expect(answer.text).toBe(events.join(''));
    expect(harness.metering.records).toMatchObject([
      {
        outcome: 'completed',
        tokenSource: 'counted',
        tokens: { input: 4, cachedInput: null, output: 3, reasoning: null },
      },
    ]);
    expect(harness.metering.records[0]?.timeToFirstTokenMs).toBeGreaterThan(0);
  });

  it('time to first token is that of the first content, not of the role chunk', async () => {
    const gap = createGate();
    const [role = '', ...rest] = chatEvents(['Hel', 'lo'], { usage: true });
    harness.engine.answerWith(async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(role);
      await gap.opened;
      res.end(rest.join(''));
    });
    const answered = send(harness.port, { body: chatBody({ stream: true }) });
    while (harness.metering.upstreamBytes.length < 2) await new Promise((resolve) => setImmediate(resolve));
    harness.clock.advance(5000);
    gap.open();
    await answered;
    expect(harness.metering.records[0]?.timeToFirstTokenMs).toBeGreaterThan(5000);
  });
});
