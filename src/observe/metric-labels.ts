// Label values of metrics: only words of the config, so that no client can create series. Counting lives in *-metrics.ts.
import type { Config, DeploymentConfig } from '#config/config.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';

/** Label of requests without identity, and of records that reached no deployment. */
export const NONE = 'none';

/** Label of everything the config does not know. */
export const OTHER = 'other';

/** Routes of contract §4 that can stand in a record. */
const ROUTES = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/responses',
  '/v1/messages',
  '/v1/rerank',
  '/v2/models/{m}/infer',
  '/v2/models/{m}/generate',
  '/v2/models/{m}/generate_stream',
  '/inference.GRPCInferenceService/ModelInfer',
  '/inference.GRPCInferenceService/ModelStreamInfer',
] as const;

/** GPUs that deployments share, as the books name them. */
export interface PoolLabels {
  /** Sorted names joined by `+`. */
  readonly deployment: string;
  readonly gpu: string;
  /** Some upstream of theirs names a DCGM exporter, so that energy and unmetered activity are known. */
  readonly hasDcgm: boolean;
}

/** The words of one config; a reload makes new ones, while series already counted stay. */
export interface MetricLabels {
  readonly teams: readonly string[];
  readonly deployments: readonly DeploymentConfig[];
  readonly pools: readonly PoolLabels[];
  team(name: string): string;
  model(name: string | null): string;
  deployment(name: string | null): string;
  route(template: string): string;
  /** GPU model of a deployment; `other` when it is not in the config. */
  gpu(deployment: string): string;
}

/** Reads the words of a config. The empty name means "none" wherever rollups write it. */
export function createMetricLabels(config: Pick<Config, 'teams' | 'deployments' | 'tenancy'>): MetricLabels {
  const { deployments } = config;
  const anonymous = config.tenancy.anonymous === '' ? [] : [config.tenancy.anonymous];
  const teams = new Set([...config.teams.map(({ name }) => name), ...anonymous]);
  const models = new Set(deployments.flatMap((deployment) => deployment.models.slice(0, 1)));
  const gpus = new Map(deployments.map(({ name, gpu }) => [name, gpu]));
  const routes = new Set<string>([...ROUTES, ...deployments.flatMap(({ passThrough }) => passThrough)]);
  return {
    teams: [...teams],
    deployments,
    pools: listPools(deployments),
    team: (name) => (name === '' ? NONE : name === UNATTRIBUTED ? name : known(teams, name)),
    model: (name) => known(models, name ?? ''),
    deployment: (name) => (name === null || name === '' ? NONE : known(gpus, name)),
    route: (template) => known(routes, template),
    gpu: (deployment) => gpus.get(deployment) ?? OTHER,
  };
}

function known(names: { has(name: string): boolean }, name: string): string {
  return names.has(name) ? name : OTHER;
}

function listPools(deployments: readonly DeploymentConfig[]): readonly PoolLabels[] {
  const members = new Map<string, { names: Set<string>; gpu: string; hasDcgm: boolean }>();
  for (const { name, gpu, upstreams } of deployments) {
    for (const { pool, dcgm } of upstreams) {
      const entry = members.get(pool) ?? { names: new Set(), gpu, hasDcgm: false };
      entry.names.add(name);
      entry.hasDcgm ||= dcgm !== '';
      members.set(pool, entry);
    }
  }
  const labels = [...members.values()].map(({ names, gpu, hasDcgm }) => ({
    deployment: [...names].sort().join('+'),
    gpu,
    hasDcgm,
  }));
  const merged = new Map<string, PoolLabels>();
  for (const pool of labels) {
    const key = `${pool.deployment} ${pool.gpu}`;
    merged.set(key, { ...pool, hasDcgm: pool.hasDcgm || merged.get(key)?.hasDcgm === true });
  }
  return [...merged.values()];
}
