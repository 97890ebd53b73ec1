// Every metered route × whole or streamed × what is said of usage × how it ends. The complaints behind the rows stand in other gateways'
// trackers: unbilled aborts, estimates in place of zeros, error texts billed as output, cached tokens counted twice.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, answerStream } from '#test/support/fake-engine.ts';
import { type Harness, send, startHarness, SEARCH_KEY } from './harness.ts';
import { CHAT, MESSAGES, RESPONSES, type RouteShapeCase, type SaidUsage, STREAMING } from './route-shapes.ts';

const FULL: SaidUsage = { prompt: 9, cached: 4, completion: 7, reasoning: 2 };
const ZERO: SaidUsage = { prompt: 0, cached: 0, completion: 0, reasoning: 0 };

/** Disjoint buckets of what was said, as the route can say it. */
const bucketsOf = (route: RouteShapeCase, usage: SaidUsage): object => ({
  input: usage.prompt - usage.cached,
  cachedInput: usage.cached,
  output: route === MESSAGES ? usage.completion : usage.completion - usage.reasoning,
  reasoning: route === MESSAGES ? null : usage.reasoning,
});

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

const ask = (route: RouteShapeCase, stream: boolean) =>
  send(harness.port, { path: route.path, body: { ...route.body, ...(stream ? { stream } : {}) } });

const record = () => {
  expect(harness.metering.records).toHaveLength(1);
  return harness.metering.records[0];
};

