// Lives here: which iteration coefficients, GPUs and KV capacity a simulated model has, found by its name.
// Not here: how an iteration's time follows from them (iteration-cost.ts).
import type { IterationCoefficients } from './iteration-cost.ts';

/** A model as one replica serves it. */
export interface EngineModel {
  /** Canonical name, or the name asked for where the figures are interpolated. */
  readonly name: string;
  readonly gpu: string;
  /** GPUs of one replica (tensor parallel). */
  readonly gpus: number;
  readonly coefficients: IterationCoefficients;
  /** Tokens the KV cache of the replica holds. */
  readonly kvCapacityTokens: number;
  /** Tokens of a prompt and its answer that the model was made for. */
  readonly contextTokens: number;
}

interface CatalogueEntry {
  readonly name: string;
  readonly pattern: RegExp;
  readonly billionParameters: number;
  readonly fp8: boolean;
  readonly gpus: number;
  readonly coefficients: IterationCoefficients;
  readonly kvCapacityTokens: number;
  /** Absent: `usualContextTokens`. */
  readonly contextTokens?: number;
}

/** Of Llama 3.1 and Mistral Nemo. */
const usualContextTokens = 131_072;

// Names as in the table of §2.2.
type CoefficientRow = readonly [t0: number, a: number, q: number, d: number, k: number];

function nameCoefficients([t0, a, q, d, k]: CoefficientRow): IterationCoefficients {
  return { iterationMs: t0, prefillTokenMs: a, prefillContextMs: q, decodeStepMs: d, contextTokenMs: k };
}

// On H100 SXM. The Llama rows are the centre values of reference/attribution-and-finops.md §2.2.
//
// Nemo and Gemma have no published figures; theirs follow from the roofline of §2.1 with the efficiencies that make
// the same roofline meet the Llama rows: weights read at 62 % of 3.35 TB/s, prefill at 64 % (TP1) or 49 % (TP2 and
// up) of 989.5 TFLOP/s, attention 2.26 × and KV reads 1.5 × their ideal time, d in proportion to the layers.
//   Mistral Nemo 12B, TP1: 40 layers, d 5120, query 4096, KV 1024, FFN 14336 → 10.9e9 layer parameters, 21.8 GB.
//     t0 = 21.8e9/3.35e12 = 6.5 ms /0.62 = 10.5; a = 2·10.9e9/989.5e12 = 22.0 µs /0.64 = 34 µs;
//     q = 4·4096·40/989.5e12 = 0.66 ns ·2.26 = 1.5 ns; KV 160 KiB/token → 49 ns ·1.54 = 75 ns;
//     capacity (72 − 24.5) GB / 160 KiB = 290 000, rounded down.
//   Gemma 2 27B, TP2: 46 layers, d 4608, query 4096, KV 2048, FFN 36864 → 26.0e9 layer parameters, 26.0 GB/GPU.
//     t0 = 7.8 ms /0.62 = 12.5; a = 26.3 µs /0.49 + 1.9 µs all-reduce = 56 µs; q = 0.38 ns ·2.26 = 0.86 ns;
//     KV 368 KiB/token over two GPUs → 56 ns ·1.47 = 83 ns; capacity (144 − 54.5) GB / 368 KiB = 237 000, rounded down.
const catalogue: readonly CatalogueEntry[] = [
  {
    name: 'llama-3.1-8b',
    pattern: /llama-?3(\.\d)?.*\b8b/,
    billionParameters: 8,
    fp8: false,
    gpus: 1,
    coefficients: nameCoefficients([7.2, 0.022, 1.2e-6, 0.03, 6e-5]),
    kvCapacityTokens: 400_000,
  },
  {
    name: 'llama-3.1-8b-fp8',
    pattern: /llama-?3(\.\d)?.*\b8b/,
    billionParameters: 8,
    fp8: true,
    gpus: 1,
    coefficients: nameCoefficients([4.3, 0.013, 0.6e-6, 0.025, 6e-5]),
    kvCapacityTokens: 460_000,
  },
  {
    name: 'mistral-nemo-12b',
    pattern: /mistral.*nemo|nemo.*12b/,
    billionParameters: 12,
    fp8: false,
    gpus: 1,
    coefficients: nameCoefficients([10.5, 0.034, 1.5e-6, 0.0375, 7.5e-5]),
    kvCapacityTokens: 280_000,
  },
  {
    name: 'gemma-2-27b',
    pattern: /gemma-?2.*27b/,
    billionParameters: 27,
    fp8: false,
    gpus: 2,
    coefficients: nameCoefficients([12.5, 0.056, 0.86e-6, 0.043, 8.3e-5]),
    kvCapacityTokens: 230_000,
    contextTokens: 8192,
  },
  {
    name: 'llama-3.1-70b',
    pattern: /llama-?3(\.\d)?.*\b70b/,
    billionParameters: 70,
    fp8: false,
    gpus: 4,
    coefficients: nameCoefficients([16.5, 0.072, 1.5e-6, 0.07, 3.6e-5]),
    kvCapacityTokens: 430_000,
  },
  {
    name: 'llama-3.1-70b-tp8',
    pattern: /llama-?3(\.\d)?.*\b70b/,
    billionParameters: 70,
    fp8: false,
    gpus: 8,
    coefficients: nameCoefficients([10, 0.038, 0.75e-6, 0.04, 1.8e-5]),
    kvCapacityTokens: 1_300_000,
  },
  {
    name: 'llama-3.1-70b-fp8',
    pattern: /llama-?3(\.\d)?.*\b70b/,
    billionParameters: 70,
    fp8: true,
    gpus: 2,
    coefficients: nameCoefficients([16.5, 0.072, 1.5e-6, 0.07, 7e-5]),
    kvCapacityTokens: 220_000,
  },
];

