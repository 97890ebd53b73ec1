// What the gateways learn of an engine from traffic alone: the real learner on the real accounting plane, over an hour with all loads in it.
// Not here: how charges by that profile score (run-matrix.ts).
import { factsInForce } from '#domain/pool-facts.ts';
import { fromProfileFemtos } from '#attribution/profile-femtos.ts';
import type { EngineShape } from './engine-shapes.ts';
import { DEPLOYMENT, POOL } from './gateway-process.ts';
import { createLoads, measureCapacity } from './loads.ts';
import { planTraffic, type PlannedRequest } from './plan-traffic.ts';
import type { NamedProfile } from './run-facts.ts';
import { replayTrace } from './replay-trace.ts';
import { runEngine } from './run-engine.ts';

/** Part of each load's time in the matrix: about 40 minutes in all. */
const DURATION_PART = 0.3;
const PAUSE_MS = 20_000;
/** Other requests than those that are scored. */
const SEED = 977;

/** Runs three gateway processes that begin with `starting`; the profile that the store's facts have at the end. */
export async function learnFromTraffic(
  shape: EngineShape,
  starting: Omit<NamedProfile, 'name'>,
  loads?: readonly string[],
): Promise<Omit<NamedProfile, 'name'>> {
  const plans: PlannedRequest[] = [];
  let fromMs = 0;
  for (const load of createLoads(measureCapacity(shape)).filter(({ name }) => loads?.includes(name) ?? true)) {
    const durationMs = load.durationMs * DURATION_PART;
    for (const plan of planTraffic({ ...load, durationMs, seed: SEED + plans.length })) {
      plans.push({ ...plan, id: plans.length, sentAtMs: fromMs + plan.sentAtMs });
    }
    fromMs += durationMs + PAUSE_MS;
  }
  const trace = runEngine(shape, plans);
  const profile = { name: 'builtin' as const, profile: starting.profile, source: 'builtin' as const };
  const { facts, windows } = await replayTrace(trace, {
    processes: 3,
    profile,
    cachedKnown: true,
    deathAtMs: null,
    learns: true,
  });
  const learned = factsInForce(facts, POOL, windows.last + 3600)?.deployments[DEPLOYMENT];
  if (learned === undefined) throw new Error('the pool has no facts');
  return { profile: fromProfileFemtos(learned.profile), source: learned.profileSource };
}
