// What is assumed where nobody counted: prompt tokens per byte, learned from finished attempts, and decode steps per second.
// Not here: when an assumption is needed (seal.ts).
import type { EngineProfile } from '#domain/engine-profile.ts';
import { decodeStepMs, iterationMs } from '#attribution/predict-work.ts';
import { answeredSequences } from './answered-sequences.ts';
import { FirstTokenTimes } from './first-token-times.ts';
import { PrefixMemory } from './prefix-memory.ts';
import { StepClocks } from './step-clock.ts';
import type { TrackedAttempt } from './tracked-attempt.ts';

const FIRST_TOKENS_PER_BYTE = 0.25;
/** Weight of one finished attempt in the moving mean. */
const LEARNING_RATE = 0.05;
/** Estimates stay below what is likely, so that corrections are positive (settlement.md). */
export const CAUTION = 0.9;
const MAX_DEPLOYMENTS = 10_000;
/** A neighbour that decoded for less time in the window says too little about its rate. */
const RATE_SAMPLE_MS = 300;

/** Learned ratios by deployment, and what the streams of each engine show of its pace and its queue. */
export class WorkEstimates {
  readonly stepClocks = new StepClocks();
  readonly firstTokens = new FirstTokenTimes();
  readonly prefixes = new PrefixMemory();
  readonly #tokensPerByte = new Map<string, number>();

  /** Takes the prompt of a finished attempt as the engine counted it. */
  learnPrompt(deployment: string, promptBytes: number, promptTokens: number): void {
    if (promptBytes <= 0 || promptTokens <= 0) return;
    const known = this.#tokensPerByte.get(deployment);
    if (known === undefined && this.#tokensPerByte.size >= MAX_DEPLOYMENTS) return;
    // A text has no more tokens than bytes: what is beyond are pictures, whose bytes are not counted, or an engine's fault.
    const seen = Math.min(1, promptTokens / promptBytes);
    this.#tokensPerByte.set(deployment, known === undefined ? seen : known + LEARNING_RATE * (seen - known));
  }

  /** Whole prompt tokens of a body of so many bytes; 0.25 per byte until something was learned. */
  promptTokens(deployment: string, promptBytes: number): number {
    return Math.round(promptBytes * (this.#tokensPerByte.get(deployment) ?? FIRST_TOKENS_PER_BYTE));
  }
}

/**
 * Decode steps per second and sequence that an answer which does not stream is assumed to make in a window: 0.9 × the median of its
 * streaming neighbours of the same deployment, else what the profile gives at the concurrency seen. Source: settlement.md, Estimates.
 */
export function assumedStepsPerSecond(
  attempts: readonly TrackedAttempt[],
  window: number,
  profile: EngineProfile,
  contextTokens: number,
): number {
  const startMs = window * 1000;
  const rates: number[] = [];
  let members = 0;
  for (const { features, start, final } of attempts) {
    if (features === null || start === null || start.shape.work !== 'tokens') continue;
    if (features.startMs >= startMs + 1000 || (features.endMs !== null && features.endMs <= startMs)) continue;
    const sequences = answeredSequences(start.shape, final);
    members += sequences;
    const firstMs = features.firstContentMs;
    if (!start.shape.stream || firstMs === null) continue;
    const decodedMs = Math.min(startMs + 1000, features.endMs ?? Number.POSITIVE_INFINITY) - Math.max(startMs, firstMs);
    if (decodedMs < RATE_SAMPLE_MS) continue;
    const events = features.eventsUntil(startMs + 1000) - features.eventsUntil(startMs);
    rates.push((events * 1000) / decodedMs / sequences);
  }
  const median = rates.sort((a, b) => a - b)[Math.floor(rates.length / 2)];
  if (median !== undefined) return CAUTION * median;
  const stepMs = iterationMs(profile, Math.max(1, members) * decodeStepMs(profile, contextTokens));
  return stepMs > 0 ? (CAUTION * 1000) / stepMs : 0;
}