// Speed against H100 SXM: dense bf16 arithmetic (989.5 TFLOP/s) and memory bandwidth (3.35 TB/s).
const gpuSpeeds: Readonly<Record<string, { readonly arithmetic: number; readonly memory: number }>> = {
  'H100-SXM': { arithmetic: 1, memory: 1 },
  'H200-SXM': { arithmetic: 1, memory: 4.8 / 3.35 },
  B200: { arithmetic: 2250 / 989.5, memory: 8 / 3.35 },
  'A100-SXM': { arithmetic: 312 / 989.5, memory: 2.04 / 3.35 },
  L40S: { arithmetic: 362 / 989.5, memory: 0.864 / 3.35 },
};

/** GPUs whose speed is known to `findEngineModel`. */
export const knownGpus: readonly string[] = Object.keys(gpuSpeeds);

/**
 * The model that `name` means on the given GPU (default `H100-SXM`) and number of GPUs (default the catalogue's).
 * Canonical and Hugging Face style names are known (`meta-llama/Llama-3.1-8B-Instruct`, with `fp8` in it for that
 * variant); another name is interpolated by the parameters it states ("13b"), or is taken for an 8B.
 * Throws RangeError on a GPU that is not one of `knownGpus`.
 */
export function findEngineModel(
  name: string,
  placement: { gpu?: string | undefined; gpus?: number | undefined } = {},
): EngineModel {
  const gpu = placement.gpu ?? 'H100-SXM';
  const speed = gpuSpeeds[gpu];
  if (speed === undefined) throw new RangeError(`no speed known for GPU "${gpu}"; known: ${knownGpus.join(', ')}`);
  const entry = findCatalogueEntry(name, placement.gpus) ?? interpolateEntry(name);
  const { coefficients } = entry;
  return {
    name: entry.name,
    gpu,
    gpus: placement.gpus ?? entry.gpus,
    coefficients: {
      iterationMs: coefficients.iterationMs / speed.memory,
      prefillTokenMs: coefficients.prefillTokenMs / speed.arithmetic,
      prefillContextMs: coefficients.prefillContextMs / speed.arithmetic,
      decodeStepMs: coefficients.decodeStepMs,
      contextTokenMs: coefficients.contextTokenMs / speed.memory,
    },
    kvCapacityTokens: entry.kvCapacityTokens,
    contextTokens: entry.contextTokens ?? usualContextTokens,
  };
}

