// What a deployment's own keys do to requests on their way, seen from the engine, and what the headers of an answer estimate of its cost.
import { afterEach, describe, expect, it } from 'vitest';
import type { EstimateCost } from '#accounting/estimate-cost.ts';
import type { DeploymentConfig } from '#config/config.ts';
import { answerJson } from '#test/support/fake-engine.ts';
import { createChatAndRanker } from './chat-and-ranker.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness;
afterEach(() => harness.close());

const startWith = async (change: Partial<DeploymentConfig>): Promise<void> => {
  harness = await startHarness((url) => createConfig([createDeploymentConfig([createUpstreamConfig(url)], change)]));
};

describe('field rules', () => {
  it('a request is changed where the rules say so and nowhere else, and metered as it was sent', async () => {
    await startWith({
      dropFields: ['user', 'metadata'],
      defaults: { temperature: 0.2 },
      caps: { maxTokens: 64, n: 2 },
    });
    const body =
      '{"model":"llama-3.1-70b", "user": "u-1","messages":[ {"role":"user","content":"a"} ],"n":9,"max_tokens":1e3}';
    await send(harness.port, { body });
    expect(harness.engine.requests[0]?.body.toString()).toBe(
      '{"temperature":0.2,"model":"served", "messages":[ {"role":"user","content":"a"} ],"n":2,"max_tokens":64}',
    );
    expect(harness.metering.starts).toMatchObject([{ maxTokens: 64, sequences: 2 }]);
    expect(harness.metering.records).toMatchObject([{ user: 'u-1', requestedModel: 'llama-3.1-70b' }]);
  });

  it('a dropped stream is no stream, and a dropped stream_options is not put back by us', async () => {
    await startWith({ dropFields: ['stream'] });
    await send(harness.port, { body: chatBody({ stream: true }) });
    expect(harness.metering.records).toMatchObject([{ stream: false, outcome: 'completed' }]);
    await harness.close();
    await startWith({ dropFields: ['stream_options'] });
    await send(harness.port, { body: chatBody({ stream: true, stream_options: { include_usage: true } }) });
    const sent = JSON.parse(String(harness.engine.requests[0]?.body)) as object;
    expect(Object.keys(sent)).toEqual(['model', 'messages', 'stream']);
  });
});

