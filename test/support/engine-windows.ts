// Windows of an engine that follows the work model, as publications of one deployment: for tests of learning. Not here: what is learned.
import { BUSY_MAP_BYTES, markBusy, renderBusyMap } from '#attribution/busy-map.ts';
import { createFeatures } from '#attribution/work-model.ts';
import { toTerms } from '#attribution/learn-fit.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { Publication } from '#domain/settlement.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';

export interface EngineWindow {
  readonly publication: Publication;
  /** What the profile gives the window before noise, ms. */
  readonly modelledMs: number;
}

/**
 * Full windows at a batch of so many sequences: how many iterations fit in a second follows from the profile, prompts come and go, and the time
 * an iteration takes is `noise` off (relative, normal).
 */
export function createEngineWindows(options: {
  readonly profile: EngineProfile;
  readonly batch: number;
  readonly count: number;
  readonly firstWindow: number;
  readonly seed: number;
  readonly noise?: number;
  readonly pool?: string;
  readonly deployment?: string;
}): readonly EngineWindow[] {
  const { profile, batch, count, firstWindow, seed, noise = 0.02, pool = 'pool-a', deployment = 'llama-8b' } = options;
  const random = createSeededRandom(seed);
  const [t0 = 0, a = 0, halfQ = 0, d = 0, k = 0] = toTerms(profile);
  return Array.from({ length: count }, (_, index) => {
    const p = Math.round(random.exponential(60 * batch));
    const q = Math.round(p * (200 + 6000 * random.uniform()));
    const context = 300 + 3000 * random.uniform();
    const perIterationMs = (t0 + batch * (d + k * context)) * Math.max(0.5, 1 + noise * random.normal());
    const prefillMs = a * p + halfQ * q;
    const iterations = Math.max(1, Math.floor((1000 - Math.min(900, prefillMs)) / perIterationMs));
    const steps = iterations * batch;
    const features = createFeatures();
    features.p = p;
    features.q = q;
    features.d = steps;
    features.k = Math.round(steps * context);
    features.s = spread(steps);
    features.flightMs = 1000 * batch;
    const map = new Uint8Array(BUSY_MAP_BYTES);
    markBusy(map, 0, Math.min(1000, iterations * perIterationMs + prefillMs));
    return {
      modelledMs: t0 * iterations + a * p + halfQ * q + d * steps + k * features.k,
      publication: {
        pool,
        window: firstWindow + index,
        deployments: { [deployment]: features },
        n: Array.from({ length: 10 }, () => 100 * batch),
        busy: renderBusyMap(map),
      },
    };
  });
}

/** Evenly over ten buckets, whole. */
function spread(steps: number): number[] {
  return Array.from(
    { length: 10 },
    (_, bucket) => Math.floor(((bucket + 1) * steps) / 10) - Math.floor((bucket * steps) / 10),
  );
}
