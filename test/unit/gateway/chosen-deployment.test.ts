// What a refusal says of the deployment that the request meant: its name once it was chosen, and the route where only that is missing.
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { answerJson } from '#test/support/fake-engine.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness | undefined;

afterEach(async () => {
  await harness?.close();
  harness = undefined;
});

async function start(): Promise<Harness> {
  harness = await startHarness((url) =>
    createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], { name: 'text', models: ['writer'], passThrough: [] }),
      createDeploymentConfig([createUpstreamConfig(url, { name: 'b', pool: 'image/b' })], {
        name: 'image',
        models: ['painter'],
        passThrough: ['/v1/images/*'],
      }),
      createDeploymentConfig([createUpstreamConfig('http://127.0.0.1:9', { name: 'c', pool: 'gone/c' })], {
        name: 'gone',
        models: ['nobody-home'],
        passThrough: [],
      }),
    ]),
  );
  return harness;
}

describe('a forwarded path that one deployment has', () => {
  it.each([
    ['the model of another is not sent there', { model: 'writer' }, [404, 'route_not_found'], 0],
    ['its own model is', { model: 'painter' }, [200, undefined], 1],
    ['a model that only its engine may know is', { model: 'stranger' }, [200, undefined], 1],
    ['a body without a model is', {}, [200, undefined], 1],
  ])('%s', async (_name, named, expected, sent) => {
    const { port, engine, metering } = await start();
    engine.answerWith(answerJson({}));
    const answer = await send(port, { path: '/v1/images/generations', body: { ...named, prompt: 'a cat' } });
    expect([answer.status, JSON.parse(answer.text).error?.code]).toEqual(expected);
    expect(engine.requests).toHaveLength(sent);
    expect(metering.records).toHaveLength(1);
  });
});

describe('a forwarded body that is encoded', () => {
  it('reaches the one deployment byte for byte', async () => {
    const { port, engine } = await start();
    engine.answerWith(answerJson({}));
    const body = gzipSync('{"model":"painter","prompt":"a cat"}');
    const headers = { 'content-encoding': 'gzip' };
    expect((await send(port, { path: '/v1/images/generations', body, headers })).status).toBe(200);
    expect(engine.requests[0]?.body.equals(body)).toBe(true);
    expect(engine.requests[0]?.headers['content-encoding']).toBe('gzip');
  });
});

describe('a refusal', () => {
  it('of a route that a known model does not forward says that the route is missing, not the model', async () => {
    const { port } = await start();
    const codes = [];
    for (const path of ['/v1/images/generations?model=writer', '/v1/images/generations?model=stranger']) {
      const answer = await send(port, { path, body: { prompt: 'a cat' } });
      codes.push([answer.status, JSON.parse(answer.text).error.code]);
    }
    expect(codes).toEqual([
      [404, 'route_not_found'],
      [404, 'model_not_found'],
    ]);
  });

  it('after a deployment was chosen names it', async () => {
    const { port } = await start();
    const body = { model: 'nobody-home', messages: [{ role: 'user', content: 'x' }] };
    const answer = await send(port, { path: '/v1/chat/completions', body });
    expect([answer.status, answer.headers['x-inferometer-deployment']]).toEqual([502, 'gone']);
  });
});
