// Streams that an engine ends cleanly although they are not whole, and those that look cut and are whole: for the client the first are broken,
// the second untouched (contract §4 "Cut streams").
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EngineName } from '#config/config.ts';
import { answerStream, type Script } from '#test/support/fake-engine.ts';
import { createChatAndRanker } from './chat-and-ranker.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';
import { CHAT, COMPLETIONS, MESSAGES, RESPONSES, type RouteShapeCase, STREAMING } from './route-shapes.ts';

const USAGE = { prompt: 9, cached: 4, completion: 7, reasoning: 2 };

const GENERATE: Pick<RouteShapeCase, 'path' | 'body' | 'content' | 'broken'> = {
  path: '/v2/models/ranker/generate_stream',
  body: { text_input: 'x', return_num_input_tokens: false, return_num_output_tokens: false },
  content: (word) => `data: ${JSON.stringify({ model_name: 'ranker', text_output: word })}\n\n`,
  broken: { error: 'The engine broke off its answer.' },
};

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness((url) => createConfig(createChatAndRanker(url)));
});
afterEach(() => harness.close());

const useEngine = (engine: EngineName): void =>
  harness.gateway.reload(
    createConfig([createDeploymentConfig([createUpstreamConfig(harness.engine.url)], { engine })]),
  );

const answerPosts = (script: Script): void =>
  harness.engine.answerWith((res, request) => (request.method === 'POST' ? script(res, request) : void res.end('{}')));

const ask = (route: Pick<RouteShapeCase, 'path' | 'body'>, fields: object = {}) =>
  send(harness.port, { path: route.path, body: { ...route.body, stream: true, ...fields } });

/** The data of the last event. */
const lastEvent = (text: string): unknown => {
  const event = text.split('\n\n').at(-2) ?? '';
  return JSON.parse(event.slice(event.indexOf('data: ') + 6));
};

describe.each([...STREAMING, GENERATE].map((route) => [route.path, route] as const))('%s', (path, route) => {
  const opening = 'opening' in route ? (route as RouteShapeCase).opening(null) : [];
  const words = [...opening, route.content('Hel'), route.content('lo')];
  const half = route.content(' you').slice(0, -12);
  const isOpenai = path === CHAT.path || path === COMPLETIONS.path;
  /** With usage of its own asked for, the gateway takes nothing out of a stream; without, events are held until they are whole. */
  const ways: readonly [string, object][] = isOpenai
    ? [
        ['passed on as it comes', { stream_options: { include_usage: true } }],
        ['with the usage chunk to be taken out', {}],
      ]
    : [['', {}]];

  it.each(ways)('a clean end in the middle of an event is a break %s', async (_way, fields) => {
    answerPosts(answerStream([...words, half]));
    const answer = await ask(route, fields);
    expect(answer.complete).toBe(false);
    expect(answer.text.startsWith(words.join(''))).toBe(true);
    expect(lastEvent(answer.text)).toMatchObject(route.broken);
    expect(answer.text).not.toContain('[DONE]');
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 200, lastAttempt: true }]);
  });

  it.each(ways)('an event that lacks only its blank line is whole %s', async (_way, fields) => {
    const closing = 'closing' in route ? (route as RouteShapeCase).closing(null) : [];
    const events = [...words, ...closing];
    for (const missing of [1, 2]) {
      answerPosts(answerStream([events.join('').slice(0, -missing)]));
      const answer = await ask(route, fields);
      expect(answer.complete).toBe(true);
      expect(answer.text).toBe(events.join('').slice(0, -missing));
      expect(harness.metering.records.at(-1)).toMatchObject({ outcome: 'completed', tokens: { output: 2 } });
    }
  });

  it('a comment cut at the end breaks nothing', async () => {
    const closing = 'closing' in route ? (route as RouteShapeCase).closing(null) : [];
    answerPosts(answerStream([...words, ...closing, ': keep-al']));
    const answer = await ask(route, { stream_options: { include_usage: true } });
    expect(answer.complete).toBe(true);
    expect(answer.text).toBe([...words, ...closing, ': keep-al'].join(''));
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed' }]);
  });
});

