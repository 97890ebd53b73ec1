// Where the gateway's engine profile comes from in a run. A new source (calibrated, learned, engine statistics) is one more entry here.
// Not here: the engine's real shape (engine-shapes.ts).
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
import { calibrateVirtually } from './calibrate-virtual.ts';
import type { EngineShape } from './engine-shapes.ts';
import { learnFromTraffic } from './learn-from-traffic.ts';
import { readEngineProfile } from './read-engine.ts';
import type { NamedProfile, ProfileSourceName } from './run-facts.ts';

type Found = Omit<NamedProfile, 'name'>;

// Declared and calibrated terms stay as they are; which part of their prefill counts is measured in the run, as the product does.
const SOURCES: Readonly<Record<ProfileSourceName, (shape: EngineShape) => Found | Promise<Found>>> = {
  declared: ({ settings }) => ({ profile: settings.coefficients, source: 'declared', learns: true }),
  calibrated: (shape) => ({
    profile: calibrateVirtually(shape, createBuiltinProfile(readNames(shape))),
    source: 'calibrated',
    learns: true,
  }),
  // Fitted to iterations from the same start; busy time is the engine's as well.
  'engine statistics': async (shape) => readEngineProfile(shape, await SOURCES['declared 2x off'](shape)),
  // Learned from a start that knows neither GPU nor model (an 8B model on A100): what the start knew is not what is measured.
  learned: (shape) =>
    learnFromTraffic(shape, {
      profile: createBuiltinProfile({ gpu: 'unknown', gpus: shape.gpus, modelNames: ['unknown'] }),
      source: 'builtin',
    }),
  // A gateway's first minutes: the built-in profile, until something is learned.
  learning: async (shape) => ({ ...(await SOURCES.builtin(shape)), learns: true }),
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
  builtin: (shape) => ({ profile: createBuiltinProfile(readNames(shape)), source: 'builtin' }),
};

/** A profile takes a while to be measured or learned, and is the same for every cell. */
const found = new Map<string, Promise<Found>>();

/** Names of all sources, best first. */
export const profileSourceNames = Object.keys(SOURCES) as readonly ProfileSourceName[];

/** The profile that a source gives for an engine. */
export async function createProfile(name: ProfileSourceName, shape: EngineShape): Promise<NamedProfile> {
  const key = `${name}\n${shape.name}`;
  const known = found.get(key) ?? Promise.resolve(SOURCES[name](shape));
  found.set(key, known);
  return { name, ...(await known) };
}

function readNames({ gpu, gpus, modelName }: EngineShape): Parameters<typeof createBuiltinProfile>[0] {
  return { gpu, gpus, modelNames: [modelName] };
}
