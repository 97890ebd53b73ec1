// How much of a prompt was computed and how much came from the prefix cache, where the engine does not say. Not here: when it was computed (work-timeline.ts).
import { prefillMs } from '#attribution/predict-work.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { TokenCounts } from '#domain/tokens.ts';
import type { AttemptFeatures } from './attempt-features.ts';
import type { AttemptShape } from './work-timeline.ts';

/** A prompt is taken for cached in part where its prefill needs this many times the time there was. */
export const CACHE_TOLERANCE = 1.25;

/**
 * Prompt tokens computed, and cached ones. Where an engine hides its prefix cache, cached is what it most likely had there, and what cannot have
 * been prefilled between the request's dispatch and its first token. The latter only where the prompt misses that time by more than a quarter,
 * so that a profile a little off or a lucky network invents no cache; the wait in a queue is not subtracted, since requests let in together are
 * computed together.
 */
export function splitPrompt(
  shape: Pick<AttemptShape, 'stream' | 'sequences'>,
  features: Pick<AttemptFeatures, 'startMs' | 'firstContentMs'>,
  known: {
    readonly profile: EngineProfile;
    readonly tokens: TokenCounts;
    /** What of it the engine had most likely seen before; absent: nothing is known to be. */
    readonly expectedCached?: number;
  },
): { readonly prompt: number | null; readonly cached: number } {
  const { profile, tokens, expectedCached = 0 } = known;
  const { input: prompt, cachedInput } = tokens;
  const firstMs = features.firstContentMs;
  if (cachedInput !== null || prompt === null) return { prompt, cached: cachedInput ?? 0 };
  const expected = Math.max(0, Math.min(prompt - 1, expectedCached));
  if (firstMs === null || !shape.stream || shape.sequences > 1) return { prompt: prompt - expected, cached: expected };
  const availableMs = Math.max(0, firstMs - features.startMs - profile.iterationMs);
  if (prefillMs(profile, prompt - expected, expected) <= CACHE_TOLERANCE * availableMs)
    return { prompt: prompt - expected, cached: expected };
  let computed = 0;
  for (let step = 2 ** Math.floor(Math.log2(Math.max(1, prompt))); step >= 1; step /= 2) {
    const tried = computed + step;
    if (tried <= prompt && prefillMs(profile, tried, prompt - tried) <= availableMs) computed = tried;
  }
  // The last token is always computed.
  computed = Math.max(1, computed);
  return { prompt: computed, cached: prompt - computed };
}
