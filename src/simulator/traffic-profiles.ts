// Lives here: what the traffic of a team looks like: lengths, streaming, shared prompt heads, by kind of use.
// Not here: when requests are sent and what comes back (traffic.ts).
import { createPseudoText } from './pseudo-text.ts';
import type { SeededRandom } from './seeded-random.ts';

export type TrafficProfileName = 'chat' | 'rag' | 'batch' | 'code';

/** Means and shares of one kind of use; lengths in tokens of the simulator's tokenizer. */
export interface TrafficProfile {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Share of requests that stream, 0 to 1. */
  readonly streamShare: number;
  /** Head of the prompt that all requests of the team share: its system prompt. */
  readonly sharedPromptTokens: number;
}

/** The four kinds of use that the attribution model was measured with (design/attribution.md). */
export const trafficProfiles: Readonly<Record<TrafficProfileName, TrafficProfile>> = {
  chat: { promptTokens: 500, outputTokens: 300, streamShare: 1, sharedPromptTokens: 96 },
  rag: { promptTokens: 6000, outputTokens: 150, streamShare: 1, sharedPromptTokens: 512 },
  batch: { promptTokens: 2000, outputTokens: 1500, streamShare: 0, sharedPromptTokens: 192 },
  code: { promptTokens: 800, outputTokens: 1200, streamShare: 0.5, sharedPromptTokens: 128 },
};

// Spread of the lengths around their means.
const lengthCv = 0.35;

/** One request of a team, ready to be sent. */
export interface PlannedRequest {
  readonly prompt: string;
  readonly systemPrompt: string;
  readonly outputTokens: number;
  readonly stream: boolean;
  /** Chunks of the answer after which the client hangs up; null: it stays. */
  readonly abortAfterChunks: number | null;
}

/**
 * Draws the next request of a profile: log-normal lengths of the profile's means, the output times `outputScale`, the
 * prompt times `promptScale`, both at least 2 tokens.
 */
export function planRequest(
  profile: TrafficProfile,
  random: SeededRandom,
  team: { seed: number; outputScale: number; promptScale: number; abortShare: number },
): PlannedRequest {
  const promptTokens = drawLength(random, profile.promptTokens * team.promptScale);
  const outputTokens = drawLength(random, profile.outputTokens * team.outputScale);
  const sharedTokens = Math.round(profile.sharedPromptTokens * team.promptScale);
  const stream = random.uniform() < profile.streamShare;
  const leaves = stream && random.uniform() < team.abortShare;
  return {
    systemPrompt: createPseudoText(sharedTokens, team.seed),
    prompt: createPseudoText(Math.max(2, promptTokens - sharedTokens), Math.floor(random.uniform() * 2 ** 31)),
    outputTokens,
    stream,
    abortAfterChunks: leaves ? 1 + Math.floor(random.uniform() * outputTokens) : null,
  };
}

function drawLength(random: SeededRandom, mean: number): number {
  return Math.max(2, Math.round(random.logNormal(mean, lengthCv)));
}
