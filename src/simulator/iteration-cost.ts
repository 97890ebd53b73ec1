// Lives here: what one engine iteration costs and what each member's fair share of it is: the simulator's truth.
// Not here: who takes part in an iteration (engine-core.ts) and the figures of real models (engine-models.ts).

/** Coefficients of the iteration model, milliseconds of the whole replica (all its GPUs together). */
export interface IterationCoefficients {
  /** t0: fixed cost of an iteration, ms. */
  readonly iterationMs: number;
  /** a: ms per prompt token computed. */
  readonly prefillTokenMs: number;
  /** q: ms per prompt token and context token it attends to. */
  readonly prefillContextMs: number;
  /** d: ms per decoding sequence. */
  readonly decodeStepMs: number;
  /** k: ms per context token read in a decode step. */
  readonly contextTokenMs: number;
}

/** One sequence's work in one iteration: `prefillTokens` > 0 is a prefill chunk, 0 a decode step. */
export interface IterationWork {
  readonly prefillTokens: number;
  /** Prefill: tokens already in the KV cache before the chunk. Decode: context length of the step. */
  readonly contextTokens: number;
}

/**
 * Own work f of one member, ms: a·p + q·p·(c + p/2) for a prefill chunk of p tokens on c cached ones, d + k·c for a
 * decode step at context length c (design/attribution.md, "The work model").
 */
export function costOfWork(work: IterationWork, coefficients: IterationCoefficients): number {
  const { prefillTokens, contextTokens } = work;
  if (prefillTokens === 0) return coefficients.decodeStepMs + coefficients.contextTokenMs * contextTokens;
  return (
    coefficients.prefillTokenMs * prefillTokens +
    coefficients.prefillContextMs * prefillTokens * (contextTokens + prefillTokens / 2)
  );
}

/** What an iteration took and how it divides; `sharesMs` stands in the order of the works given and sums to `durationMs`. */
export interface IterationCost {
  readonly durationMs: number;
  readonly sharesMs: readonly number[];
}

/** Another engine's iteration: duration and fair shares (ms, both times `noise`) of the members in their order, under the coefficients. */
export type CostOfIteration = (
  works: readonly IterationWork[],
  coefficients: IterationCoefficients,
  noise: number,
) => IterationCost;

/**
 * Duration T = (t0 + Σ f)·noise of an iteration and each member's Shapley share (f + t0/n)·noise, ms: the fixed cost
 * in equal parts and to each its own work. Without members both are empty.
 */
export function costOfIteration(
  works: readonly IterationWork[],
  coefficients: IterationCoefficients,
  noise = 1,
): IterationCost {
  if (works.length === 0) return { durationMs: 0, sharesMs: [] };
  const fixedShareMs = coefficients.iterationMs / works.length;
  const sharesMs = works.map((work) => (costOfWork(work, coefficients) + fixedShareMs) * noise);
  // Summed from the shares so that the shares add up to the duration to the last bit.
  return { durationMs: sharesMs.reduce((sum, shareMs) => sum + shareMs, 0), sharesMs };
}
