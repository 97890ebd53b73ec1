// From configuration to pool facts: GPUs per pool, price schedules, profiles.
import { expect, test } from 'vitest';
import { chooseProfile, departedPoolFacts, poolFactsFromConfig } from '#accounting/pool-facts-from-config.ts';
import type { DeploymentConfig, PriceConfig, UpstreamConfig } from '#config/config.ts';

function price(name: string, fromMs: number, usd: string): PriceConfig {
  const nanoUsdPerGpuHour = BigInt(Math.round(Number(usd) * 1e9));
  return { name, gpu: 'H100-SXM', nanoUsdPerGpuHour, usdPerGpuHour: usd, fromMs, from: '', source: 'contract' };
}

function upstream(name: string, pool: string, replicas = 1): UpstreamConfig {
  const rest = { discovery: 'static', apiKey: '', headers: {}, dcgm: '', gpus: [] } as const;
  return { name, url: `http://${name}:8000`, pool, replicas, ...rest };
}

function deployment(overrides: Partial<DeploymentConfig>): DeploymentConfig {
  return {
    name: 'llama-70b',
    models: ['llama-3.1-70b'],
    engine: 'tensorrt-llm',
    servedModel: 'llama-3.1-70b',
    gpu: 'H100-SXM',
    gpuMillionths: 4_000_000,
    priceName: 'reserved',
    provisioned: { kind: 'always' },
    upstreams: [upstream('trt-1', 'llama-70b/trt-1')],
    timeouts: { connectMs: 1, firstByteMs: 1, idleMs: 1 },
    health: { path: '/health', intervalMs: 1, timeoutMs: 1, unhealthyAfter: 1 },
    engineStatistics: false,
    work: 'tokens',
    passThrough: [],
    errors: 'passthrough',
    dropFields: [],
    defaults: {},
    caps: {},
    weight: 1,
    priority: 0,
    ...overrides,
  };
}

const prices = [price('reserved', 1500, '3'), price('other', 0, '9'), price('reserved', 0, '2.5')];
const factsOf = (...deployments: readonly DeploymentConfig[]) => poolFactsFromConfig({ deployments, prices });

test('each upstream is its own pool with the GPUs of one replica', () => {
  const upstreams = [upstream('trt-1', 'llama-70b/trt-1'), upstream('trt-2', 'llama-70b/trt-2')];
  const pools = factsOf(deployment({ upstreams }));
  expect([...pools.keys()]).toEqual(['llama-70b/trt-1', 'llama-70b/trt-2']);
  expect(pools.get('llama-70b/trt-2')).toMatchObject({ active: true, gpu: 'H100-SXM', gpuMillionths: 4_000_000 });
});

test('upstreams and deployments that name one pool share its GPUs, each with its own profile', () => {
  const engineProfile = {
    iterationMs: 12,
    prefillTokenMs: 0.03,
    prefillContextMs: 0,
    decodeStepMs: 0.04,
    contextTokenMs: 0.000017,
  };
  const pools = factsOf(
    deployment({ upstreams: [upstream('http', 'shared'), upstream('grpc', 'shared')], engineProfile }),
    deployment({ name: 'lora', models: ['lora-a'], upstreams: [upstream('http', 'shared')] }),
  );
  expect(pools.size).toBe(1);
  const shared = pools.get('shared');
  expect(shared?.gpuMillionths).toBe(4_000_000);
  expect(shared?.deployments['llama-70b']).toEqual({
    model: 'llama-3.1-70b',
    profile: { t0: '12000000000000', a: '30000000000', halfQ: '0', d: '40000000000', k: '17000000' },
    profileSource: 'declared',
    profileFitError: null,
  });
  expect(shared?.deployments['lora']?.profileSource).toBe('builtin');
});

test('a URL that hides N engines has N times the GPUs', () => {
  const pools = factsOf(deployment({ upstreams: [upstream('pool', 'p', 4)] }));
  expect(pools.get('p')?.gpuMillionths).toBe(16_000_000);
});

test('the price schedule is that of the named price, ascending, from whole seconds', () => {
  expect(factsOf(deployment({})).get('llama-70b/trt-1')?.prices).toEqual([
    { name: 'reserved', from: 0, nanoUsdPerGpuHour: '2500000000', source: 'contract' },
    { name: 'reserved', from: 2, nanoUsdPerGpuHour: '3000000000', source: 'contract' },
  ]);
});

test('a deployment without a declared profile starts with one built in for its GPU, GPUs and model size', () => {
  const { profile, source } = chooseProfile(deployment({ models: ['assistant', 'llama-3.1-70b'] }));
  expect(source).toBe('builtin');
  expect(profile.iterationMs).toBeGreaterThan(12.6);
  expect(profile.iterationMs).toBeLessThan(17);
});

test('a pool that is no more is as it was, but accrues nothing', () => {
  const gone = deployment({ upstreams: [upstream('trt@10.0.0.1', 'llama-70b/trt@10.0.0.1')] });
  const facts = departedPoolFacts({ prices }, [gone]);
  expect([...facts]).toEqual([
    ['llama-70b/trt@10.0.0.1', { ...factsOf(gone).get('llama-70b/trt@10.0.0.1'), active: false }],
  ]);
});

test('a profile that calibrate wrote is told from a declared one, with its error, and one that is fixed from one that is not', () => {
  const engineProfile = {
    iterationMs: 9,
    prefillTokenMs: 0.1,
    prefillContextMs: 0,
    decodeStepMs: 0.1,
    contextTokenMs: 0,
  };
  const declared = factsOf(deployment({ engineProfile })).get('llama-70b/trt-1')?.deployments['llama-70b'];
  expect(declared).toMatchObject({ profileSource: 'declared', profileFitError: null });
  const engineProfileOrigin = { source: 'calibrated', fitError: 0.012 } as const;
  const measured = factsOf(deployment({ engineProfile, engineProfileOrigin })).get('llama-70b/trt-1');
  expect(measured?.deployments['llama-70b']).toEqual({
    ...declared,
    profileSource: 'calibrated',
    profileFitError: 0.012,
  });
  const fixed = factsOf(deployment({ engineProfile, engineProfileFixed: true })).get('llama-70b/trt-1');
  expect(fixed?.deployments['llama-70b']).toEqual({ ...declared, profileFixed: true });
});
