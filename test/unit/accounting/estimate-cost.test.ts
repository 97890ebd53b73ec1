import { describe, expect, it } from 'vitest';
import { createCostEstimator, estimateGpuMs } from '#accounting/estimate-cost.ts';
import { createConfiguredProfiles } from '#accounting/pool-facts-from-config.ts';
import type { DeploymentConfig, PriceConfig } from '#config/config.ts';
import { createDeploymentConfig } from '../gateway/harness.ts';

const profile = {
  iterationMs: 10,
  prefillTokenMs: 0.02,
  prefillContextMs: 0,
  decodeStepMs: 0.5,
  contextTokenMs: 0.001,
};
const question = { prompt: 100, cached: 0, completion: 20, sequences: 1, concurrency: 1 };

const price = (nanoUsdPerGpuHour: bigint, fromMs: number): PriceConfig => ({
  name: 'h100',
  gpu: 'H100-SXM',
  nanoUsdPerGpuHour,
  usdPerGpuHour: '',
  fromMs,
  from: '',
  source: '',
});

const createEstimator = (deployments: () => DeploymentConfig[], prices: PriceConfig[]) =>
  createCostEstimator(
    () => ({ deployments: deployments(), prices }),
    () => 1000,
    createConfiguredProfiles(() => ({ deployments: deployments() })),
  );

const estimate = (change: Partial<DeploymentConfig> = {}, prices = [price(3_600_000_000n, 0)]) =>
  createEstimator(() => [createDeploymentConfig([], { engineProfile: profile, ...change })], prices);

describe('estimate-cost', () => {
  // 100·0.02 + 20·(0.5 + 0.001·110) + 21·10
  const alone = 2 + 12.2 + 210;
  it.each([
    ['alone: every iteration is its own', {}, alone],
    ['of ten: a tenth of the fixed cost', { concurrency: 10 }, 2 + 12.2 + 21],
    ['cached tokens are not computed again', { cached: 100 }, alone - 2],
    ['more cached than prompt is all of it', { cached: 400 }, alone - 2],
    ['two sequences run side by side', { sequences: 2 }, 2 + 20 * (0.5 + 0.001 * 105) + 110],
    ['a prompt alone is one iteration', { completion: 0 }, 2 + 10],
  ])('%s', (_name, change, ms) => {
    expect(estimateGpuMs(profile, { ...question, ...change })).toBeCloseTo(ms, 9);
  });

  it('dollars are GPU hours times the price in force, with nine decimals', () => {
    // 4 GPUs at 3.6 dollars an hour cost 4 microdollars a millisecond.
    expect(estimate()({ deployment: 'llama-70b', ...question })).toBe('0.000896800');
    const dearer = [price(3_600_000_000n, 0), price(7_200_000_000n, 500), price(1n, 2000)];
    expect(estimate({}, dearer)({ deployment: 'llama-70b', ...question })).toBe('0.001793600');
    expect(estimate({ gpuMillionths: 500_000 })({ deployment: 'llama-70b', ...question })).toBe('0.000112100');
  });

  it('a prompt computed elsewhere is priced by the profile, GPUs and price of those', () => {
    const slow = { ...profile, iterationMs: 30, prefillTokenMs: 0.04 };
    const here = createDeploymentConfig([], { engineProfile: profile, prefillBy: { pool: 'p', deployment: 'ctx' } });
    const there = createDeploymentConfig([], {
      name: 'ctx',
      engineProfile: slow,
      gpuMillionths: 1_000_000,
      prefillsFor: here.name,
    });
    // There 100·0.04 + 30 ms on one GPU, here 20·(0.5 + 0.001·110) + 20·10 ms on four, at 1 microdollar per GPU and ms.
    const estimator = createEstimator(() => [here, there], [price(3_600_000_000n, 0)]);
    expect(estimator({ deployment: 'llama-70b', ...question })).toBe('0.000882800');
  });

  it('work of which only the time is known is its share of the replica for so long', () => {
    const time = { deployment: 'llama-70b', durationMs: 1000 };
    // 4 GPUs at 3.6 dollars an hour cost 4 microdollars a millisecond.
    expect(estimate()({ ...time, concurrency: 1 })).toBe('0.004000000');
    expect(estimate()({ ...time, concurrency: 4 })).toBe('0.001000000');
    expect(estimate()({ ...time, concurrency: 0.5 })).toBe('0.004000000');
  });

  it('what has no price, or is no deployment, has no estimate', () => {
    expect(estimate()({ deployment: 'gone', ...question })).toBeNull();
    expect(estimate({}, [price(1n, 5000)])({ deployment: 'llama-70b', ...question })).toBeNull();
  });

  it('a new configuration is used at once', () => {
    let deployments = [createDeploymentConfig([], { engineProfile: profile })];
    const ask = createEstimator(() => deployments, [price(3_600_000_000n, 0)]);
    expect(ask({ deployment: 'llama-70b', ...question })).toBe('0.000896800');
    deployments = [createDeploymentConfig([], { engineProfile: { ...profile, iterationMs: 0 } })];
    expect(ask({ deployment: 'llama-70b', ...question })).toBe('0.000056800');
  });
});
