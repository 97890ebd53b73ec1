// A starting engine profile from GPU and model size, for deployments that declare none: a roofline with measured efficiencies.
// Not here: reading names (model-size.ts), GPU figures (gpu-speed.ts). Always marked `builtin` by the caller.
import type { EngineProfile } from '#domain/engine-profile.ts';
import { findGpuSpeed, type GpuSpeed } from './gpu-speed.ts';
import { readModelSize, type ModelSize } from './model-size.ts';

/** One replica of a deployment. */
export interface ReplicaShape {
  /** As in the config, any spelling. */
  readonly gpu: string;
  /** GPUs of one replica; fractions under MIG. */
  readonly gpus: number;
  /** Names the model goes by; the first that tells a size decides. */
  readonly modelNames: readonly string[];
}

/** Layers, width of the queries and of the keys and values of models near a size; others take the nearest (by ratio). */
const SHAPES: readonly {
  readonly billions: number;
  readonly layers: number;
  readonly query: number;
  readonly keyValue: number;
}[] = [
  { billions: 0.5, layers: 24, query: 896, keyValue: 128 },
  { billions: 1.2, layers: 16, query: 2048, keyValue: 512 },
  { billions: 3.2, layers: 28, query: 3072, keyValue: 1024 },
  { billions: 8, layers: 32, query: 4096, keyValue: 1024 },
  { billions: 12, layers: 40, query: 4096, keyValue: 1024 },
  { billions: 14, layers: 48, query: 5120, keyValue: 1024 },
  { billions: 27, layers: 46, query: 4096, keyValue: 2048 },
  { billions: 32, layers: 64, query: 5120, keyValue: 1024 },
  { billions: 70, layers: 80, query: 8192, keyValue: 1024 },
  { billions: 123, layers: 88, query: 12_288, keyValue: 1024 },
  { billions: 405, layers: 126, query: 16_384, keyValue: 1024 },
];

// Efficiencies that make the roofline of reference/attribution-and-finops.md §2.1 meet the centre values of §2.2 on H100.
/** Real over ideal time of reading the weights, and kernel launches per layer and iteration (ms). */
const WEIGHT_READ_FACTOR = 1.25;
const LAYER_OVERHEAD_MS = 0.044;
/** Part of peak arithmetic reached in prefill: one GPU, one GPU in 8 bits, several GPUs with their all-reduce. */
const PREFILL_EFFICIENCY = { single: 0.64, singleEightBit: 0.54, parallel: 0.48 };
const ATTENTION_FACTOR = 2.26;
const KV_READ_FACTOR = 1.5;
/** A decode step's arithmetic hides partly behind the weight reads; the rest is per sequence and layer (ms). */
const DECODE_ARITHMETIC_PART = 0.7;
const DECODE_LAYER_MS = 0.000625;
/** Parameters outside the layers (embeddings) do no matrix work in prefill: 6.98 of 8.03 in Llama 3.1 8B, 68.5 of 70.6 in 70B. */
const EMBEDDING_BILLIONS_MAX = 2.1;
const LAYER_PART_MIN = 0.87;

/** Where the name of the GPU says nothing: an A100, whose ratio of arithmetic to bandwidth lies in the middle of the table. */
const DEFAULT_GPU = 'A100-SXM';
/** Where no name tells a size: the most served size, 8B in bf16. */
const DEFAULT_SIZE: ModelSize = { billions: 8, activeBillions: 8, bytesPerWeight: 2, eightBitArithmetic: false };

/**
 * Profile of one replica in ms (see EngineProfile). Every busy window is scaled to the time that really passed, so only the ratios between
 * the terms matter for who pays what: an unknown GPU or size costs accuracy between prompts and answers, never the sum.
 * Source: reference/attribution-and-finops.md §2.1 and §2.2. Llama 3.1 8B bf16 on one H100: about 7.0, 0.022, 1.2e-6, 0.03, 5.9e-5.
 */
export function createBuiltinProfile(shape: ReplicaShape): EngineProfile {
  const speed = findGpuSpeed(shape.gpu) ?? (findGpuSpeed(DEFAULT_GPU) as GpuSpeed);
  const size = readModelSize(shape.modelNames) ?? DEFAULT_SIZE;
  const gpus = shape.gpus > 0 ? shape.gpus : 1;
  const { layers, query, keyValue } = findShape(size.activeBillions);
  const flops = gpus * (size.eightBitArithmetic ? speed.eightBitFlops : speed.halfFlops);
  const bandwidth = gpus * speed.memoryBandwidth;
  const layerBillions = Math.max(size.activeBillions * LAYER_PART_MIN, size.activeBillions - EMBEDDING_BILLIONS_MAX);
  const weightBytes = size.billions * 1e9 * size.bytesPerWeight * readPart(size);
  const tokenMs = (2 * layerBillions * 1e9 * 1000) / flops;
  return {
    iterationMs: round(WEIGHT_READ_FACTOR * ((weightBytes * 1000) / bandwidth) + LAYER_OVERHEAD_MS * layers),
    prefillTokenMs: round(tokenMs / prefillEfficiency(gpus, size)),
    prefillContextMs: round((ATTENTION_FACTOR * 4 * query * layers * 1000) / flops),
    decodeStepMs: round(DECODE_ARITHMETIC_PART * tokenMs + DECODE_LAYER_MS * layers),
    contextTokenMs: round((KV_READ_FACTOR * 2 * layers * keyValue * 2 * 1000) / bandwidth),
  };
}

function prefillEfficiency(gpus: number, size: ModelSize): number {
  if (gpus > 1) return PREFILL_EFFICIENCY.parallel;
  return size.eightBitArithmetic ? PREFILL_EFFICIENCY.singleEightBit : PREFILL_EFFICIENCY.single;
}

/** The input embedding is looked up, not read through: half of what lies outside the layers. */
function readPart(size: ModelSize): number {
  const outside = Math.min(size.billions * (1 - LAYER_PART_MIN), EMBEDDING_BILLIONS_MAX);
  return 1 - outside / 2 / size.billions;
}

function findShape(billions: number): (typeof SHAPES)[number] {
  const distance = (shape: (typeof SHAPES)[number]): number => Math.abs(Math.log(shape.billions / billions));
  return SHAPES.reduce((nearest, shape) => (distance(shape) < distance(nearest) ? shape : nearest));
}

/** Three significant digits: more would pretend to be measured. */
function round(termMs: number): number {
  return Number(termMs.toPrecision(3));
}