describe('estimate of the cost', () => {
  const start = (estimate: EstimateCost) => startHarness(undefined, { estimateCost: estimate });

  it('stands in the headers of a small whole answer whose body is unchanged', async () => {
    harness = await start((question) =>
      'completion' in question ? `0.00000000${question.completion * question.concurrency}` : null,
    );
    const answer = await send(harness.port);
    expect(answer.headers['x-inferometer-cost-estimate-usd']).toBe('0.000000003');
    expect(Number(answer.headers['content-length'])).toBe(answer.body.length);
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokens: { output: 3 } }]);
  });

  it.each<[string, (harness: Harness) => void, object]>([
    [
      'a stream',
      ({ engine }) =>
        engine.answerWith(
          (res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: [DONE]\n\n'),
        ),
      { stream: true },
    ],
    [
      'an answer that says neither usage nor text',
      ({ engine }) =>
        engine.answerWith(
          (res) => void res.writeHead(200, { 'content-type': 'application/json', 'content-length': 2 }).end('{}'),
        ),
      {},
    ],
    [
      'an answer of unknown length',
      ({ engine }) =>
        engine.answerWith(
          (res) =>
            void res
              .writeHead(200, { 'content-type': 'application/json' })
              .end('{"usage":{"prompt_tokens":1,"completion_tokens":1}}'),
        ),
      {},
    ],
    [
      'an error',
      ({ engine }) =>
        engine.answerWith(
          (res) => void res.writeHead(500, { 'content-type': 'application/json', 'content-length': 2 }).end('{}'),
        ),
      {},
    ],
    [
      'an answer beyond 256 KiB',
      ({ engine }) =>
        engine.answerWith((res) => {
          const body = JSON.stringify({ x: 'y'.repeat(256 * 1024), usage: { prompt_tokens: 1, completion_tokens: 1 } });
          res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
        }),
      {},
    ],
  ])('%s has none', async (_name, arrange, body) => {
    harness = await start(() => '0.000000001');
    arrange(harness);
    const answer = await send(harness.port, { body: chatBody(body) });
    expect(answer.headers['x-inferometer-cost-estimate-usd']).toBeUndefined();
    expect(answer.complete).toBe(true);
  });

  it.each([
    ['chat', '/v1/chat/completions', { choices: [{ message: { content: 'eight by' } }], usage: null }, '4 2'],
    ['embeddings', '/v1/embeddings', { data: [{ embedding: [1, 2] }] }, '4 0'],
  ])('%s without usage is estimated as its record is, by its bytes', async (_name, path, body, usd) => {
    harness = await start((question) => ('prompt' in question ? `${question.prompt} ${question.completion}` : null));
    harness.engine.answerWith(answerJson(body));
    const text = 'Hello, engine';
    const fields = { model: 'llama-3.1-70b', messages: [{ role: 'user', content: text }], input: text };
    const asked = path.endsWith('embeddings') ? { ...fields, messages: undefined } : { ...fields, input: undefined };
    const answer = await send(harness.port, { path, body: asked });
    expect(answer.headers['x-inferometer-cost-estimate-usd']).toBe(usd);
    const [input, output] = usd.split(' ').map(Number);
    expect(harness.metering.records).toMatchObject([{ tokenSource: 'estimated', tokens: { input, output } }]);
  });

  const json = { 'content-type': 'application/json' };
  const tensors = { 'content-type': 'application/octet-stream', 'inference-header-content-length': '2' };
  it.each([
    ['infer as JSON', '/v2/models/ranker/infer', json, '{"outputs":[]}'],
    ['infer with binary tensors', '/v2/models/ranker/infer', tensors, '{}\u0001\u0002'],
    ['a route that is forwarded unread', '/v1/audio/speech', { 'content-type': 'audio/mpeg' }, 'ID3'],
    ['a deployment that works by duration', '/v1/embeddings', json, '{"data":[]}'],
    ['an encoded answer of such a deployment', '/v1/embeddings', { ...json, 'content-encoding': 'gzip' }, 'zzz'],
  ])('%s is estimated by its time, and its bytes are unchanged', async (_name, path, headers, body) => {
    harness = await startHarness(
      (url) => createConfig(createChatAndRanker(url, { chat: { models: ['m'], work: 'duration' } })),
      {
        estimateCost: (question) =>
          'durationMs' in question && question.durationMs > 5000 && question.durationMs < 60_000
            ? `${question.deployment} ${question.concurrency}`
            : null,
      },
    );
    const { clock, engine, port, metering } = harness;
    engine.answerWith((res, { method }) => {
      if (method !== 'POST') return void res.end('{}');
      clock.advance(5001);
      res.writeHead(200, { ...headers, 'content-length': body.length }).end(body, 'latin1');
    });
    const request = path.startsWith('/v2') ? { inputs: [] } : { model: 'm', input: 'x' };
    const answer = await send(port, { path, body: request });
    expect(answer.body.toString('latin1')).toBe(body);
    expect(answer.headers).toMatchObject({ ...headers, 'content-length': String(body.length) });
    const deployment = path.startsWith('/v2') ? 'ranker' : 'llama-70b';
    expect(answer.headers['x-inferometer-cost-estimate-usd']).toBe(`${deployment} 1`);
    expect(metering.records).toMatchObject([{ outcome: 'completed', status: 200 }]);
  });

  it('an answer broken off while it was held is broken off for the client', async () => {
    harness = await start(() => '0.000000001');
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
      res.write('{"usage":', () => res.destroy());
    });
    const answer = await send(harness.port);
    expect([answer.status, answer.complete, answer.text]).toEqual([200, false, '{"usage":']);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error' }]);
  });
});
