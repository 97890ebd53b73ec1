// Which of several deployments of one model gets a request: by priority, by weight, by the name or header that a client gives.
import { afterEach, expect, it } from 'vitest';
import type { DeploymentConfig } from '#config/config.ts';
import { ask, engines, harness, start, stop } from './several-deployments.ts';

afterEach(stop);

/** The model is the first one's own, and an alias of the second. */
const MODELS = [
  ['shared', 'meta-llama/Llama-3.1-70B-Instruct'],
  ['other-name', 'shared'],
];

const startTwo = (...changes: readonly [Partial<DeploymentConfig>, Partial<DeploymentConfig>]): Promise<void> => {
  const health = { path: '/health', intervalMs: 20, timeoutMs: 1000, unhealthyAfter: 1 };
  return start({
    deployment: (index) => ({ models: MODELS[index] ?? [], priority: 0, ...changes[index], health }),
  });
};
/** Requests by the deployment that got them. */
const askMany = async (count: number): Promise<Record<string, number>> => {
  const seen: Record<string, number> = {};
  for (let index = 0; index < count; index += 1) {
    const { headers } = await ask();
    const name = String(headers['x-inferometer-deployment']);
    seen[name] = (seen[name] ?? 0) + 1;
  }
  return seen;
};
const untilHealthy = async (deployment: string, healthy: boolean): Promise<void> => {
  const read = () => harness.gateway.upstreamStatus().find((status) => status.deployment === deployment)?.healthy;
  while (read() !== healthy) await new Promise((resolve) => setTimeout(resolve, 5));
};
const setHealth = (status: number): void => engines[0]?.forEach((engine) => (engine.healthStatus = status));

it('the higher priority has them all, the lower takes over while it is down, under its own model name', async () => {
  await startTwo({ priority: 1 }, { priority: 0 });
  await untilHealthy('main', true);
  expect(await askMany(5)).toEqual({ main: 5 });
  setHealth(503);
  await untilHealthy('main', false);
  expect(await askMany(5)).toEqual({ spare: 5 });
  const sent = engines[1]?.[0]?.requests.find(({ method }) => method === 'POST');
  expect(JSON.parse(String(sent?.body))).toMatchObject({ model: 'spare-served' });
  expect(harness.metering.records.at(-1)).toMatchObject({
    deployment: 'spare',
    model: 'other-name',
    requestedModel: 'shared',
  });
  setHealth(200);
  await untilHealthy('main', true);
  expect(await askMany(3)).toEqual({ main: 3 });
});

it('equal priorities share by weight', async () => {
  await startTwo({ weight: 3 }, { weight: 1 });
  const { main = 0, spare = 0 } = await askMany(400);
  expect(main + spare).toBe(400);
  // Binomial of 400 at 3/4: 300 ± 8.7; seven deviations.
  expect(Math.abs(main - 300)).toBeLessThan(61);
});

it('weight 0 gets nothing while the other serves, and a header still finds it', async () => {
  await startTwo({ weight: 1 }, { weight: 0 });
  expect(await askMany(30)).toEqual({ main: 30 });
  const { headers } = await ask({}, { 'x-inferometer-deployment': 'spare' });
  expect(headers['x-inferometer-deployment']).toBe('spare');
});

it('every alias finds its deployment, and the record has both names', async () => {
  await startTwo({}, {});
  for (const model of ['meta-llama/Llama-3.1-70B-Instruct', 'other-name']) await ask({ model });
  expect(harness.metering.records).toMatchObject([
    { requestedModel: 'meta-llama/Llama-3.1-70B-Instruct', model: 'shared', deployment: 'main' },
    { requestedModel: 'other-name', model: 'other-name', deployment: 'spare' },
  ]);
});
