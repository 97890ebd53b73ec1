// The model of a metered request whose body names none: the query may (contract §4 "Deployment").
import { afterEach, describe, expect, it } from 'vitest';
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
      createDeploymentConfig([createUpstreamConfig(url)], {
        name: 'one',
        models: ['model-one'],
        servedModel: 'served-one',
      }),
      createDeploymentConfig([createUpstreamConfig(url, { name: 'other', pool: 'two/other' })], {
        name: 'two',
        models: ['model-two'],
        servedModel: 'served-two',
      }),
    ]),
  );
  return harness;
}

const BODY = { messages: [{ role: 'user', content: 'hello' }] };

describe('the query of a metered route', () => {
  it('names the model where the body does not, and the engine reads it in the body', async () => {
    const { port, engine, metering } = await start();
    const answer = await send(port, { path: '/v1/chat/completions?model=model-two', body: BODY });
    expect([answer.status, answer.headers['x-inferometer-deployment']]).toEqual([200, 'two']);
    expect(JSON.parse(engine.requests[0]?.body.toString() ?? '')).toEqual({ ...BODY, model: 'served-two' });
    expect(metering.records).toMatchObject([{ requestedModel: 'model-two', deployment: 'two' }]);
  });

  it('is not asked where the body names a model', async () => {
    const { port } = await start();
    const body = { ...BODY, model: 'model-one' };
    const answer = await send(port, { path: '/v1/chat/completions?model=model-two', body });
    expect([answer.status, answer.headers['x-inferometer-deployment']]).toEqual([200, 'one']);
  });

  it('that names an unknown model is a 404', async () => {
    const { port } = await start();
    const answer = await send(port, { path: '/v1/chat/completions?model=nobody', body: BODY });
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([404, 'model_not_found']);
  });
});
