// The requests of a run before anything is known of their fate: who asks, when, how much, how the answer comes over the wire.
// Not here: what the engine makes of them (run-engine.ts).
import { blockTokens } from '#simulator/pseudo-text.ts';
import { createSeededRandom, mixSeed, type SeededRandom } from '#simulator/seeded-random.ts';
import { type TrafficProfileName, trafficProfiles } from '#simulator/traffic-profiles.ts';

/** One request as its client sends it. Times are ms since the start of the run. */
export interface PlannedRequest {
  readonly id: number;
  readonly team: TrafficProfileName;
  readonly sentAtMs: number;
  readonly promptTokens: number;
  readonly promptBytes: number;
  /** Fingerprints of the prompt's full blocks: equal ones are served from the prefix cache. */
  readonly promptBlocks: readonly number[];
  readonly outputTokens: number;
  readonly stream: boolean;
  /** Content chunks after which the client hangs up; null: it stays. */
  readonly abortAfterChunks: number | null;
  /** Tokens of a chunk are drawn from 1 to this. */
  readonly chunkTokensMax: number;
  /** From the gateway's socket to the engine's queue: network, HTTP, tokenisation, ms. */
  readonly uplinkMs: number;
}

/** Share of the requests of each team, and of those that repeat the head of an earlier prompt (turns of a chat, the same document). */
const TEAMS: Readonly<Record<TrafficProfileName, { readonly share: number; readonly repeats: number }>> = {
  chat: { share: 0.5, repeats: 0.4 },
  rag: { share: 0.25, repeats: 0.25 },
  batch: { share: 0.1, repeats: 0 },
  code: { share: 0.15, repeats: 0.4 },
};
const TEAM_NAMES = Object.keys(TEAMS) as TrafficProfileName[];
const LENGTH_CV = 0.35;
const PROMPT_TOKENS_MAX = 30_000;
/** Part of an earlier prompt that a repeating one begins with, and how many earlier ones it chooses from. */
const REPEATED_PART = 0.7;
const REMEMBERED = 20;
const ABORT_SHARE = 0.02;
/** Bytes of JSON per token, with a spread by language. */
const BYTES_PER_TOKEN = 4.3;
const BYTES_CV = 0.12;
/** Most tokens a chunk may hold, by part of the requests: engines send each token, every few, or what speculation accepted. */
const CHUNK_SIZES: readonly (readonly [upTo: number, tokens: number])[] = [
  [0.6, 1],
  [0.85, 4],
  [1, 10],
];

/** Poisson arrivals of the four teams at `ratePerSecond` for `durationMs`; the same seed gives the same requests. */
export function planTraffic(options: {
  readonly ratePerSecond: number;
  readonly durationMs: number;
  readonly seed: number;
}): readonly PlannedRequest[] {
  const random = createSeededRandom(options.seed);
  const remembered = new Map<TrafficProfileName, (readonly number[])[]>();
  const requests: PlannedRequest[] = [];
  for (let atMs = 0; ;) {
    atMs += random.exponential(1000 / options.ratePerSecond);
    if (atMs >= options.durationMs) return requests;
    requests.push(planRequest(random, { id: requests.length, atMs, seed: options.seed, remembered }));
  }
}

function planRequest(
  random: SeededRandom,
  options: {
    readonly id: number;
    readonly atMs: number;
    readonly seed: number;
    readonly remembered: Map<TrafficProfileName, (readonly number[])[]>;
  },
): PlannedRequest {
  const { id, atMs, seed, remembered } = options;
  const team = drawTeam(random.uniform());
  const profile = trafficProfiles[team];
  const promptTokens = Math.min(
    PROMPT_TOKENS_MAX,
    Math.max(16, Math.round(random.logNormal(profile.promptTokens, LENGTH_CV))),
  );
  const earlier = remembered.get(team) ?? [];
  const repeated =
    earlier.length > 0 && random.uniform() < TEAMS[team].repeats
      ? earlier[Math.floor(random.uniform() * earlier.length)]
      : undefined;
  const promptBlocks = createBlocks({ id, seed, team, promptTokens, repeated });
  remembered.set(team, [...earlier, promptBlocks].slice(-REMEMBERED));
  const outputTokens = Math.max(2, Math.round(random.logNormal(profile.outputTokens, LENGTH_CV)));
  const stream = random.uniform() < profile.streamShare;
  const size = random.uniform();
  const leaves = stream && random.uniform() < ABORT_SHARE;
  return {
    id,
    team,
    sentAtMs: atMs,
    promptTokens,
    promptBytes: Math.round(promptTokens * random.logNormal(BYTES_PER_TOKEN, BYTES_CV)) + 80,
    promptBlocks,
    outputTokens,
    stream,
    abortAfterChunks: leaves ? 1 + Math.floor(random.uniform() * outputTokens) : null,
    chunkTokensMax: CHUNK_SIZES.find(([upTo]) => size < upTo)?.[1] ?? 1,
    uplinkMs: 1 + random.logNormal(5, 0.6),
  };
}

/** The team's system prompt, then the head of an earlier prompt if it repeats one, then blocks of its own. */
function createBlocks(options: {
  readonly id: number;
  readonly seed: number;
  readonly team: TrafficProfileName;
  readonly promptTokens: number;
  readonly repeated: readonly number[] | undefined;
}): readonly number[] {
  const { id, seed, team, promptTokens, repeated } = options;
  const shared = Math.floor(trafficProfiles[team].sharedPromptTokens / blockTokens);
  const teamNumber = TEAM_NAMES.indexOf(team);
  const kept = repeated === undefined ? 0 : Math.floor(repeated.length * REPEATED_PART);
  return Array.from({ length: Math.floor(promptTokens / blockTokens) }, (_, index) => {
    if (repeated !== undefined && index < kept) return repeated[index] ?? 0;
    // Two halves of 26 bits: fingerprints of different blocks must not meet.
    return index < shared ? fingerprint(seed, -1 - teamNumber, index) : fingerprint(seed, id, index);
  });
}

function fingerprint(seed: number, owner: number, index: number): number {
  return (mixSeed(seed, owner, index) >>> 6) * 2 ** 26 + (mixSeed(index, owner, seed, 7) >>> 6);
}

function drawTeam(draw: number): TrafficProfileName {
  let passed = 0;
  for (const team of TEAM_NAMES) {
    passed += TEAMS[team].share;
    if (draw < passed) return team;
  }
  return 'chat';
}
