// `/v1/messages/count_tokens`: forwarded to the deployment of its model without being named by `passThrough`, in the ways of forwarded routes.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { answerJson } from '#test/support/fake-engine.ts';
import {
  ADS_KEY,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  type SendOptions,
  startHarness,
} from './harness.ts';

const PATH = '/v1/messages/count_tokens';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness((url) =>
    createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], { passThrough: [] }),
      createDeploymentConfig([createUpstreamConfig(url, { name: 'gem-1', pool: 'gemma/gem-1' })], {
        name: 'gemma',
        models: ['gemma-27b'],
        servedModel: 'gemma-27b-it',
        passThrough: ['/v1/messages/*'],
      }),
      createDeploymentConfig([createUpstreamConfig('http://127.0.0.1:9', { name: 'gone', pool: 'gone/gone' })], {
        name: 'gone',
        models: ['gone'],
        passThrough: [],
      }),
    ]),
  );
  harness.engine.answerWith(answerJson({ input_tokens: 12 }));
});
afterEach(() => harness.close());

const messages = [{ role: 'user', content: 'Hello, engine' }];
const count = (options: SendOptions = {}) =>
  send(harness.port, { path: PATH, body: { model: 'llama-3.1-70b', messages }, ...options });

it('goes to the deployment of its model under its name there; the answer passes, the record has its time and no tokens', async () => {
  const answer = await count({ path: `${PATH}?beta=true`, headers: { 'anthropic-version': '2023-06-01' } });
  expect([answer.status, answer.text]).toEqual([200, '{"input_tokens":12}']);
  expect(answer.headers['x-inferometer-deployment']).toBe('llama-70b');
  const [seen] = harness.engine.requests;
  expect([seen?.method, seen?.path]).toEqual(['POST', `${PATH}?beta=true`]);
  expect(seen?.headers['anthropic-version']).toBe('2023-06-01');
  expect(JSON.parse(String(seen?.body))).toEqual({ model: 'served', messages });
  expect(harness.metering.starts).toMatchObject([{ work: 'duration', deployment: 'llama-70b' }]);
  expect(harness.metering.records).toMatchObject([
    { outcome: 'completed', status: 200, route: PATH, tokenSource: 'unknown', model: 'llama-3.1-70b' },
  ]);
});

it('goes by the model of its body, whatever deployment of another model a header names', async () => {
  const answer = await count({ headers: { 'x-inferometer-deployment': 'gemma' } });
  expect([answer.status, answer.headers['x-inferometer-deployment']]).toEqual([200, 'llama-70b']);
});

it('is recorded by the glob where a deployment forwards it by one', async () => {
  expect((await count({ body: { model: 'gemma-27b', messages }, key: ADS_KEY })).status).toBe(200);
  expect(JSON.parse(String(harness.engine.requests[0]?.body))).toMatchObject({ model: 'gemma-27b-it' });
  expect(harness.metering.records).toMatchObject([{ route: '/v1/messages/*', deployment: 'gemma', team: 'ads' }]);
});

it('passes on the 404 of an engine that has no such route, which was nothing of its work', async () => {
  harness.engine.answerWith(answerJson({ detail: 'Not Found' }, 404));
  expect(await count()).toMatchObject({ status: 404, text: '{"detail":"Not Found"}' });
  expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 404, tokenSource: 'unknown' }]);
});

it.each([
  ['of a model that is nowhere', { body: { model: 'nope', messages } }, [404, 'not_found_error']],
  ['without a model where there are several', { body: { messages } }, [400, 'invalid_request_error']],
  ['without a key', { key: null }, [401, 'authentication_error']],
  ["of a model that is not its team's", { key: ADS_KEY }, [403, 'permission_error']],
  ['with another method', { method: 'GET' }, [404, 'not_found_error']],
  ['of another path beside it', { path: '/v1/messages/batches' }, [404, 'not_found_error']],
])("is refused in Anthropic's envelope and sent nowhere %s", async (_what, options: SendOptions, expected) => {
  harness.gateway.reload(
    createConfig(
      ['llama', 'gemma'].map((name) =>
        createDeploymentConfig([createUpstreamConfig(harness.engine.url, { name, pool: `${name}/${name}` })], {
          name,
          models: name === 'llama' ? ['llama-3.1-70b'] : ['gemma-27b'],
          passThrough: [],
        }),
      ),
    ),
  );
  const answer = await count(options);
  const { type, error } = JSON.parse(answer.text);
  expect([type, answer.status, error.type]).toEqual(['error', ...expected]);
  expect(harness.engine.requests).toEqual([]);
});

it("tells in Anthropic's envelope that no engine could be reached", async () => {
  const answer = await count({ body: { model: 'gone', messages } });
  expect([answer.status, JSON.parse(answer.text)]).toMatchObject([
    502,
    { type: 'error', error: { type: 'api_error' } },
  ]);
  expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 502, route: PATH }]);
});
