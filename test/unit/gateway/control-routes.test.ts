import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CONTROL_ROUTES } from '#gateway/control-routes.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

const OPERATOR_KEY = 'sk-operator-0123456789';

/** Everything may pass, and one control path is allowed; three keys: one of them an operator's. */
async function start(allowControl?: readonly string[]): Promise<Harness> {
  return startHarness((url) => {
    const config = createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], {
        engine: 'triton',
        health: { path: '/health', intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 3 },
        passThrough: ['/*'],
        ...(allowControl === undefined ? {} : { allowControl }),
      }),
    ]);
    const operators = {
      ...config.teams[0],
      name: 'operators',
      keys: [{ key: OPERATOR_KEY, name: 'ops', project: '', scopes: ['operator'] }],
    } as (typeof config.teams)[number];
    return { ...config, teams: [...config.teams, operators] };
  });
}

/** Ways to write the same path, or one that some servers take for it. */
function spell(path: string): readonly string[] {
  const last = path.lastIndexOf('/');
  const encoded = `%${path.charCodeAt(last + 1).toString(16)}`;
  return [
    path,
    `${path}/`,
    path.toUpperCase(),
    `${path.slice(0, last + 1)}${encoded}${path.slice(last + 2)}`,
    `${path.slice(0, last + 1)}%25${encoded.slice(1)}${path.slice(last + 2)}`,
    `${path.slice(0, last)}%2f${path.slice(last + 1)}`,
    `${path.slice(0, last)}%5C${path.slice(last + 1)}`,
    `${path.slice(0, last)}//${path.slice(last + 1)}`,
    `/${path}`,
    `${path.slice(0, last)}/./${path.slice(last + 1)}`,
    `/v1/audio/..${path}`,
    `/v1/audio/%2e%2e${path}`,
    `${path};a=b`,
    `${path}%00`,
    `${path}?model=llama-3.1-70b`,
  ];
}

describe('a key without the scope', () => {
  let harness: Harness;
  beforeAll(async () => {
    harness = await start(['/*']);
  });
  afterAll(() => harness.close());

  test.each(CONTROL_ROUTES)('$segment ($effect) is reached by no spelling of its path', async ({ example }) => {
    for (const path of spell(example)) {
      for (const method of ['POST', 'GET']) {
        const answer = await send(harness.port, { path, method, body: {} });
        // An own route of the gateway may answer a spelling, such as the model list; nothing is sent on.
        expect([path, answer.status]).toEqual([path, expect.toBeOneOf([400, 404])]);
      }
    }
    expect(harness.engine.requests.map(({ path }) => path)).toEqual([]);
  });

  test('what is no control passes as its deployment says', async () => {
    expect((await send(harness.port, { path: '/v1/audio/speech', body: {} })).status).toBe(200);
    expect(harness.engine.requests.map(({ path }) => path)).toEqual(['/v1/audio/speech']);
  });
});

describe('an operator', () => {
  let closed: Harness;
  beforeAll(async () => {
    closed = await start();
  });
  afterAll(() => closed.close());

  test.each(CONTROL_ROUTES)('does not reach $segment where the deployment does not allow it', async ({ example }) => {
    const answer = await send(closed.port, { path: example, key: OPERATOR_KEY, body: {} });
    expect(answer.status).toBe(404);
    expect(closed.engine.requests).toEqual([]);
  });

  test('reaches what the deployment allows, in its plain spelling, with a record of its own', async () => {
    const harness = await start(['/v2/repository/models/*', '/start_profile']);
    const path = '/v2/repository/models/llama/unload';
    const outcomes: [string, number][] = [];
    for (const spelling of spell(path)) {
      const { status } = await send(harness.port, { path: spelling, key: OPERATOR_KEY, body: {} });
      outcomes.push([spelling, status]);
    }
    expect(outcomes.filter(([, status]) => status === 200).map(([spelling]) => spelling)).toEqual([
      path,
      `${path}/`,
      '/v2/repository/models/llama/%75nload',
      `${path}?model=llama-3.1-70b`,
    ]);
    expect(harness.metering.starts[0]).toMatchObject({ work: 'duration' });
    expect(harness.metering.ends[0]?.record).toMatchObject({ team: 'operators', route: '/v2/repository/models/*' });
    expect((await send(harness.port, { path: '/shutdown', key: OPERATOR_KEY, body: {} })).status).toBe(404);
    await harness.close();
  });
});
