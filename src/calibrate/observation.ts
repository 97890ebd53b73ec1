// What a calibration measured, as rows of the work model; and the names of what is fitted.
import type { EngineProfile } from '#domain/engine-profile.ts';

/** The five terms of the engine profile, and the time per request that is no GPU time: transport, HTTP, tokenising. */
export type FittedName = keyof EngineProfile | 'overheadMs';

/** The order of every vector and matrix of the fit. */
export const FITTED_NAMES: readonly FittedName[] = [
  'iterationMs',
  'prefillTokenMs',
  'prefillContextMs',
  'decodeStepMs',
  'contextTokenMs',
  'overheadMs',
];

/** One measured time, and how often each fitted number is in it: `measuredMs` ≈ Σ factors[name] · name. */
export interface Observation {
  readonly phase: 'prefill' | 'decode';
  /** Repeats of one design point share it, such as `prefill 1800` or `decode 8 × 128`. */
  readonly cell: string;
  readonly factors: Readonly<Record<FittedName, number>>;
  readonly measuredMs: number;
}

/** Prompt work of one request that was alone on the engine. */
export interface PrefillWork {
  /** Computed, that is, not from the prefix cache. */
  readonly computedTokens: number;
  readonly cachedTokens: number;
  /** Most prompt tokens of one iteration; null where prompts are not cut in chunks. */
  readonly chunkTokens: number | null;
}

/**
 * The time to first token of a lone request: one iteration per chunk, a·p + q·p·(c + p/2), and the overhead
 * (attribution.md, "The work model": the sum over the chunks of a prompt is that of the whole prompt).
 */
export function describePrefill(work: PrefillWork): Observation['factors'] {
  const { computedTokens, cachedTokens, chunkTokens } = work;
  return {
    iterationMs: chunkTokens === null ? 1 : Math.max(1, Math.ceil(computedTokens / chunkTokens)),
    prefillTokenMs: computedTokens,
    prefillContextMs: computedTokens * (cachedTokens + computedTokens / 2),
    decodeStepMs: 0,
    contextTokenMs: 0,
    overheadMs: 1,
  };
}

/** One iteration that decodes `batch` sequences with `contextTokens` in the KV cache between them: t0 + d·B + k·ΣC. */
export function describeDecode(batch: number, contextTokens: number): Observation['factors'] {
  return {
    iterationMs: 1,
    prefillTokenMs: 0,
    prefillContextMs: 0,
    decodeStepMs: batch,
    contextTokenMs: contextTokens,
    overheadMs: 0,
  };
}

/** What these numbers predict for such a row, ms. */
export function predictMs(factors: Observation['factors'], values: Readonly<Record<FittedName, number>>): number {
  return FITTED_NAMES.reduce((sum, name) => sum + factors[name] * values[name], 0);
}