function findCatalogueEntry(name: string, gpus: number | undefined): CatalogueEntry | undefined {
  const wanted = name.toLowerCase().replaceAll('_', '-');
  const exact = catalogue.find((entry) => entry.name === wanted);
  if (exact !== undefined) return exact;
  const fp8 = wanted.includes('fp8');
  const fitting = catalogue.filter((entry) => entry.pattern.test(wanted) && entry.fp8 === fp8);
  return fitting.find((entry) => entry.gpus === gpus) ?? fitting[0];
}

function interpolateEntry(name: string): CatalogueEntry {
  const stated = /(?:^|[^a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])/.exec(name.toLowerCase())?.[1];
  const billions = Math.max(0.1, Number(stated ?? 8));
  const sizes = catalogue.filter((entry) => !entry.fp8 && entry.gpus < 8);
  const above = sizes.find((entry) => entry.billionParameters >= billions);
  const below = sizes.findLast((entry) => entry.billionParameters <= billions);
  const nearest = above ?? below;
  if (nearest === undefined) throw new RangeError('the model catalogue is empty');
  const lower = below ?? nearest;
  const upper = above ?? nearest;
  const gap = upper.billionParameters - lower.billionParameters;
  // Between two sizes: linear in the parameters. Beyond the ends: in proportion to them, except that below the
  // smallest the launch overhead of an iteration (2 ms) remains.
  const blend = (select: (entry: CatalogueEntry) => number): number => {
    if (gap > 0) {
      return select(lower) + ((select(upper) - select(lower)) * (billions - lower.billionParameters)) / gap;
    }
    return (select(nearest) * billions) / nearest.billionParameters;
  };
  const iterationMs = blend((entry) => entry.coefficients.iterationMs);
  return {
    ...upper,
    contextTokens: usualContextTokens,
    name,
    coefficients: {
      iterationMs: Math.max(iterationMs, 2),
      prefillTokenMs: blend((entry) => entry.coefficients.prefillTokenMs),
      prefillContextMs: blend((entry) => entry.coefficients.prefillContextMs),
      decodeStepMs: blend((entry) => entry.coefficients.decodeStepMs),
      contextTokenMs: blend((entry) => entry.coefficients.contextTokenMs),
    },
    gpus: above?.gpus ?? 8,
    kvCapacityTokens: Math.floor(gap > 0 ? blend((entry) => entry.kvCapacityTokens) : nearest.kvCapacityTokens),
  };
}

// Sequences in flight at which an optimised engine's throughput is compared with the baseline's.
const baselineComparisonConcurrency = 8;
const baselineSlowdown = 10;

/**
 * Coefficients of the "Transformers baseline" of a model: it runs one sequence at a time, and every coefficient is
 * multiplied by one factor s so that a typical chat request (500 tokens in, 300 out) takes ten times the GPU time
 * that the optimised engine spends on it with eight such requests in flight. With G(n) = prefill + 299 decode steps
 * + 300·t0/n the GPU time of that request at n in flight, s = 10·G(8)/G(1). For Llama 3.1 8B: G(8) = 302 ms,
 * G(1) = 2 192 ms, s = 1.38: 9.9 ms a token alone, which is what losing the batch and the tuned kernels costs.
 */
export function slowToBaseline(coefficients: IterationCoefficients): IterationCoefficients {
  const promptTokens = 500;
  const outputTokens = 300;
  const gpuTimeMs = (inFlight: number): number =>
    coefficients.prefillTokenMs * promptTokens +
    (coefficients.prefillContextMs * promptTokens * promptTokens) / 2 +
    (outputTokens - 1) * (coefficients.decodeStepMs + coefficients.contextTokenMs * (promptTokens + outputTokens / 2)) +
    (outputTokens * coefficients.iterationMs) / inFlight;
  const factor = (baselineSlowdown * gpuTimeMs(baselineComparisonConcurrency)) / gpuTimeMs(1);
  return {
    iterationMs: coefficients.iterationMs * factor,
    prefillTokenMs: coefficients.prefillTokenMs * factor,
    prefillContextMs: coefficients.prefillContextMs * factor,
    decodeStepMs: coefficients.decodeStepMs * factor,
    contextTokenMs: coefficients.contextTokenMs * factor,
  };
}
