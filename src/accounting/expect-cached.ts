// How much of a prompt its engine most likely had in its prefix cache, and what each request teaches about that.
// Not here: what the cache has seen (prefix-memory.ts), the time it would have taken (split-prompt.ts).
import { prefillMs } from '#attribution/predict-work.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { TokenCounts } from '#domain/tokens.ts';
import type { AttemptFeatures } from './attempt-features.ts';
import type { PrefixUse, SeenPrefix } from './prefix-memory.ts';
import { CACHE_TOLERANCE } from './split-prompt.ts';
import type { AttemptShape } from './work-timeline.ts';

/** A prompt whose prefill would take this many times its time to first token and more was waiting: it shows neither hit nor miss. */
const WAITED = 2;
/** Only where a hit would save this part of the prefill is it told from a miss. */
const TELLING_PART = 0.5;
/** A cached count below this part of what is expected is a miss. */
const HIT_PART = 0.5;
/**
 * What is new in a prompt has at least so many tokens per byte: texts have one for each two to five bytes. Bytes that are no text (a picture, white
 * space, members that the engine ignores) are never cached tokens: a long shared filling would else make a new text look computed before.
 */
const NEW_TOKENS_PER_BYTE = 0.2;

/** A request that ended, as far as its prompt is concerned. */
export interface EndedPrompt {
  readonly shape: Pick<AttemptShape, 'stream' | 'sequences'>;
  readonly features: Pick<AttemptFeatures, 'startMs' | 'firstContentMs'>;
  readonly profile: EngineProfile;
  readonly tokens: TokenCounts;
  readonly estimatedPromptTokens: number;
  /** True where its prompt was computed to the end. */
  readonly entered: boolean;
}

/** Prompt tokens that were most likely cached, 0 where nothing says so; learns from the request, and ends its use of the cache. */
export function expectCached(use: PrefixUse, ended: EndedPrompt): number {
  const { tokens, features, profile, entered } = ended;
  const prompt = tokens.input === null ? ended.estimatedPromptTokens : tokens.input + (tokens.cachedInput ?? 0);
  // Of an iteration's requests none has the other's prompt yet.
  const beganMs = (features.firstContentMs ?? features.startMs) - profile.iterationMs;
  const seen = use.seen(Number.POSITIVE_INFINITY, ended.shape.stream ? beganMs : features.startMs);
  if (entered && tokens.input !== null) learn(use, ended, { prompt, seen });
  const kept = use.seen(use.evidence.capacityTokens, ended.shape.stream ? beganMs : features.startMs);
  const expected = kept === null ? 0 : countSeen(kept, prompt);
  const output = (tokens.output ?? 0) + (tokens.reasoning ?? 0);
  use.end(Math.max(0, prompt - (tokens.cachedInput ?? expected)) + output, entered);
  return expected;
}

/** Whole tokens of a prompt that stand in what was seen of it. The last token is always computed. */
function countSeen({ part, newBytes }: SeenPrefix, prompt: number): number {
  return Math.max(
    0,
    Math.min(prompt - 1, Math.floor(part * prompt), Math.floor(prompt - newBytes * NEW_TOKENS_PER_BYTE)),
  );
}

/** What the engine says of its cache is believed; else a prefill that had no time was a hit, and one that took its time was none. */
function learn(
  { evidence }: PrefixUse,
  { shape, features, profile, tokens }: EndedPrompt,
  { prompt, seen }: { readonly prompt: number; readonly seen: SeenPrefix | null },
): void {
  const expected = seen === null ? 0 : countSeen(seen, prompt);
  if (tokens.cachedInput !== null) {
    if (seen !== null && expected > 0)
      evidence.addTrial(seen.distanceTokens, tokens.cachedInput >= HIT_PART * expected);
    return;
  }
  const { firstContentMs } = features;
  if (!shape.stream || shape.sequences > 1 || firstContentMs === null) return;
  const wholeMs = prefillMs(profile, prompt, 0);
  const availableMs = firstContentMs - features.startMs - profile.iterationMs;
  if (wholeMs < profile.iterationMs || availableMs > WAITED * wholeMs) return;
  const isHit = wholeMs > CACHE_TOLERANCE * availableMs;
  const leftMs = prefillMs(profile, prompt - expected, expected);
  if (seen === null || CACHE_TOLERANCE * leftMs > wholeMs) evidence.addControl(isHit);
  else if (leftMs <= TELLING_PART * wholeMs) evidence.addTrial(seen.distanceTokens, isHit);
}
