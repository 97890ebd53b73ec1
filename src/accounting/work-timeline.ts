// When one attempt did its work, as far as it is known: prefill interval, output tokens over time, milliseconds in flight.
// Not here: cutting it into windows (window-slices.ts), what the wire showed (attempt-features.ts).
import { prefillMs } from '#attribution/predict-work.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';
import type { TokenCounts } from '#domain/tokens.ts';
import { answeredSequences } from './answered-sequences.ts';
import type { AttemptFeatures } from './attempt-features.ts';
import type { QueueBounds } from './first-token-times.ts';
import { countCutOutput, evenOutput, KNOWN_PART_MIN, scaledEvents } from './output-tokens.ts';
import { splitPrompt } from './split-prompt.ts';
import type { StepClock } from './step-clock.ts';

/** What is fixed about an attempt from its start on. */
export interface AttemptShape {
  readonly work: 'tokens' | 'duration';
  readonly prefillOnly: boolean;
  readonly stream: boolean;
  readonly promptBytes: number;
  readonly maxTokens: number | null;
  /** At least 1. */
  readonly sequences: number;
  /** Prompts that were sent as a list and do not read each other's context; absent: 1. */
  readonly promptCount?: number;
}

/** An interval of prefill; `ended` false means that only a part of it was seen to happen. */
export interface Prefill {
  readonly fromMs: number;
  readonly toMs: number;
  /** Uncached prompt tokens, and those before them in the KV cache. */
  readonly tokens: number;
  readonly cached: number;
  /** So many prompts of equal parts; absent: 1. */
  readonly prompts?: number;
  readonly ended: boolean;
}

/** Everything slices are cut from. Instants are epoch ms. */
export interface WorkTimeline {
  readonly work: 'tokens' | 'duration';
  readonly sequences: number;
  readonly startMs: number;
  /** Infinity while the attempt runs. */
  readonly endMs: number;
  readonly gaps: readonly (readonly [number, number])[];
  /** From here on the attempt is a member of the batch; infinity before that is known. */
  readonly memberFromMs: number;
  readonly prefill: Prefill | null;
  /** Prompt and cached tokens: the context of the first decode step. */
  readonly contextTokens: number;
  /** Output tokens that came before an instant: an integer that never decreases. */
  readonly outputBefore: (epochMs: number) => number;
  readonly outputTokens: number;
}

/** Prefill is looked for in this many times its modelled length, since chunks share iterations with others that generate. */
const PREFILL_SPREAD = 1.5;
/** Queue, tokenisation and the first iteration of an answer that does not stream. */
const FIRST_TOKEN_EXTRA_MS = 20;

interface Prompt {
  readonly tokens: number;
  readonly cached: number;
  readonly prompts: number;
  readonly modelledMs: number;
  /** Its prefill is looked for in so much time. */
  readonly spreadMs: number;
}

/** How an attempt ended, as far as its work is concerned. */
export interface FinalFacts {
  readonly tokens: TokenCounts;
  /** False where the engine answered with an error or never began: no work is assumed that nobody counted. */
  readonly worked: boolean;
  /** True where the answer is whole, so that the prefill certainly ended. */
  readonly whole: boolean;
  /** Prompt tokens by its bytes, and decode steps per second of one sequence, where nobody counted. */
  readonly estimatedPromptTokens: number;
  readonly estimatedStepsPerSecond: number;
  /** Prompt tokens that the engine most likely had in its prefix cache; used where it does not say. Absent: none. */
  readonly expectedCachedTokens?: number;
  /** Sequences that the answer held; absent: it did not tell. */
  readonly sequences?: number;
}

/** What an attempt's timeline follows from besides its own facts. */
export interface TimelineAids {
  /** Of the engine that computes the prompt. */
  readonly profile: EngineProfile;
  /** True where that engine computes prompts alone; absent: it generates too. */
  readonly prefillAlone?: boolean;
  /** The pace of the engine by its streams; null where none is known. */
  readonly clock: StepClock | null;
  /** What neighbours say about its time in the queue, for one that was cut; null or absent where nobody says anything. */
  readonly queue?: QueueBounds | null;
}