describe.each(STREAMING.map((route) => [route.path, route] as const))('%s', (_path, route) => {
  it('a clean end without its last event is a break: one error event, then no clean end', async () => {
    const words = [...route.opening(USAGE), route.content('Hel'), route.content('lo')];
    answerPosts(answerStream(words));
    const answer = await ask(route);
    expect(answer.complete).toBe(false);
    expect(answer.text.startsWith(words.join(''))).toBe(true);
    expect(lastEvent(answer.text)).toMatchObject(route.broken);
    expect(answer.text.match(/upstream_unreachable/g)).toHaveLength(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 200, tokens: { output: 2 } }]);
  });

  it.each([
    ['all of which came', 0],
    ['of which less is missing than an error event has', 9],
    ['of which much is missing', 5000],
  ])(
    'a break has its error event and no clean end whatever length its engine promised: one %s',
    async (_how, missing) => {
      const text = [...route.opening(USAGE), route.content('Hel')].join('');
      answerPosts((res) => {
        const length = Buffer.byteLength(text) + missing;
        res.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': length });
        res.write(text, () => (missing === 0 ? res.end() : res.destroy()));
      });
      // Asking for usage: the gateway takes nothing out, so that the length could have passed.
      const fields = route.path === CHAT.path ? { stream_options: { include_usage: true } } : {};
      const answer = await ask(route, fields);
      expect(answer).toMatchObject({ status: 200, complete: false });
      expect(answer.headers['content-length']).toBeUndefined();
      expect(answer.text.startsWith(text)).toBe(true);
      expect(lastEvent(answer.text)).toMatchObject(route.broken);
      expect(harness.metering.records).toMatchObject([
        { outcome: 'upstream_error', status: 200, lastAttempt: true, tokens: { output: 1 } },
      ]);
    },
  );

  it('a whole stream of a promised length is whole without it', async () => {
    const text = [...route.opening(USAGE), route.content('Hel'), ...route.closing(USAGE)].join('');
    answerPosts((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': Buffer.byteLength(text) }).end(text);
    });
    const answer = await ask(route, { stream_options: { include_usage: true } });
    expect(answer).toMatchObject({ status: 200, complete: true, text });
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported' }]);
  });

  it('a stream with nothing in it is a break', async () => {
    answerPosts(answerStream([]));
    const answer = await ask(route);
    expect(answer).toMatchObject({ status: 200, complete: false });
    expect(lastEvent(answer.text)).toMatchObject(route.broken);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', tokens: { output: 0 } }]);
  });

  it.each([
    ['ends', (text: string): Script => answerStream([text]), true],
    [
      'breaks',
      (text: string): Script =>
        (res) => {
          res.writeHead(200, { 'content-type': 'text/event-stream' }).write(text, () => res.destroy());
        },
      false,
    ],
  ] as const)(
    'an engine that says its error itself and then %s is the only one to say it',
    async (_how, script, whole) => {
      const text = [...route.opening(USAGE), route.content('Hel'), route.error].join('');
      answerPosts(script(text));
      const answer = await ask(route);
      expect(answer.complete).toBe(whole);
      expect(answer.text).toBe(text);
      expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', tokens: { output: 1 } }]);
    },
  );
});

