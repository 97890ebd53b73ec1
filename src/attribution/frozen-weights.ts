// Fixes, for one window of one pool, the integer coefficients by which every process weighs its work.
// Not here: applying them (work-model.ts).
import type { PoolFacts } from '#domain/pool-facts.ts';
import type { FrozenWeights } from '#domain/settlement.ts';
import { parseProfileFemtos } from './profile-femtos.ts';
import { BUCKETS_PER_WINDOW } from './work-model.ts';

/** A bucket's length: fewer sequence-milliseconds than this still mean one sequence, since a step was seen. */
const BUCKET_MS = 100n;
/** One millisecond in femtoseconds times the bucket's length: ∫dt/n of a tokenless attempt. */
const FEMTOS_PER_TOKENLESS_MS = 10n ** 14n;

/**
 * Coefficients of a window from the sequence-milliseconds `n` per bucket, summed over all processes, and the pool's facts:
 * N_b = max(100, n_b), r_b = ⌊t0·100/N_b⌋ per deployment, e_b = ⌊10^14/N_b⌋. Source: settlement.md, Arithmetic.
 */
export function freezeWeights(
  n: readonly number[],
  facts: PoolFacts,
  byFlight: 'by-flight' | 'by-work',
): FrozenWeights {
  const sequenceMs = Array.from({ length: BUCKETS_PER_WINDOW }, (_, bucket) => {
    const count = BigInt(n[bucket] ?? 0);
    return count > BUCKET_MS ? count : BUCKET_MS;
  });
  const deployments: Record<string, FrozenWeights['deployments'][string]> = {};
  for (const name of Object.keys(facts.deployments).toSorted()) {
    const deployment = facts.deployments[name];
    if (deployment === undefined) continue;
    const { t0 } = parseProfileFemtos(deployment.profile);
    const { a, halfQ, d, k } = deployment.profile;
    const r = sequenceMs.map((count) => ((t0 * BUCKET_MS) / count).toString());
    deployments[name] = { a, halfQ, d, k, r, profileSource: deployment.profileSource };
  }
  return {
    deployments,
    e: sequenceMs.map((count) => (FEMTOS_PER_TOKENLESS_MS / count).toString()),
    byFlight: byFlight === 'by-flight',
  };
}