/** The timeline of a finished attempt (`features.endMs` is set). Source: settlement.md, "What a process collects". */
export function finalTimeline(
  asked: AttemptShape,
  features: AttemptFeatures,
  { profile, clock, queue = null, prefillAlone }: TimelineAids,
  facts: FinalFacts,
): WorkTimeline {
  const shape = { ...asked, sequences: answeredSequences(asked, facts) };
  const endMs = features.endMs ?? features.startMs;
  const base = commonPart(shape, { startMs: features.startMs, endMs, gaps: features.gapsUntil(endMs) });
  const said = countsOf(facts.tokens);
  const counted = {
    ...said,
    ...splitPrompt(shape, features, { profile, ...facts, expectedCached: facts.expectedCachedTokens ?? 0 }),
  };
  const idle = !facts.worked && counted.prompt === null && counted.output === null && features.events === 0;
  // What was refused ran no sequences side by side, however many it asked for.
  if (shape.work === 'duration' || idle) return { ...base, sequences: 1, memberFromMs: features.startMs };
  const promptTokens = counted.prompt ?? Math.max(0, facts.estimatedPromptTokens);
  const prompt = modelPrompt(
    { profile, prefillAlone },
    { tokens: promptTokens, cached: counted.cached, prompts: shape.promptCount ?? 1 },
  );
  const paced = shape.stream ? null : paceAnswer(shape, features, { prompt, output: counted.output, facts, clock });
  if (paced !== null) {
    const prefill = placePrefill(prompt, features.startMs, paced.firstMs);
    const contextTokens = contextOf(shape, promptTokens + counted.cached);
    return { ...base, ...paced, prefill, memberFromMs: prefill.fromMs, contextTokens };
  }
  const streamed = shape.stream && features.firstContentMs !== null;
  const cut = !streamed && !facts.whole;
  const beginMs = Math.max(features.startMs, cut ? (queue?.beginsAfterMs ?? features.startMs) : features.startMs);
  // Cut while it waited its turn: the engine had not begun.
  if (cut && beginMs >= endMs && features.events === 0 && (counted.output ?? 0) === 0)
    return { ...base, memberFromMs: endMs };
  const unseen = shape.stream && cut;
  const firstMs = streamed
    ? (features.firstContentMs ?? endMs)
    : shape.prefillOnly || unseen
      ? endMs
      : Math.min(endMs, assumeFirstToken(features, prompt, cut ? queue : null));
  const prefill =
    unseen || (cut && firstMs >= endMs) ? cutPrefill(prompt, beginMs, endMs) : placePrefill(prompt, beginMs, firstMs);
  const output = shape.prefillOnly
    ? 0
    : countCutOutput(shape, features, { counted: counted.output, facts, clock, firstMs });
  return {
    ...base,
    prefill,
    memberFromMs: prefill.fromMs,
    contextTokens: contextOf(shape, promptTokens + counted.cached),
    outputTokens: output,
    outputBefore:
      shape.stream && features.events > 0 ? scaledEvents(features, output) : evenOutput(firstMs, endMs, output),
  };
}

/** What is assumed of an open attempt whose window must be sealed now. */
export interface OpenFacts {
  readonly estimatedPromptTokens: number;
  /** See TimelineAids. */
  readonly prefillAlone?: boolean;
  /** Output tokens already sealed for it, and the rate of those that follow; used where the answer does not stream. */
  readonly outputSealed: number;
  readonly estimatedStepsPerSecond: number;
  /** What neighbours say about its time in the queue; null where it streams, or nobody says anything. */
  readonly queue: QueueBounds | null;
  /** First epoch ms not sealed before. */
  readonly fromMs: number;
  /** Epoch ms up to which the timeline will be asked. */
  readonly untilMs: number;
}

/** The timeline of a running attempt, valid for instants in [fromMs, untilMs]: low on purpose, so that corrections stay positive. */
export function openTimeline(
  shape: AttemptShape,
  features: AttemptFeatures,
  profile: EngineProfile,
  facts: OpenFacts,
): WorkTimeline {
  const gaps = features.gapsUntil(facts.untilMs);
  const base = commonPart(shape, { startMs: features.startMs, endMs: Number.POSITIVE_INFINITY, gaps });
  if (shape.work === 'duration') return { ...base, memberFromMs: features.startMs };
  const prompt = modelPrompt(
    { profile, prefillAlone: facts.prefillAlone },
    { tokens: facts.estimatedPromptTokens, cached: 0, prompts: shape.promptCount ?? 1 },
  );
  const seenMs = features.firstContentMs;
  if (shape.stream && (seenMs === null || seenMs >= facts.untilMs)) return base;
  const firstMs = shape.stream && seenMs !== null ? seenMs : assumeFirstToken(features, prompt, facts.queue);
  // Still in the queue: it costs nothing yet.
  if (!shape.stream && facts.queue !== null && firstMs >= facts.untilMs) return base;
  const prefill = placePrefill(prompt, features.startMs, firstMs);
  const limit = shape.prefillOnly
    ? 0
    : shape.maxTokens === null
      ? Number.MAX_SAFE_INTEGER
      : shape.maxTokens * shape.sequences;
  const perMs = (facts.estimatedStepsPerSecond * shape.sequences) / 1000;
  const outputBefore = shape.stream
    ? (epochMs: number) => Math.min(limit, features.eventsUntil(epochMs))
    : (epochMs: number) => {
        const passedMs = Math.max(0, epochMs - Math.max(facts.fromMs, firstMs));
        const begun = epochMs > firstMs ? Math.max(facts.outputSealed, shape.sequences) : 0;
        return Math.min(limit, begun + Math.floor(passedMs * perMs));
      };
  return {
    ...base,
    prefill,
    memberFromMs: prefill.fromMs,
    contextTokens: contextOf(shape, facts.estimatedPromptTokens),
    outputTokens: outputBefore(facts.untilMs),
    outputBefore,
  };
}

