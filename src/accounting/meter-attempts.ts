// The inbound port: what the gateway saw of attempts, into the registry and the journal. Hot path. Not here: windows (seal.ts).
import type { Clock } from '#domain/clock.ts';
import type { AttemptEnd, AttemptMeter, AttemptStart, Metering } from '#domain/metering.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { AttemptFeatures } from './attempt-features.ts';
import type { AttemptRegistry } from './attempt-registry.ts';
import { expectCached } from './expect-cached.ts';
import type { JournalEntry } from './journal-entry.ts';
import type { Journal } from './journal.ts';
import type { PrefixUse } from './prefix-memory.ts';
import type { ProfileOf } from './profile-of.ts';
import {
  type AttemptIdentity,
  prefillPlace,
  readEnding,
  type TrackedAttempt,
  trackAttempt,
  trackUnsent,
} from './tracked-attempt.ts';
import { assumedStepsPerSecond, type WorkEstimates } from './work-estimates.ts';
import type { FinalFacts } from './work-timeline.ts';

export interface MeteringOptions {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly registry: AttemptRegistry;
  readonly estimates: WorkEstimates;
  readonly profileOf: ProfileOf;
}

/** Creates the port that the data plane reports to. */
export function createMetering(options: MeteringOptions): Metering {
  return {
    begin(start) {
      const attempt = enterAttempt(start, options);
      return new MeteredAttempt(attempt, options, {
        prefix: usePrefix(start, attempt, options),
        leavesByTurn: start.leavesByTurn === true,
      });
    },
    commit() {
      options.journal.commit();
    },
    recordUnsent(record) {
      options.journal.append({ t: 'unsent', record });
      options.registry.add(trackUnsent(record, options.journal.segment));
    },
  };
}

/** A client may ask for any number, and its refusal is in flight for a moment; no engine runs as many side by side. */
const SEQUENCES_MAX = 65_536;

function enterAttempt(start: AttemptStart, options: MeteringOptions): TrackedAttempt {
  const startMs = options.clock.toEpochMs(start.atMs);
  const identity: AttemptIdentity = {
    recordId: start.recordId,
    pool: start.pool,
    deployment: start.deployment,
    // Work without tokens has no prefill that could run elsewhere.
    ...(start.prefillBy === undefined || start.work === 'duration' ? {} : { prefillBy: start.prefillBy }),
    startMs,
    shape: {
      work: start.work,
      prefillOnly: start.prefillOnly,
      stream: start.identity.stream,
      promptBytes: start.promptBytes,
      maxTokens: start.maxTokens,
      // Work without tokens is one stretch of time.
      sequences: start.work === 'duration' ? 1 : Math.min(Math.max(1, Math.floor(start.sequences)), SEQUENCES_MAX),
      ...(start.promptCount !== undefined && start.promptCount > 1
        ? { promptCount: Math.floor(start.promptCount) }
        : {}),
    },
    identity: start.identity,
    profileSource: options.profileOf(start.deployment).source,
  };
  write(options.journal, { t: 'dispatch', start: identity }, start.leavesByTurn === true);
  const features = new AttemptFeatures(startMs, start.work === 'duration');
  const attempt = trackAttempt(identity, features, options.journal.segment);
  options.registry.add(attempt);
  return attempt;
}

function write(journal: Journal, entry: JournalEntry, leavesByTurn: boolean): void {
  if (leavesByTurn) journal.appendSoon(entry);
  else journal.append(entry);
}

/** The cache that it uses is that of the engine that computes its prompt. Work without tokens has none; of a list of prompts none is expected. */
function usePrefix(
  { work, deployment, promptPrint = null, promptBytes }: AttemptStart,
  { start, features }: TrackedAttempt,
  { estimates }: MeteringOptions,
): PrefixUse | null {
  if (work !== 'tokens' || start === null || features === null) return null;
  const { stream, promptCount = 1 } = start.shape;
  const place = prefillPlace(start);
  return estimates.prefixes.begin({
    pool: place.pool,
    deployment: place.deployment,
    print: promptCount > 1 ? null : promptPrint,
    estimatedPromptTokens: estimates.promptTokens(deployment, promptBytes),
    stream,
  });
}

class MeteredAttempt implements AttemptMeter {
  readonly profileSource: string;
  readonly #attempt: TrackedAttempt;
  readonly #options: MeteringOptions;
  readonly #features: AttemptFeatures | null;
  readonly #prefix: PrefixUse | null;
  readonly #leavesByTurn: boolean;

