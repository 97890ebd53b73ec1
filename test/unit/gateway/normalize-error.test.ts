import { afterEach, describe, expect, it } from 'vitest';
import { normalizeError } from '#gateway/normalize-error.ts';
import { answerJson, answerStream } from '#test/support/fake-engine.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';
import { CHAT, COMPLETIONS, MESSAGES, RESPONSES, type RouteShapeCase } from './route-shapes.ts';

const normalize = (body: unknown, status = 400, protocol: 'openai' | 'anthropic' = 'openai'): unknown => {
  const text = normalizeError(Buffer.from(JSON.stringify(body)), status, protocol);
  return text === null ? null : JSON.parse(text);
};

describe('normalize-error', () => {
  it.each<[string, unknown, number, object]>([
    [
      'trtllm-serve, flat',
      { object: 'error', message: 'too long', type: 'BadRequestError', param: null, code: 400 },
      400,
      { message: 'too long', type: 'BadRequestError', param: null, code: 400 },
    ],
    ['trtllm-serve, validation', { error: 'bad body' }, 400, { message: 'bad body', type: 'invalid_request_error' }],
    ['Triton OpenAI frontend', { detail: 'Unknown model: x' }, 400, { message: 'Unknown model: x', code: null }],
    [
      'FastAPI validation',
      {
        detail: [
          { type: 'x', loc: ['body', 'messages', 0, 'role'], msg: 'missing' },
          { loc: ['body'], msg: 'odd' },
        ],
      },
      422,
      { message: 'messages.0.role: missing; odd', param: 'messages.0.role', type: 'invalid_request_error' },
    ],
    [
      'TGI',
      { error: 'Model is overloaded', error_type: 'overloaded' },
      429,
      { message: 'Model is overloaded', type: 'overloaded', code: 'overloaded' },
    ],
    [
      'Dynamo',
      { message: 'busy', type: 'Overloaded', code: 529 },
      529,
      { message: 'busy', type: 'Overloaded', code: 529 },
    ],
    ['Triton', { error: 'inference failed' }, 500, { message: 'inference failed', type: 'server_error' }],
    [
      'a middleware of the Triton frontend',
      { error: { message: 'big', type: 'invalid_request_error', code: 'content_too_large' } },
      413,
      { message: 'big', type: 'invalid_request_error', param: null, code: 'content_too_large' },
    ],
    [
      "Anthropic's envelope on a route of OpenAI's",
      { type: 'error', error: { type: 'overloaded_error', message: 'full' } },
      529,
      { message: 'full', type: 'overloaded_error', param: null, code: null },
    ],
  ])('%s becomes the envelope', (_name, body, status, error) => {
    expect(normalize(body, status)).toMatchObject({ error });
  });

  it("on Anthropic's route it is Anthropic's envelope", () => {
    expect(normalize({ detail: 'no' }, 429, 'anthropic')).toEqual({
      type: 'error',
      error: { type: 'rate_limit_error', message: 'no', code: null },
    });
  });

  it.each([
    ['the envelope itself', { error: { message: 'x', type: 'y', param: null, code: null } }],
    ['a list', [1]],
    ['nothing', {}],
    ['an empty validation', { detail: [] }],
    ['validation without words', { detail: [{ loc: ['body'] }] }],
    ['an error that is a number', { error: 5 }],
  ])('%s is left alone', (_name, body) => {
    expect(normalize(body)).toBeNull();
    expect(normalizeError(Buffer.from('<html>'), 502, 'openai')).toBeNull();
  });
});

const VLLM_ERROR = 'data: {"error":{"object":"error","message":"no","type":"x","param":null,"code":400}}\n\n';

