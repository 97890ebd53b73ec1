// What a gateway reads from an engine's iteration rows: the profile that they give, over all loads, as `engineStatistics: true` would have it.
// Not here: the rows of a run (run-engine.ts), busy time from them (gateway-process.ts), how charges score (run-matrix.ts).
import { IterationProfile } from '#telemetry/iteration-profile.ts';
import type { EngineShape } from './engine-shapes.ts';
import { createLoads, measureCapacity } from './loads.ts';
import { planTraffic } from './plan-traffic.ts';
import type { NamedProfile } from './run-facts.ts';
import { runEngine } from './run-engine.ts';

/** Part of each load's time in the matrix. */
const DURATION_PART = 0.3;
/** Other requests than those that are scored. */
const SEED = 1977;

/** The profile after the loads, each on an engine that was idle before; `starting` is believed where the rows do not tell terms apart. */
export function readEngineProfile(
  shape: EngineShape,
  starting: Omit<NamedProfile, 'name'>,
  loads?: readonly string[],
): Omit<NamedProfile, 'name'> {
  const read = new IterationProfile();
  for (const load of createLoads(measureCapacity(shape)).filter(({ name }) => loads?.includes(name) ?? true)) {
    const traffic = planTraffic({ ...load, durationMs: load.durationMs * DURATION_PART, seed: SEED });
    read.take(runEngine(shape, traffic).rows);
  }
  const fit = read.fit(starting.profile);
  if (fit === null) throw new Error('the engine made no iterations');
  return { profile: fit.profile, source: 'engine', readsEngine: true };
}