  constructor(
    attempt: TrackedAttempt,
    options: MeteringOptions,
    { prefix, leavesByTurn }: { readonly prefix: PrefixUse | null; readonly leavesByTurn: boolean },
  ) {
    this.#prefix = prefix;
    this.#leavesByTurn = leavesByTurn;
    this.#attempt = attempt;
    this.#options = options;
    this.#features = attempt.features;
    this.profileSource = attempt.start?.profileSource ?? '';
  }

  upstreamBytes(atMs: number): void {
    if (this.#attempt.record === null) this.#features?.bytes(this.#options.clock.toEpochMs(atMs));
  }

  content(atMs: number, steps: number): void {
    const features = this.#features;
    if (this.#attempt.record !== null || features === null) return;
    const isFirst = features.firstContentMs === null;
    features.content(this.#options.clock.toEpochMs(atMs), steps);
    if (isFirst && features.firstContentMs !== null) this.#prefix?.firstToken(features.firstContentMs);
  }

  finish(end: AttemptEnd): void | Promise<void> {
    const attempt = this.#attempt;
    const { start } = attempt;
    if (attempt.record !== null || start === null) return undefined;
    const { clock, journal } = this.#options;
    const { record } = end;
    this.#features?.end(clock.toEpochMs(end.atMs));
    const final = this.#readFinal(end, record);
    attempt.final = final;
    attempt.record = record;
    const wire = this.#features?.read();
    if (wire !== undefined) {
      const ending = readEnding(record);
      write(journal, { t: 'end', recordId: record.recordId, ending, final, wire }, this.#leavesByTurn);
    }
    return journal.whenReleasable();
  }

  #readFinal(end: AttemptEnd, record: UsageRecord): FinalFacts {
    const { deployment, shape } = this.#attempt.start ?? { deployment: '', shape: { promptBytes: 0, sequences: 1 } };
    const { estimates, registry, profileOf } = this.#options;
    const promptTokens = estimates.promptTokens(deployment, shape.promptBytes);
    const { input, cachedInput } = end.tokens;
    if (end.tokenSource === 'reported' && input !== null) {
      estimates.learnPrompt(deployment, shape.promptBytes, input + (cachedInput ?? 0));
    }
    const { worked, whole } = readWork(record);
    const expectedCachedTokens = this.#expectCached(end, { worked, whole, estimatedPromptTokens: promptTokens });
    // Only an answer that nobody counted is assumed; looking at the neighbours of each request would cost too much.
    const uncounted = worked && !whole && !record.stream && end.tokens.output === null;
    const window = Math.floor((this.#features?.endMs ?? 0) / 1000) - 1;
    const neighbours = uncounted
      ? [...registry.unsealed()].filter((other) => other.start?.deployment === deployment)
      : [];
    return {
      tokens: end.tokens,
      worked,
      whole,
      estimatedPromptTokens: promptTokens,
      ...(expectedCachedTokens > 0 ? { expectedCachedTokens } : {}),
      ...(end.sequences === undefined || shape.sequences === 1 ? {} : { sequences: end.sequences }),
      estimatedStepsPerSecond: uncounted
        ? assumedStepsPerSecond(neighbours, window, profileOf(deployment).profile, promptTokens)
        : 0,
    };
  }

  #expectCached(end: AttemptEnd, known: Pick<FinalFacts, 'worked' | 'whole' | 'estimatedPromptTokens'>): number {
    const features = this.#features;
    const { start } = this.#attempt;
    if (this.#prefix === null || features === null || start === null) return 0;
    return expectCached(this.#prefix, {
      shape: start.shape,
      features,
      profile: this.#options.profileOf(prefillPlace(start).deployment).profile,
      tokens: end.tokens,
      estimatedPromptTokens: known.estimatedPromptTokens,
      entered: known.worked && (known.whole || features.firstContentMs !== null),
    });
  }
}

/** `whole`: the answer is complete; `worked`: the engine may have worked even where nobody counted anything. */
export function readWork(record: Pick<UsageRecord, 'outcome' | 'status'>): {
  readonly worked: boolean;
  readonly whole: boolean;
} {
  const whole = record.outcome === 'completed' && record.status < 400;
  const cut = record.outcome === 'client_aborted' || record.outcome === 'timed_out' || record.outcome === 'interrupted';
  return { whole, worked: whole || cut };
}
