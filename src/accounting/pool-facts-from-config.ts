// What the configuration says about each pool: GPUs, price over time, provisioning, profiles. From when it holds is change-facts.ts's.
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { Config, DeploymentConfig, PriceConfig } from '#config/config.ts';
import { priceSchedule } from '#config/price-book.ts';
import type { DeploymentFacts, PoolFacts, PriceEntry } from '#domain/pool-facts.ts';
import type { DeploymentProfile, ProfileOf } from './profile-of.ts';

/** Facts as the configuration wants them; the store says from which window. */
export type WantedFacts = Omit<PoolFacts, 'effectiveFrom'>;

/**
 * Wanted facts by pool name, all active. Upstreams that name one pool share its GPUs: the pool has the GPUs of one of them (the largest,
 * should `replicas` differ), and price and provisioning of the first deployment that names it (`config check` refuses disagreement).
 * An upstream with `replicas: N` hides N engines, so its pool has N × the GPUs of one replica.
 */
export function poolFactsFromConfig(config: Pick<Config, 'deployments' | 'prices'>): ReadonlyMap<string, WantedFacts> {
  const pools = new Map<string, WantedFacts>();
  for (const deployment of config.deployments) {
    const facts = toDeploymentFacts(deployment);
    for (const upstream of deployment.upstreams) {
      const gpuMillionths = deployment.gpuMillionths * upstream.replicas;
      const known = pools.get(upstream.pool);
      pools.set(upstream.pool, {
        pool: upstream.pool,
        active: true,
        gpu: known?.gpu ?? deployment.gpu,
        gpuMillionths: Math.max(known?.gpuMillionths ?? 0, gpuMillionths),
        prices: known?.prices ?? toPriceEntries(config.prices, deployment.priceName),
        provisioned: known?.provisioned ?? deployment.provisioned,
        deployments: { ...known?.deployments, [deployment.name]: facts },
      });
    }
  }
  return pools;
}

/** Wanted facts of pools that are no more: as they were, but inactive, so that no capacity accrues. */
export function departedPoolFacts(
  config: Pick<Config, 'prices'>,
  departed: readonly DeploymentConfig[],
): ReadonlyMap<string, WantedFacts> {
  const facts = departed.flatMap((deployment) => [
    ...poolFactsFromConfig({ deployments: [deployment], prices: config.prices }),
  ]);
  return new Map(facts.map(([pool, wanted]) => [pool, { ...wanted, active: false }]));
}

/** The profile that prices a deployment's work: as declared in the config, else built in by GPU and the model's names. ms. */
export function chooseProfile(
  deployment: Pick<
    DeploymentConfig,
    | 'engineProfile'
    | 'engineProfileOrigin'
    | 'engineProfileFixed'
    | 'gpu'
    | 'gpuMillionths'
    | 'models'
    | 'servedModel'
    | 'name'
  >,
): DeploymentProfile {
  const { engineProfile, engineProfileOrigin, engineProfileFixed = false } = deployment;
  if (engineProfile !== undefined) {
    const fixed = engineProfileFixed ? { fixed: true } : {};
    return { profile: engineProfile, source: 'declared', ...engineProfileOrigin, ...fixed };
  }
  const profile = createBuiltinProfile({
    gpu: deployment.gpu,
    gpus: deployment.gpuMillionths / 1_000_000,
    modelNames: [...deployment.models, deployment.servedModel, deployment.name],
  });
  return { profile, source: 'builtin' };
}

/** Configured profiles by deployment, computed once per configuration: they are asked for at every sealing. */
export function createConfiguredProfiles(config: () => Pick<Config, 'deployments'>): ProfileOf {
  let seen: Pick<Config, 'deployments'> | undefined;
  const profiles = new Map<string, DeploymentProfile>();
  let last: DeploymentProfile | undefined;
  return (deployment) => {
    const current = config();
    if (seen !== current) {
      // A deployment that left the configuration may still have work to be sealed: keep what was known of it.
      for (const entry of current.deployments) profiles.set(entry.name, chooseProfile(entry));
      seen = current;
    }
    const found = profiles.get(deployment) ?? last;
    if (found !== undefined) last = found;
    return found ?? chooseProfile({ gpu: '', gpuMillionths: 1_000_000, models: [], servedModel: '', name: deployment });
  };
}

function toDeploymentFacts(deployment: DeploymentConfig): DeploymentFacts {
  const { profile, source, fitError = null, fixed = false } = chooseProfile(deployment);
  return {
    model: deployment.models[0] ?? deployment.name,
    profile: toProfileFemtos(profile),
    profileSource: source,
    profileFitError: fitError,
    ...(fixed ? { profileFixed: true } : {}),
  };
}

/** A price that begins inside a second holds from the next whole one. */
function toPriceEntries(prices: readonly PriceConfig[], priceName: string): readonly PriceEntry[] {
  return priceSchedule(prices, priceName).map((step) => ({
    name: priceName,
    from: Math.ceil(step.fromMs / 1000),
    nanoUsdPerGpuHour: step.nanoUsdPerGpuHour.toString(),
    source: step.source,
  }));
}
