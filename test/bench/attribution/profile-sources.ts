// Where the gateway's engine profile comes from in a run. A new source (calibrated, learned, engine statistics) is one more entry here.
// Not here: the engine's real shape (engine-shapes.ts).
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
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
}

export type ProfileSourceName = 'declared' | 'declared 2x off' | 'builtin';

/** 2.50 dollars for an hour of one GPU. */
export const PRICE_NANO_USD = '2500000000';

const SOURCES: Readonly<Record<ProfileSourceName, (shape: EngineShape) => Omit<NamedProfile, 'name'>>> = {
  declared: ({ settings }) => ({ profile: settings.coefficients, source: 'declared' }),
  // Against each other, since a common factor changes nothing: fixed and per-step terms doubled, prefill and context halved.
  'declared 2x off': ({ settings: { coefficients } }) => ({
    profile: {
      iterationMs: coefficients.iterationMs * 2,
      prefillTokenMs: coefficients.prefillTokenMs / 2,
      prefillContextMs: coefficients.prefillContextMs / 2,
      decodeStepMs: coefficients.decodeStepMs * 2,
      contextTokenMs: coefficients.contextTokenMs / 2,
    },
    source: 'declared',
  }),
  builtin: ({ gpu, gpus, modelName }) => ({
    profile: createBuiltinProfile({ gpu, gpus, modelNames: [modelName] }),
    source: 'builtin',
  }),
};

/** Names of all sources, best first. */
export const profileSourceNames = Object.keys(SOURCES) as readonly ProfileSourceName[];

/** The profile that a source gives for an engine. */
export function createProfile(name: ProfileSourceName, shape: EngineShape): NamedProfile {
  return { name, ...SOURCES[name](shape) };
}

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
