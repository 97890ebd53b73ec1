// Facts, features and publications for tests of settlement: valid by default, any part replaceable.
import { BUSY_MAP_BYTES, markBusy, renderBusyMap } from '#attribution/busy-map.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import { createFeatures } from '#attribution/work-model.ts';
import type { DeploymentFacts, PoolFacts } from '#domain/pool-facts.ts';
import type { FreezeInput, Publication, WindowFeatures } from '#domain/settlement.ts';

/** The 8B profile of reference/attribution-and-finops.md §2.2 (fp8 on one H100). */
export const DEPLOYMENT_FACTS: DeploymentFacts = {
  model: 'llama-3.1-8b',
  profile: toProfileFemtos({
    iterationMs: 4.3,
    prefillTokenMs: 0.013,
    prefillContextMs: 6e-7,
    decodeStepMs: 0.025,
    contextTokenMs: 6e-5,
  }),
  profileSource: 'declared',
  profileFitError: null,
};

/** One H100 at 2.50 dollars an hour, always provisioned, from second 0 on. */
export function createPoolFacts(overrides: Partial<PoolFacts> = {}): PoolFacts {
  return {
    pool: 'pool-a',
    effectiveFrom: 0,
    active: true,
    gpu: 'H100-SXM',
    gpuMillionths: 1_000_000,
    prices: [{ name: 'h100', from: 0, nanoUsdPerGpuHour: '2500000000', source: 'test' }],
    provisioned: { kind: 'always' },
    deployments: { 'llama-8b': DEPLOYMENT_FACTS },
    ...overrides,
  };
}

/** A publication of one deployment, busy in its first `busyMs` milliseconds. */
export function createPublication(
  overrides: Partial<Omit<Publication, 'busy' | 'deployments'>> & {
    busyMs?: number;
    deployment?: string;
    features?: Partial<WindowFeatures>;
  } = {},
): Publication {
  const { busyMs = 500, deployment = 'llama-8b', features, ...rest } = overrides;
  const map = new Uint8Array(BUSY_MAP_BYTES);
  markBusy(map, 0, busyMs);
  return {
    pool: 'pool-a',
    window: 0,
    deployments: { [deployment]: { ...createFeatures(), p: 100, q: 10_000, flightMs: busyMs, ...features } },
    n: Array.from({ length: 10 }, () => 0),
    busy: renderBusyMap(map),
    ...rest,
  };
}

/** A snapshot with one live member `A` that sealed far ahead, and one pool. */
export function createFreezeInput(overrides: Partial<FreezeInput> = {}): FreezeInput {
  return {
    frontier: -1,
    k: 0,
    hash: '',
    boardVersion: 1,
    facts: { version: 1, pools: { 'pool-a': [createPoolFacts()] } },
    nowMs: 1e12,
    members: [{ journal: 'A', incarnation: 1, sealedThrough: 1e9, silentSeconds: 0, blind: [] }],
    board: [],
    boardThrough: null,
    health: [],
    ...overrides,
  };
}