function commonPart(
  shape: AttemptShape,
  { startMs, endMs, gaps }: Pick<WorkTimeline, 'startMs' | 'endMs' | 'gaps'>,
): WorkTimeline {
  return {
    work: shape.work,
    sequences: shape.sequences,
    startMs,
    endMs,
    gaps,
    memberFromMs: Number.POSITIVE_INFINITY,
    prefill: null,
    contextTokens: 0,
    outputBefore: noOutput,
    outputTokens: 0,
  };
}

function noOutput(): number {
  return 0;
}

function countsOf(tokens: TokenCounts): { prompt: number | null; cached: number; output: number | null } {
  const { input, cachedInput, output, reasoning } = tokens;
  return {
    prompt: input,
    cached: cachedInput ?? 0,
    output: output === null && reasoning === null ? null : (output ?? 0) + (reasoning ?? 0),
  };
}

function modelPrompt(
  { profile, prefillAlone }: { readonly profile: EngineProfile; readonly prefillAlone: boolean | undefined },
  prompt: Pick<Prompt, 'tokens' | 'cached' | 'prompts'>,
): Prompt {
  const { tokens, cached, prompts } = prompt;
  const modelledMs = prompts * prefillMs(profile, tokens / prompts, cached / prompts);
  const spreadMs = prefillAlone === true ? modelledMs + profile.iterationMs : PREFILL_SPREAD * modelledMs;
  return { ...prompt, modelledMs, spreadMs };
}

/** Context of the first decode step of one sequence: whole tokens. */
function contextOf({ promptCount = 1 }: AttemptShape, promptTokens: number): number {
  return Math.round(promptTokens / promptCount);
}

function placePrefill(prompt: Prompt, startMs: number, firstMs: number): Prefill {
  const fromMs = Math.min(firstMs, Math.max(startMs, firstMs - prompt.spreadMs));
  return { fromMs, toMs: firstMs, tokens: prompt.tokens, cached: prompt.cached, prompts: prompt.prompts, ended: true };
}

/** Epoch ms of the first token of an answer that does not stream: its turn in the queue and its prefill, at the latest when a later one had its own. */
function assumeFirstToken(features: AttemptFeatures, prompt: Prompt, queue: QueueBounds | null): number {
  const servedMs = prompt.spreadMs + FIRST_TOKEN_EXTRA_MS;
  if (queue === null) return features.startMs + servedMs;
  return Math.min(queue.firstTokenByMs, queue.beginsAfterMs + servedMs);
}

/** A stream cut before its first token: at most the part that fits into the time it had; it may have waited in the queue. */
function cutPrefill(prompt: Prompt, startMs: number, endMs: number): Prefill {
  const { spreadMs } = prompt;
  const part = spreadMs <= 0 ? 1 : Math.max(0, Math.min(1, (endMs - startMs) / spreadMs));
  const tokens = Math.floor(prompt.tokens * part);
  return { ...placePrefill({ ...prompt, tokens }, startMs, endMs), ended: false };
}

/**
 * Dates the tokens of a whole answer that did not stream by the engine's pace: each sequence made one step per token, so its first token came
 * as many steps before the end as it has further tokens. Where too little of that time shows a pace the first token is assumed as for an
 * answer without neighbours, and what the known pace leaves is spread evenly. Null where its tokens are unknown or it has but one.
 */
function paceAnswer(
  shape: AttemptShape,
  features: AttemptFeatures,
  known: {
    readonly prompt: Prompt;
    readonly output: number | null;
    readonly facts: FinalFacts;
    readonly clock: StepClock | null;
  },
): (Pick<WorkTimeline, 'outputTokens' | 'outputBefore'> & { readonly firstMs: number }) | null {
  const { prompt, output, facts, clock } = known;
  const { endMs } = features;
  if (clock === null || endMs === null || output === null || !facts.whole || shape.prefillOnly) return null;
  const later = output - shape.sequences;
  if (later <= 0) return null;
  const steps = later / shape.sequences;
  // The prefill itself takes its time: no token came before it.
  const whole = clock.curve(Math.min(endMs, features.startMs + prompt.modelledMs), endMs);
  const pacedMs = whole?.instantBefore(steps) ?? endMs;
  const isPaced = whole !== null && pacedMs < endMs && whole.knownPart(pacedMs) >= KNOWN_PART_MIN;
  const firstMs = isPaced ? pacedMs : Math.min(endMs, assumeFirstToken(features, prompt, null));
  const curve = isPaced ? whole : clock.curve(firstMs, endMs, steps);
  const before = curve?.stepsBefore(firstMs) ?? 0;
  const paced = (curve?.stepsBefore(endMs) ?? 0) - before;
  if (curve === null || !(paced > 0)) return null;
  return {
    firstMs,
    outputTokens: output,
    outputBefore: (epochMs) => {
      if (epochMs <= firstMs) return 0;
      if (epochMs >= endMs) return output;
      return shape.sequences + Math.floor((later * (curve.stepsBefore(epochMs) - before)) / paced);
    },
  };
}
