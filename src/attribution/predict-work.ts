// The work model in milliseconds, for estimates: how long a prefill or a step takes of the replica. Never used for money.
// Not here: the exact integers (work-model.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';

/**
 * Milliseconds of the replica to prefill `promptTokens` uncached tokens onto `cachedTokens` already in the KV cache, without the iteration's
 * fixed cost: a·p + q·p·(c + p/2). Source: attribution.md, The work model. p 1000, c 0, a 0.022, q 1.2e-6 → 22.6.
 */
export function prefillMs(profile: EngineProfile, promptTokens: number, cachedTokens: number): number {
  return (
    profile.prefillTokenMs * promptTokens + profile.prefillContextMs * promptTokens * (cachedTokens + promptTokens / 2)
  );
}

/** Milliseconds of the replica for one decode step at a context length (tokens), without the iteration's fixed cost: d + k·c. */
export function decodeStepMs(profile: EngineProfile, contextTokens: number): number {
  return profile.decodeStepMs + profile.contextTokenMs * contextTokens;
}

/** Milliseconds of one iteration whose members' own work sums to `workMs`: t0 + Σ f. */
export function iterationMs(profile: EngineProfile, workMs: number): number {
  return profile.iterationMs + workMs;
}

/**
 * A member's fair part of one iteration of `members` sequences: its own work and an equal part of the fixed cost, f + t0/n, which is the
 * Shapley value. Source: attribution.md; reference/attribution-and-finops.md §0.2.
 */
export function fairShareMs(profile: EngineProfile, workMs: number, members: number): number {
  return workMs + profile.iterationMs / members;
}