describe.each(STREAMING.map((route) => [route.path, route] as const))('%s', (_path, route) => {
  it.each([
    ['everything', FULL],
    ['zero, which is a count', ZERO],
  ])('a whole answer that says %s is taken at its word', async (_name, usage) => {
    harness.engine.answerWith(answerJson(route.whole(usage)));
    const answer = await ask(route, false);
    expect(answer.text).toBe(JSON.stringify(route.whole(usage)));
    expect(record()).toMatchObject({ outcome: 'completed', tokenSource: 'reported', tokens: bucketsOf(route, usage) });
  });

  it('a whole answer with null usage is estimated, never zero and never reported', async () => {
    harness.engine.answerWith(answerJson(route.whole(null)));
    await ask(route, false);
    expect(record()).toMatchObject({ outcome: 'completed', tokenSource: 'estimated', tokens: { input: 1, output: 3 } });
  });

  it.each([
    ['everything', FULL],
    ['zero, which is a count', ZERO],
  ])(
    'a stream that says %s is taken at its word, its bytes unchanged but for what was asked for',
    async (_name, usage) => {
      const words = ['Hel', 'lo', ' you'].map((word) => route.content(word));
      const events = [...route.opening(usage), ...words, ...route.closing(usage)];
      harness.engine.answerWith(answerStream(events));
      const answer = await ask(route, true);
      expect(answer.text).toBe(events.filter((event) => !event.includes('"choices":[]')).join(''));
      expect(answer.complete).toBe(true);
      expect(record()).toMatchObject({
        outcome: 'completed',
        tokenSource: 'reported',
        tokens: bucketsOf(route, usage),
      });
    },
  );

  it('a stream without usage is counted, one token for each event with content', async () => {
    const words = ['Hel', 'lo', ' you'].map((word) => route.content(word));
    harness.engine.answerWith(answerStream([...route.opening(null), ...words, ...route.closing(null)]));
    await ask(route, true);
    expect(record()).toMatchObject({ outcome: 'completed', tokenSource: 'counted', tokens: { input: 1, output: 3 } });
  });

  it('an engine that breaks off has its tokens so far, and the client one error event and no clean end', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      const events = [...route.opening(FULL), route.content('Hel'), route.content('lo')];
      res.write(events.join(''), () => res.destroy());
    });
    const answer = await ask(route, true);
    expect(answer.complete).toBe(false);
    const event = answer.text.split('\n\n').at(-2) ?? '';
    expect(JSON.parse(event.slice(event.indexOf('data: ') + 6))).toMatchObject(route.broken);
    expect(event.startsWith('event: error\n')).toBe(route === RESPONSES || route === MESSAGES);
    expect(answer.text.match(/upstream_unreachable/g)).toHaveLength(1);
    expect(answer.text).not.toContain('[DONE]');
    const prompt = route.saysPromptFirst ? { input: 5, cachedInput: 4 } : { input: 1, cachedInput: null };
    expect(record()).toMatchObject({
      outcome: 'upstream_error',
      tokenSource: 'counted',
      tokens: { ...prompt, output: 2 },
    });
  });

  it('a client that hangs up pays for what it was sent, not for nothing and not for all', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write([...route.opening(FULL), route.content('Hel'), route.content('lo'), route.content('!')].join(''));
    });
    const controller = new AbortController();
    const answer = await fetch(harness.url + route.path, {
      method: 'POST',
      headers: { authorization: `Bearer ${SEARCH_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...route.body, stream: true }),
      signal: controller.signal,
    });
    await answer.body?.getReader().read();
    controller.abort();
    await harness.metering.whenRecorded(1);
    await harness.engine.hungUp();
    expect(record()).toMatchObject({
      outcome: 'client_aborted',
      status: 200,
      tokenSource: 'counted',
      tokens: { output: 3 },
    });
  });

  it('a client that hangs up before any content pays for no output', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write([': hello\n\n', ...route.opening(null)].join(''));
    });
    const controller = new AbortController();
    const answer = await fetch(harness.url + route.path, {
      method: 'POST',
      headers: { authorization: `Bearer ${SEARCH_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...route.body, stream: true }),
      signal: controller.signal,
    });
    await answer.body?.getReader().read();
    controller.abort();
    await harness.metering.whenRecorded(1);
    expect(record()).toMatchObject({ outcome: 'client_aborted', tokenSource: 'counted', tokens: { output: 0 } });
  });

  it('a client that leaves after the last event has a completed request', async () => {
    const events = [...route.opening(FULL), route.content('Hello'), ...route.closing(FULL)];
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(events.join(''));
    });
    const controller = new AbortController();
    const answer = await fetch(harness.url + route.path, {
      method: 'POST',
      headers: { authorization: `Bearer ${SEARCH_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...route.body, stream: true }),
      signal: controller.signal,
    });
    await answer.body?.getReader().read();
    controller.abort();
    await harness.metering.whenRecorded(1);
    expect(record()).toMatchObject({ outcome: 'completed', tokenSource: 'reported', tokens: bucketsOf(route, FULL) });
  });

  it('an error in the middle is an error, and its text is nobody’s output', async () => {
    const events = [...route.opening(null), route.content('Hel'), route.error, ...route.closing(null)];
    harness.engine.answerWith(answerStream(events));
    const answer = await ask(route, true);
    expect(answer.text).toBe(events.join(''));
    expect(record()).toMatchObject({ outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 1 } });
  });
});

describe('what single routes have of their own', () => {
  it.each([
    ['response.incomplete', 'completed'],
    ['response.failed', 'upstream_error'],
  ])('%s says usage too and is %s', async (type, outcome) => {
    const usage = { input_tokens: 9, output_tokens: 4 };
    const error = type === 'response.failed' ? { code: 'server_error', message: 'no' } : null;
    const last = `event: ${type}\ndata: ${JSON.stringify({ type, response: { error, usage } })}\n\n`;
    harness.engine.answerWith(answerStream([...RESPONSES.opening(null), RESPONSES.content('x'), last]));
    await ask(RESPONSES, true);
    expect(record()).toMatchObject({ outcome, tokenSource: 'reported', tokens: { input: 9, output: 4 } });
  });

  it('a Responses stream needs no [DONE] to be whole, and one that ends without its last event is not', async () => {
    harness.engine.answerWith(answerStream([...RESPONSES.opening(null), RESPONSES.content('x')]));
    await ask(RESPONSES, true);
    expect(record()).toMatchObject({ outcome: 'upstream_error', tokens: { output: 1 } });
  });

  it('a chat stream that ends without finish and [DONE] is not whole', async () => {
    harness.engine.answerWith(answerStream([CHAT.content('x')]));
    await ask(CHAT, true);
    expect(record()).toMatchObject({ outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 1 } });
  });

  it('usage in the chunk that also has choices counts like any other', async () => {
    const last = {
      choices: [{ index: 0, delta: {}, finish_reason: 'stop' }],
      usage: { prompt_tokens: 8, completion_tokens: 3 },
    };
    harness.engine.answerWith(
      answerStream([CHAT.content('x'), `data: ${JSON.stringify(last)}\n\n`, 'data: [DONE]\n\n']),
    );
    await ask(CHAT, true);
    expect(record()).toMatchObject({ tokenSource: 'reported', tokens: { input: 8, output: 3 } });
  });

  const usages: readonly [string, object, number][] = [
    ['prompt and total', { usage: { prompt_tokens: 12, total_tokens: 12 } }, 12],
    ['a total alone, as older rerankers', { usage: { total_tokens: 12 } }, 12],
    ["Cohere's words", { meta: { tokens: { input_tokens: 12 }, billed_units: { search_units: 1 } } }, 12],
    ['zero', { usage: { prompt_tokens: 0, total_tokens: 0 } }, 0],
  ];
  it.each(usages)('rerank and embeddings are prompt alone: %s', async (_name, said, input) => {
    for (const path of ['/v1/rerank', '/v1/embeddings']) {
      harness.engine.answerWith(answerJson({ data: [], results: [], ...said }));
      await send(harness.port, {
        path,
        body: { model: 'llama-3.1-70b', query: 'q', documents: ['a', 'b'], input: 'x' },
      });
    }
    expect(harness.metering.records).toMatchObject([1, 2].map(() => ({ tokenSource: 'reported', tokens: { input } })));
    expect(harness.metering.starts.map(({ prefillOnly }) => prefillOnly)).toEqual([true, true]);
  });

  it('without usage the texts of query and documents are the estimate', async () => {
    harness.engine.answerWith(answerJson({ results: [] }));
    const body = { model: 'llama-3.1-70b', query: 'four', documents: ['eight by', { text: 'twelve bytes' }] };
    await send(harness.port, { path: '/v1/rerank', body });
    expect(record()).toMatchObject({ tokenSource: 'estimated', tokens: { input: 6, output: 0 } });
  });

  it.each([
    ['n', { n: 3 }, 3],
    ['best_of beyond n: the engine works on more than it returns', { n: 2, best_of: 5 }, 5],
    ['list prompts', { prompt: ['a', 'b'], n: 2 }, 4],
    ['token ids are one prompt', { prompt: [1, 2, 3] }, 1],
    ['lists of token ids', { prompt: [[1, 2], [3]] }, 2],
    ['nonsense is one', { n: -1, best_of: 'many' }, 1],
  ])('the engine’s sequences are known: %s', async (_name, body, sequences) => {
    await send(harness.port, { path: '/v1/completions', body: { model: 'llama-3.1-70b', prompt: 'x', ...body } });
    expect(harness.metering.starts).toMatchObject([{ sequences }]);
  });

  it('prompts in a list are told apart from several answers to one', async () => {
    const body = { model: 'llama-3.1-70b', prompt: ['a', 'b', 'c'], n: 2 };
    await send(harness.port, { path: '/v1/completions', body });
    await send(harness.port, { path: '/v1/embeddings', body: { model: 'llama-3.1-70b', input: ['a', 'b'] } });
    expect(harness.metering.starts).toMatchObject([
      { sequences: 6, promptCount: 3 },
      { sequences: 2, promptCount: 2, prefillOnly: true },
    ]);
  });

  it('stream_options goes with stream: true alone', async () => {
    for (const stream of [undefined, false, 'true', null]) {
      await send(harness.port, { path: CHAT.path, body: { ...CHAT.body, stream } });
    }
    expect(harness.engine.requests.map(({ body }) => body.includes('stream_options'))).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });
});

describe('tokens of a stream whose engine says no usage', () => {
  const chunk = (rest: object): string => `data: ${JSON.stringify({ choices: [{ index: 0, ...rest }] })}\n\n`;
  const listed = (count: number): object => ({
    content: Array.from({ length: count }, () => ({
      token: 'a',
      logprob: -1,
      bytes: [97],
      top_logprobs: [{ token: 'b', logprob: -2 }],
    })),
  });
  const finish = ['data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n', 'data: [DONE]\n\n'];
  it.each([
    [
      'logprobs of chat',
      CHAT.path,
      [
        chunk({ delta: { content: 'abc' }, logprobs: listed(3) }),
        chunk({ delta: { content: 'd' }, logprobs: listed(1) }),
      ],
      4,
    ],
    [
      'logprobs of completions',
      '/v1/completions',
      [chunk({ text: 'ab', logprobs: { tokens: ['a', 'b'], token_logprobs: [-1, null], top_logprobs: [] } })],
      2,
    ],
    [
      'token ids',
      '/v1/completions',
      [chunk({ text: 'ab', token_ids: [1, 2, 3] }), chunk({ text: 'c', token_ids: [4] })],
      4,
    ],
    [
      'events without them at the mean of the others',
      CHAT.path,
      [chunk({ delta: { content: 'abc' }, logprobs: listed(3) }), chunk({ delta: { content: 'd' } })],
      6,
    ],
    [
      'nothing: one for each event',
      CHAT.path,
      [chunk({ delta: { content: 'a' } }), chunk({ delta: { content: '\\"' } })],
      2,
    ],
    [
      'long events by their bytes',
      CHAT.path,
      [chunk({ delta: { content: 'x'.repeat(40) } }), chunk({ delta: { content: 'y'.repeat(40) } })],
      20,
    ],
  ])('%s', async (_name, path, events, output) => {
    harness.engine.answerWith(answerStream([...events, ...finish]));
    await send(harness.port, { path, body: { ...CHAT.body, prompt: 'x', stream: true } });
    expect(record()).toMatchObject({ tokenSource: 'counted', tokens: { output } });
  });

  it('the pace of earlier streams of the same engine counts a cut one: four tokens an event', async () => {
    const words = Array.from({ length: 10 }, () => CHAT.content('one two'));
    harness.engine.answerWith(answerStream([...words, ...CHAT.closing({ ...FULL, completion: 40 })]));
    await ask(CHAT, true);
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(words.slice(0, 3).join(''), () => res.destroy());
    });
    await ask(CHAT, true);
    expect(harness.metering.records[1]).toMatchObject({ tokenSource: 'counted', tokens: { output: 12 } });
  });
});
