// What the gateways of a run are told: a profile, and the facts of the one pool with it. Not here: where profiles come from (profile-sources.ts).
import { toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { WantedFacts } from '#accounting/pool-facts-from-config.ts';
import type { EngineProfile, ProfileSource } from '#domain/engine-profile.ts';
import type { EngineShape } from './engine-shapes.ts';
import { DEPLOYMENT, POOL, RUN_START_MS } from './gateway-process.ts';

/** What a gateway is told of an engine. */
export interface NamedProfile {
  readonly name: ProfileSourceName;
  readonly profile: EngineProfile;
  readonly source: ProfileSource;
  /** True: the processes go on learning in the run. Default false. */
  readonly learns?: boolean;
  /** True: one process drains the engine's iteration rows for busy time. Default false. */
  readonly readsEngine?: boolean;
}

export type ProfileSourceName =
  | 'declared'
  | 'calibrated'
  | 'engine statistics'
  | 'learned'
  | 'learning'
  | 'builtin'
  | 'declared 2x off';

/** 2.50 dollars for an hour of one GPU. */
export const PRICE_NANO_USD = '2500000000';

/** The pool's facts as a configuration with this profile would have them. */
export function createRunFacts(shape: EngineShape, profile: NamedProfile): WantedFacts {
  return {
    pool: POOL,
    active: true,
    gpu: shape.gpu,
    gpuMillionths: shape.gpus * 1_000_000,
    prices: [{ name: 'price', from: RUN_START_MS / 1000 - 86_400, nanoUsdPerGpuHour: PRICE_NANO_USD, source: 'bench' }],
    provisioned: { kind: 'always' },
    deployments: {
      [DEPLOYMENT]: {
        model: 'model',
        profile: toProfileFemtos(profile.profile),
        profileSource: profile.source,
        profileFitError: null,
      },
    },
  };
}