describe('errors: openai', () => {
  let harness: Harness;
  afterEach(() => harness.close());
  const start = async (errors: 'openai' | 'passthrough'): Promise<void> => {
    harness = await startHarness((url) =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url)], { errors })]),
    );
  };

  it('puts an error into the envelope, its status and headers kept, its length right', async () => {
    await start('openai');
    harness.engine.answerWith((res) => {
      res.writeHead(429, { 'content-type': 'application/json', 'retry-after': '7', etag: '"x"' });
      res.end('{"detail":"slow down"}');
    });
    const answer = await send(harness.port);
    expect(answer.status).toBe(429);
    expect(answer.headers['retry-after']).toBe('7');
    expect(answer.headers['etag']).toBeUndefined();
    expect(JSON.parse(answer.text)).toEqual({
      error: { message: 'slow down', type: 'requests', param: null, code: null },
    });
    expect(Number(answer.headers['content-length'])).toBe(answer.body.length);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 429 }]);
  });

  it('passes what it cannot read, and what is too long to be an error, byte for byte', async () => {
    await start('openai');
    for (const body of ['<html>bad gateway</html>', JSON.stringify({ error: 'x'.repeat(70_000) })]) {
      harness.engine.answerWith((res) => {
        res.writeHead(400, { 'content-type': 'application/json' });
        res.end(body);
      });
      const answer = await send(harness.port);
      expect([answer.status, answer.text]).toEqual([400, body]);
    }
  });

  it('leaves answers that are no errors alone', async () => {
    await start('openai');
    harness.engine.answerWith(answerJson({ error: 'not really', detail: 'x' }));
    expect((await send(harness.port)).text).toBe('{"error":"not really","detail":"x"}');
  });

  const number = (value: number): string => `,"sequence_number":${value}`;
  const streamed: [string, RouteShapeCase, string, string][] = [
    [
      "transformers' text in a chat",
      CHAT,
      'data: {"error": "out of memory"}\n\n',
      'data: {"error":{"message":"out of memory","type":"server_error","param":null,"code":null}}\n\n',
    ],
    [
      "trtllm-serve's flat object in a completion",
      COMPLETIONS,
      'data: {"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}\r\n\r\n',
      'data: {"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}\n\r\n',
    ],
    [
      "OpenAI's envelope in a Responses stream",
      RESPONSES,
      'data: {"error":{"message":"no","type":"server_error","param":null,"code":500}}\n\n',
      `event: error\ndata: {"type":"error","code":"500","message":"no","param":null${number(4)}}\n\n`,
    ],
    [
      "OpenAI's envelope in Anthropic's stream",
      MESSAGES,
      'data: {"error":{"message":"no","type":"server_error","param":null,"code":null}}\n\n',
      'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"no","code":null}}\n\n',
    ],
    ...[CHAT, RESPONSES, MESSAGES].map((route): [string, RouteShapeCase, string, string] => [
      `what is in the words of ${route.path} already`,
      route,
      route.path === CHAT.path ? VLLM_ERROR : route.error,
      route.path === CHAT.path ? VLLM_ERROR : route.error,
    ]),
    ['an error of no known shape', CHAT, 'data: {"error":{"x":1}}\n\n', 'data: {"error":{"x":1}}\n\n'],
  ];
  it.each(streamed)(
    'tells an error inside a stream in the words of its route: %s',
    async (_name, route, said, told) => {
      await start('openai');
      const numbered = route.content('Hel').replace('"delta":"Hel"', `"delta":"Hel"${number(3)}`);
      const text = numbered + said;
      for (const chunks of [[text], [text.slice(0, -20), text.slice(-20)], [...text]]) {
        harness.engine.answerWith(answerStream([...chunks, 'data: [DONE]\n\n']));
        const answer = await send(harness.port, { path: route.path, body: { ...route.body, stream: true } });
        expect(answer.text).toBe(`${numbered}${told}data: [DONE]\n\n`);
        expect(answer.complete).toBe(true);
        expect(harness.metering.records.at(-1)).toMatchObject({ outcome: 'upstream_error', tokens: { output: 1 } });
      }
    },
  );

  it('adds no second error event to a stream that breaks after its own', async () => {
    await start('openai');
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: {"error":"gone"}\n\n', () => res.destroy());
    });
    const answer = await send(harness.port, { body: chatBody({ stream: true }) });
    expect(answer.complete).toBe(false);
    expect(answer.text).toBe('data: {"error":{"message":"gone","type":"server_error","param":null,"code":null}}\n\n');
  });

  it('is off unless the deployment says so', async () => {
    await start('passthrough');
    harness.engine.answerWith(answerJson({ detail: 'no' }, 400));
    expect((await send(harness.port, { body: chatBody() })).text).toBe('{"detail":"no"}');
  });

  it('an error broken off half-way is broken off for the client too', async () => {
    await start('openai');
    harness.engine.answerWith((res) => {
      res.writeHead(400, { 'content-type': 'application/json', 'content-length': '100' });
      res.write('{"detail":', () => res.destroy());
    });
    const answer = await send(harness.port);
    expect([answer.status, answer.complete, answer.text]).toEqual([400, false, '{"detail":']);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error' }]);
  });
});
