// The engines that attribution is measured against: shape of the iteration, coefficients, memory. Not here: the traffic (plan-traffic.ts).
import type { EngineSettings } from '#simulator/engine-core.ts';
import { findEngineModel } from '#simulator/engine-models.ts';
import { costOfRoofline } from './roofline-cost.ts';

/** An engine under measurement, and the names by which a built-in profile would be looked up. */
export interface EngineShape {
  readonly name: string;
  readonly modelName: string;
  readonly gpu: string;
  readonly gpus: number;
  readonly settings: EngineSettings;
}

/** Coefficient of variation of an iteration's time (issue 4: log-normal noise of 5 %). */
const NOISE_CV = 0.05;
/** Small enough that preemption happens where the batch is full (reference §2.2 has 460 000 for a whole H100). */
const KV_PART = 0.35;

/**
 * `roofline-8b` is what targets are held to; `roofline-70b` has other coefficients on four GPUs, and `linear-8b` the very form of the work
 * model, which tells errors of the form from errors of what the gateway can see.
 */
export const engineShapes: readonly EngineShape[] = [
  createShape('roofline-8b', { model: 'llama-3.1-8b-fp8', roofline: true }),
  createShape('roofline-70b', { model: 'llama-3.1-70b', roofline: true }),
  createShape('linear-8b', { model: 'llama-3.1-8b-fp8', roofline: false }),
];

/** The shape of that name. Throws RangeError where there is none. */
export function findEngineShape(name: string): EngineShape {
  const shape = engineShapes.find((known) => known.name === name);
  if (shape === undefined) {
    throw new RangeError(`no engine "${name}"; there are ${engineShapes.map((known) => known.name).join(', ')}`);
  }
  return shape;
}

function createShape(name: string, kind: { readonly model: string; readonly roofline: boolean }): EngineShape {
  const { coefficients, gpu, gpus, kvCapacityTokens } = findEngineModel(kind.model);
  return {
    name,
    modelName: kind.model,
    gpu,
    gpus,
    settings: {
      coefficients,
      noiseCv: NOISE_CV,
      maxSequences: 192,
      tokenBudget: 2048,
      kvCapacityTokens: Math.round(kvCapacityTokens * KV_PART),
      prefixCache: true,
      maxQueued: 100_000,
      seed: 11,
      ...(kind.roofline ? { costOf: costOfRoofline } : {}),
    },
  };
}