describe('what looks cut and is whole', () => {
  it.each([CHAT, COMPLETIONS])('$path: a finish reason without [DONE]', async (route) => {
    const events = [route.content('Hel'), ...route.closing(USAGE).slice(0, -1)];
    answerPosts(answerStream(events));
    const answer = await ask(route, { stream_options: { include_usage: true } });
    expect(answer).toMatchObject({ complete: true, text: events.join('') });
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported' }]);
  });

  it('the finish of every choice without [DONE], and not that of one', async () => {
    const finish = (index: number): string =>
      `data: ${JSON.stringify({ choices: [{ index, delta: {}, finish_reason: 'stop' }] })}\n\n`;
    answerPosts(answerStream([CHAT.content('x'), finish(0), finish(1)]));
    expect((await ask(CHAT, { n: 2 })).complete).toBe(true);
    answerPosts(answerStream([CHAT.content('x'), finish(0)]));
    expect((await ask(CHAT, { n: 2 })).complete).toBe(false);
    const both = `data: ${JSON.stringify({ choices: [0, 1].map((index) => ({ index, finish_reason: 'stop' })) })}\n\n`;
    answerPosts(answerStream([CHAT.content('x'), both]));
    expect((await ask(CHAT, { n: 2 })).complete).toBe(true);
    // Candidates that are not returned say no end.
    answerPosts(answerStream([COMPLETIONS.content('x'), finish(0)]));
    expect((await ask(COMPLETIONS, { n: 1, best_of: 4 })).complete).toBe(true);
    expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual([
      'completed',
      'upstream_error',
      'completed',
      'completed',
    ]);
  });

  it('a stream of an engine that never says [DONE]', async () => {
    useEngine('transformers');
    answerPosts(answerStream([CHAT.content('Hel')]));
    expect(await ask(CHAT)).toMatchObject({ complete: true, text: CHAT.content('Hel') });
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed' }]);
  });

  it('a message with its stop reason and without message_stop', async () => {
    const events = [...MESSAGES.opening(USAGE), MESSAGES.content('Hel'), ...MESSAGES.closing(USAGE).slice(0, -1)];
    answerPosts(answerStream(events));
    expect(await ask(MESSAGES)).toMatchObject({ complete: true, text: events.join('') });
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported' }]);
  });

  it.each([
    [
      'type first, as OpenAI writes it',
      (response: object) => ({ type: 'response.completed', sequence_number: 9, response }),
    ],
    [
      'type last, as vLLM writes it',
      (response: object) => ({ response, sequence_number: 9, type: 'response.completed' }),
    ],
  ])('a last event of the Responses API longer than any that is read: %s', async (_name, render) => {
    const output = [{ type: 'message', content: [{ type: 'output_text', text: 'x'.repeat(400_000) }] }];
    const usage = { input_tokens: 9, output_tokens: 4 };
    const last = `event: response.completed\ndata: ${JSON.stringify(render({ status: 'completed', output, usage }))}\n\n`;
    for (const events of [last, last.slice(0, -2)]) {
      answerPosts(
        answerStream([...RESPONSES.opening(null), RESPONSES.content('x'), events.slice(0, 9000), events.slice(9000)]),
      );
      const answer = await ask(RESPONSES);
      expect(answer.complete).toBe(true);
      expect(answer.text.endsWith(events)).toBe(true);
      expect(harness.metering.records.at(-1)).toMatchObject({
        outcome: 'completed',
        tokenSource: 'reported',
        tokens: { input: 9, output: 4 },
      });
    }
    answerPosts(answerStream([...RESPONSES.opening(null), RESPONSES.content('x'), last.slice(0, -2000)]));
    expect((await ask(RESPONSES)).complete).toBe(false);
    expect(harness.metering.records.at(-1)).toMatchObject({ outcome: 'upstream_error' });
  });

  it('a refusal in the form of an event stream', async () => {
    answerPosts((res) => void res.writeHead(422, { 'content-type': 'text/event-stream' }).end('data: {"error":"no'));
    expect(await ask(RESPONSES)).toMatchObject({ status: 422, complete: true, text: 'data: {"error":"no' });
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 422 }]);
  });

  it('bytes of whatever kind after the last event', async () => {
    const events = [CHAT.content('Hel'), ...CHAT.closing(USAGE), 'data: {"half'];
    answerPosts(answerStream(events));
    expect(await ask(CHAT, { stream_options: {} })).toMatchObject({ complete: true, text: events.join('') });
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported' }]);
  });
});
