// What a configuration asks to be read beside requests: engines' statistics and DCGM exporters, each replica once.
// Not here: which process reads (lease-holder.ts), reading (engine-reader.ts, dcgm-reader.ts).
import type { Config, DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { EngineTraits } from '#domain/engine.ts';

/** One engine, or one set of GPUs at an exporter. */
export interface StatisticsTarget {
  readonly kind: 'engine' | 'dcgm';
  /** Same in every process whose configuration says the same, without secrets. */
  readonly lease: string;
  readonly pool: string;
  /** The first deployment that names it: labels of metrics and logs. */
  readonly deployment: DeploymentConfig;
  readonly upstream: UpstreamConfig;
  /** All deployments of the engine or pool, sorted. */
  readonly deployments: readonly string[];
  /** False where the pool has other engines or exporters too: what one of them says is not the pool's busy time. */
  readonly isWholePool: boolean;
}

/** In the order of the configuration. An upstream that hides several engines is left out: each read would reach another of them. */
export function listStatisticsTargets(
  { deployments }: Pick<Config, 'deployments'>,
  engines: Readonly<Record<string, EngineTraits>>,
): readonly StatisticsTarget[] {
  const drafts = new Map<string, Omit<StatisticsTarget, 'isWholePool'> & { deployments: string[] }>();
  const enginesByPool = new Map<string, Set<string>>();
  const exportersByPool = new Map<string, Set<string>>();
  for (const deployment of deployments) {
    for (const upstream of deployment.upstreams) {
      const { pool } = upstream;
      const engine = `engine ${upstream.url} ${upstream.address ?? ''}`.trim();
      addTo(enginesByPool, pool, engine);
      const add = (kind: StatisticsTarget['kind'], lease: string): void => {
        const known = drafts.get(lease);
        if (known === undefined) {
          drafts.set(lease, { kind, lease, pool, deployment, upstream, deployments: [deployment.name] });
        } else if (!known.deployments.includes(deployment.name)) known.deployments.push(deployment.name);
      };
      const hasRows = engines[deployment.engine]?.iterationsPath !== undefined;
      if (deployment.engineStatistics && hasRows && upstream.replicas === 1) add('engine', engine);
      if (upstream.dcgm !== '') {
        const exporter = `dcgm ${pool} ${withoutCredentials(upstream.dcgm)} ${upstream.gpus.toSorted().join(',')}`;
        addTo(exportersByPool, pool, exporter);
        add('dcgm', exporter);
      }
    }
  }
  return [...drafts.values()].map((draft) => {
    const inPool = (draft.kind === 'engine' ? enginesByPool : exportersByPool).get(draft.pool);
    return { ...draft, deployments: draft.deployments.toSorted(), isWholePool: inPool?.size === 1 };
  });
}

function addTo(sets: Map<string, Set<string>>, key: string, value: string): void {
  const known = sets.get(key);
  if (known === undefined) sets.set(key, new Set([value]));
  else known.add(value);
}

function withoutCredentials(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  return url.href;
}
