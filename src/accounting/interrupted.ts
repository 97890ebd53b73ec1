// Ends the attempts that our own death cut: what the journal saw of them becomes an `interrupted` record. Not here: reading the journal (journal-replay.ts).
import type { UsageRecord } from '#domain/usage-record.ts';
import type { AttemptRegistry } from './attempt-registry.ts';
import type { Journal } from './journal.ts';
import { type AttemptIdentity, endRecord, readEnding, type TrackedAttempt } from './tracked-attempt.ts';
import type { WorkEstimates } from './work-estimates.ts';
import type { FinalFacts } from './work-timeline.ts';

/**
 * Gives every attempt without an end its record and journals it. They ran until `lastAliveMs` (epoch ms), the last line of the dead process.
 * Returns how many there were.
 */
export function endInterrupted(
  registry: AttemptRegistry,
  options: { readonly journal: Journal; readonly estimates: WorkEstimates; readonly lastAliveMs: number },
): number {
  let count = 0;
  for (const attempt of registry.all()) {
    const { start, features } = attempt;
    if (start === null || attempt.record !== null || features === null) continue;
    features.end(Math.max(options.lastAliveMs, features.lastByteMs ?? features.startMs));
    const promptTokens = options.estimates.promptTokens(start.deployment, start.shape.promptBytes);
    const final = finalFacts(attempt, promptTokens);
    const record = interruptedRecord(start, attempt, final);
    attempt.final = final;
    attempt.record = record;
    const ending = readEnding(record);
    options.journal.append({ t: 'end', recordId: record.recordId, ending, final, wire: features.read() });
    count += 1;
  }
  return count;
}

function finalFacts(attempt: TrackedAttempt, estimatedPromptTokens: number): FinalFacts {
  const counted = attempt.features?.events ?? 0;
  return {
    tokens: { input: null, cachedInput: null, output: counted > 0 ? counted : null, reasoning: null },
    worked: true,
    whole: false,
    estimatedPromptTokens,
    estimatedStepsPerSecond: 0,
  };
}

function interruptedRecord(start: AttemptIdentity, attempt: TrackedAttempt, final: FinalFacts): UsageRecord {
  const { features } = attempt;
  const endedAtMs = features?.endMs ?? start.startMs;
  const firstMs = features?.firstContentMs ?? null;
  const tokens = start.shape.work === 'tokens';
  return endRecord(start, {
    endedAtMs,
    timeToFirstTokenMs: firstMs === null ? null : firstMs - start.identity.startedAtMs,
    durationMs: Math.max(0, endedAtMs - start.identity.startedAtMs),
    outcome: 'interrupted',
    // What the client saw: a started answer had its 200; otherwise the connection broke, which it takes for a bad gateway.
    status: firstMs === null ? 502 : 200,
    lastAttempt: true,
    tokens: { ...final.tokens, input: tokens ? final.estimatedPromptTokens : null },
    tokenSource: tokens ? 'estimated' : 'unknown',
  });
}
