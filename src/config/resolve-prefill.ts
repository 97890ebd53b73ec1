// Deployments whose prompts are computed by another one, on GPUs of its own (`prefillBy`): the two are joined, or it is said why they cannot be.
import type { DeploymentConfig } from './config.ts';
import type { ConfigPath, ProblemList } from './problem.ts';
import type { DeploymentInput } from './schema-deployments.ts';
import type { Entry } from './schema.ts';

type Deployments = readonly Entry<DeploymentConfig>[];

/** The deployments with `prefillBy` and `prefillsFor` filled in where `written` names a pair. */
export function resolvePrefill(
  deployments: Deployments,
  written: readonly Entry<DeploymentInput>[],
  findings: ProblemList,
): Deployments {
  const joined = new Map(deployments.map((entry) => [entry.index, entry]));
  const owners = new Map<string, string>();
  for (const { index, value } of written) {
    if (value.prefillBy === '') continue;
    const path = ['deployments', index, 'prefillBy'];
    const owner = owners.get(value.prefillBy);
    if (owner !== undefined) {
      findings.add(path, `${value.prefillBy} computes the prompts of ${owner} already: name a deployment of its own`);
      continue;
    }
    owners.set(value.prefillBy, value.name);
    const problem = findWrongName(value, written);
    if (problem !== null) {
      findings.add(path, problem);
      continue;
    }
    // One that has problems of its own is told of by them.
    const generating = joined.get(index);
    const prefilling = deployments.find((entry) => entry.value.name === value.prefillBy);
    if (generating === undefined || prefilling === undefined) continue;
    const pool = findPool(generating.value, prefilling, { path, findings });
    if (pool === null) continue;
    const prefillBy = { pool, deployment: prefilling.value.name };
    joined.set(index, { index, value: { ...generating.value, prefillBy } });
    joined.set(prefilling.index, { ...prefilling, value: { ...prefilling.value, prefillsFor: value.name } });
  }
  return [...joined.values()];
}

function findWrongName(value: DeploymentInput, written: readonly Entry<DeploymentInput>[]): string | null {
  const { prefillBy } = value;
  if (prefillBy === value.name)
    return 'expected another deployment: one that computes its own prompts needs no prefillBy';
  const named = written.find((entry) => entry.value.name === prefillBy);
  if (named === undefined) return `no deployment is named ${prefillBy}`;
  if (named.value.prefillBy !== '')
    return `${prefillBy} has its own prompts computed by ${named.value.prefillBy}: a chain is not possible`;
  return null;
}

/** The pool of the prefill; null where the two do not fit together. */
function findPool(
  generating: DeploymentConfig,
  prefilling: Entry<DeploymentConfig>,
  { path, findings }: { readonly path: ConfigPath; readonly findings: ProblemList },
): string | null {
  const { value } = prefilling;
  const problem = (message: string): null => {
    findings.add(path, message);
    return null;
  };
  for (const { name, work } of [generating, value]) {
    if (work === 'duration') return problem(`${name} has work: duration, which has no prefill`);
  }
  if (generating.models[0] !== value.models[0]) {
    return problem(
      `${value.name} serves ${value.models[0]}, not ${generating.models[0]}: both name the same model first`,
    );
  }
  const pools = new Set(value.upstreams.map(({ pool }) => pool));
  const [pool = ''] = pools;
  // Each address of a name has GPUs of its own unless the file names a pool.
  const isSpread = value.upstreams.some(
    ({ discovery, name, pool }) => discovery === 'dns' && pool === `${value.name}/${name}`,
  );
  if (pools.size > 1 || isSpread) {
    return problem(
      `the upstreams of ${value.name} make several pools, and the front hides which of them computed a prompt: give them one pool, and replicas for how many engines it has`,
    );
  }
  if (generating.upstreams.some((upstream) => upstream.pool === pool)) {
    return problem(`pool ${pool} is on both sides: GPUs that do both need no prefillBy`);
  }
  return pool;
}
