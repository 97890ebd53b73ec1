import { afterEach, expect, test } from 'vitest';
import { answerJson, type FakeEngine, startFakeEngine } from '#test/support/fake-engine.ts';
import {
  ADS_KEY,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let running: Harness | undefined;
let second: FakeEngine | undefined;

afterEach(async () => {
  await running?.close();
  await second?.close();
});

/** Two Triton deployments; the key of ads may use gemma alone. */
async function start(): Promise<{ readonly harness: Harness; readonly gemma: FakeEngine }> {
  const gemma = await startFakeEngine();
  second = gemma;
  const health = { path: '/health', intervalMs: 20, timeoutMs: 2000, unhealthyAfter: 1 };
  const harness = await startHarness((url) =>
    createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], { engine: 'triton', servedModel: 'ensemble', health }),
      createDeploymentConfig([createUpstreamConfig(gemma.url, { pool: 'gemma/trt-1' })], {
        name: 'gemma',
        models: ['gemma-2'],
        engine: 'triton',
        servedModel: 'gemma_bls',
        health,
      }),
    ]),
  );
  running = harness;
  for (const [engine, name] of [
    [harness.engine, 'ensemble'],
    [gemma, 'gemma_bls'],
  ] as const) {
    engine.answerWith((res, request) => {
      if (request.path === '/v2/repository/index') {
        const internal = { name: 'preprocessing', version: '1', state: 'READY' };
        const state = name === 'ensemble' ? 'READY' : 'LOADING';
        return answerJson([internal, { name, version: '1', state, reason: '' }])(res, request);
      }
      if (request.path === `/v2/models/${name}/stats`) {
        return answerJson({ model_stats: [{ name, version: '1', inference_count: 3 }] })(res, request);
      }
      return answerJson({ asked: request.path })(res, request);
    });
  }
  return { harness, gemma };
}

const get = (port: number, path: string, key?: string) =>
  send(port, { method: 'GET', path, ...(key === undefined ? {} : { key }) });

test('the index is the union of what a caller may use, by the names clients send', async () => {
  const { harness } = await start();
  const all = await send(harness.port, { path: '/v2/repository/index', body: {} });
  expect(JSON.parse(all.text)).toEqual([
    { name: 'llama-3.1-70b', version: '1', state: 'READY', reason: '' },
    { name: 'meta-llama/Llama-3.1-70B-Instruct', version: '1', state: 'READY', reason: '' },
    { name: 'gemma-2', version: '1', state: 'LOADING', reason: '' },
  ]);
  const ready = await send(harness.port, { path: '/v2/repository/index', body: { ready: true } });
  expect(JSON.parse(ready.text)).toHaveLength(2);
  const ads = await send(harness.port, { path: '/v2/repository/index', body: '', key: ADS_KEY });
  expect(JSON.parse(ads.text)).toMatchObject([{ name: 'gemma-2' }]);
  const broken = await send(harness.port, { path: '/v2/repository/index', body: '{' });
  expect([broken.status, JSON.parse(broken.text)]).toEqual([400, { error: 'The request body is not valid JSON.' }]);
});

test('an engine that does not answer leaves its models in the index, as unavailable', async () => {
  const { harness, gemma } = await start();
  await gemma.close();
  const index = await send(harness.port, { path: '/v2/repository/index', body: {}, key: ADS_KEY });
  expect(JSON.parse(index.text)).toEqual([
    { name: 'gemma-2', version: '', state: 'UNAVAILABLE', reason: 'no engine answers' },
  ]);
});

test.each([
  ['', '/v2/models/ensemble'],
  ['/versions/2', '/v2/models/ensemble/versions/2'],
  ['/config', '/v2/models/ensemble/config'],
  ['/ready', '/v2/models/ensemble/ready'],
  ['/versions/2/stats', '/v2/models/ensemble/versions/2/stats'],
])('GET of a model%s is asked of its engine under the served name, and leaves no record', async (suffix, asked) => {
  const { harness } = await start();
  const answer = await get(harness.port, `/v2/models/meta-llama%2FLlama-3.1-70B-Instruct${suffix}`);
  expect([answer.status, answer.text]).toEqual([200, JSON.stringify({ asked })]);
  expect(harness.metering.records).toEqual([]);
});

test('statistics of all models are those of the engines the caller may use', async () => {
  const { harness } = await start();
  const answer = await get(harness.port, '/v2/models/stats');
  expect(JSON.parse(answer.text)).toEqual({
    model_stats: [
      { name: 'ensemble', version: '1', inference_count: 3 },
      { name: 'gemma_bls', version: '1', inference_count: 3 },
    ],
  });
  expect(JSON.parse((await get(harness.port, '/v2/models/stats', ADS_KEY)).text)).toMatchObject({
    model_stats: [{ name: 'gemma_bls' }],
  });
});

test('the server describes itself and its health without asking an engine', async () => {
  const { harness } = await start();
  const described = JSON.parse((await get(harness.port, '/v2')).text) as { name: string; extensions: string[] };
  expect(described.name).toBe('inferometer');
  expect(described.extensions).toContain('binary_tensor_data');
  expect(described.extensions).not.toContain('model_repository');
  expect((await get(harness.port, '/v2/health/live')).status).toBe(200);
  expect((await get(harness.port, '/v2/health/ready')).status).toBe(200);
  expect(harness.engine.requests).toEqual([]);
});

test('a caller whose engines are all down is told 400, as Triton says not ready', async () => {
  const { harness, gemma } = await start();
  gemma.healthStatus = 500;
  await expect
    .poll(async () => (await get(harness.port, '/v2/health/ready', ADS_KEY)).status, { timeout: 5000 })
    .toBe(400);
  expect((await get(harness.port, '/v2/health/ready')).status).toBe(200);
});

test.each([
  ['GET', '/v2/models/nobody', 404],
  ['GET', '/v2/models/llama-3.1-70b', 403],
  ['PUT', '/v2/models/gemma-2', 404],
  ['GET', '/v2/models/gemma-2/generate', 404],
  ['GET', '/v2/unknown', 404],
])('%s %s is refused with %i in KServe words', async (method, path, status) => {
  const { harness } = await start();
  const answer = await send(harness.port, { method, path, key: ADS_KEY });
  expect([answer.status, JSON.parse(answer.text)]).toEqual([status, { error: expect.any(String) }]);
});
