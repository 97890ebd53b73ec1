import { afterEach, describe, expect, it } from 'vitest';
import { normalizeError } from '#gateway/normalize-error.ts';
import { answerJson } from '#test/support/fake-engine.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

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
