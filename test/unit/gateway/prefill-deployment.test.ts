// A deployment that computes prompts for another one takes no requests: no name, header, list, failure or path leads to it.
import { afterEach, beforeEach, expect, it } from 'vitest';
import { answerJson } from '#test/support/fake-engine.ts';
import { SEARCH_KEY, send } from './harness.ts';
import { ANSWER, answerOf, ask, asked, harness, start, stop, told } from './several-deployments.ts';
import { refuse } from './several-engines.ts';

const PREFILL = { pool: 'spare/0', deployment: 'spare' };

beforeEach(() =>
  start({
    deployment: (index) => ({
      models: ['shared'],
      passThrough: ['/v1/custom'],
      ...(index === 0 ? { prefillBy: PREFILL } : { prefillsFor: 'main', priority: 99 }),
    }),
  }),
);
afterEach(stop);

it('requests go to the one that it computes for, and accounting is told of both', async () => {
  answerOf(0, answerJson(ANSWER));
  for (let index = 0; index < 5; index += 1) expect((await ask()).headers['x-inferometer-deployment']).toBe('main');
  expect(asked()).toEqual([5, 0]);
  expect(harness.metering.starts.map(({ pool, deployment, prefillBy }) => [pool, deployment, prefillBy])).toEqual(
    Array.from({ length: 5 }, () => ['main/0', 'main', PREFILL]),
  );
});

it('its name in the header is that of no deployment', async () => {
  const body = JSON.stringify({ messages: [] });
  const { status, text } = await send(harness.port, { body, headers: { 'x-inferometer-deployment': 'spare' } });
  expect([status, JSON.parse(text)]).toMatchObject([404, { error: { code: 'model_not_found' } }]);
  expect(asked()).toEqual([0, 0]);
});

it('a request without a model has one deployment to go to', async () => {
  answerOf(0, answerJson(ANSWER));
  expect((await send(harness.port, { body: JSON.stringify({ messages: [] }) })).status).toBe(200);
  expect(asked()).toEqual([1, 0]);
});

it('a request that the other declines does not go on to it', async () => {
  answerOf(0, refuse(503));
  expect((await ask()).status).toBe(503);
  expect(asked()).toEqual([1, 0]);
  expect(told().map(([, deployment]) => deployment)).toEqual(['main']);
});

it('its models are listed once, as the other’s', async () => {
  const { text } = await send(harness.port, {
    method: 'GET',
    path: '/v1/models',
    headers: { authorization: `Bearer ${SEARCH_KEY}` },
  });
  expect(JSON.parse(text).data).toMatchObject([{ id: 'shared', owned_by: 'main' }]);
});

it('forwarded paths lead to the other alone', async () => {
  answerOf(0, answerJson(ANSWER));
  const { status } = await send(harness.port, { path: '/v1/custom', body: JSON.stringify({ model: 'shared' }) });
  expect([status, asked()]).toEqual([200, [1, 0]]);
  expect(harness.metering.starts.map(({ work, deployment }) => [work, deployment])).toEqual([['duration', 'main']]);
});

it('a reload makes it one that is asked again, or takes it out, for requests from then on', async () => {
  answerOf(0, answerJson(ANSWER));
  answerOf(1, answerJson(ANSWER));
  const { config } = harness.gateway.plane.view;
  const [main, spare] = config.deployments;
  if (main === undefined || spare === undefined) throw new Error('the gateway has two deployments');
  const { prefillBy: _main, ...alone } = main;
  const { prefillsFor: _spare, ...asking } = spare;
  harness.gateway.reload({ ...config, deployments: [alone, asking] });
  expect((await ask()).headers['x-inferometer-deployment']).toBe('spare');
  harness.gateway.reload(config);
  expect((await ask()).headers['x-inferometer-deployment']).toBe('main');
  expect(harness.metering.starts.map(({ prefillBy }) => prefillBy)).toEqual([undefined, PREFILL]);
});
