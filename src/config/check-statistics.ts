// Statistics that are asked for and cannot be had: one warning at each place. Reading them is telemetry's.
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { DeploymentConfig } from './config.ts';
import type { ProblemList } from './problem.ts';
import type { Entry } from './schema.ts';

/** Engines without iteration rows, URLs that hide several engines, pools of several engines, and GPUs without an exporter. */
export function checkStatistics(entries: readonly Entry<DeploymentConfig>[], findings: ProblemList): void {
  const engines = new Map<string, Set<string>>();
  for (const { value } of entries) {
    for (const { pool, url } of value.upstreams) engines.set(pool, (engines.get(pool) ?? new Set()).add(url));
  }
  for (const { index, value } of entries) {
    const path = ['deployments', index];
    const traits: EngineTraits = ENGINE_TRAITS[value.engine];
    if (value.engineStatistics && traits.iterationsPath === undefined) {
      findings.warn(
        [...path, 'engineStatistics'],
        `has no effect: engine ${value.engine} keeps no statistics per iteration`,
      );
    }
    for (const [position, { replicas, pool, dcgm, gpus }] of value.upstreams.entries()) {
      const place = [...path, 'upstreams', position];
      if (value.engineStatistics && replicas > 1) {
        findings.warn(
          [...place, 'replicas'],
          `the URL hides ${replicas} engines, so that their statistics are not read`,
        );
      } else if (value.engineStatistics && (engines.get(pool)?.size ?? 0) > 1) {
        findings.warn(
          [...place, 'pool'],
          `several engines share pool ${pool}: its busy time is read from requests, not from their statistics`,
        );
      }
      if (dcgm === '' && gpus.length > 0)
        findings.warn([...place, 'gpus'], 'has no effect without dcgm, the URL of the exporter that shows them');
    }
  }
}
