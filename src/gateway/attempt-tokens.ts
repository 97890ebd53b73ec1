// The token counts of one attempt's record: what its engine said, else what the tokenizer counts, else what the stream and the bytes tell.
// The order of preference stands in resolve-tokens.ts.
import type { Outcome } from '#domain/usage-record.ts';
import type { CountedTokens } from './count-answer.ts';
import type { ExchangeOptions } from './exchange-options.ts';
import type { AnswerObserver } from './observe-answer.ts';
import type { AttemptEnding } from './request-meter.ts';
import { resolveTokens } from './resolve-tokens.ts';

export type AttemptTokens = Pick<AttemptEnding, 'tokens' | 'tokenSource'>;

/** What was seen of an attempt that ended. `engineStatus` is null where the engine had not answered. */
export interface AttemptSight {
  readonly observer: AnswerObserver;
  readonly engineStatus: number | null;
  readonly isStream: boolean;
  readonly outcome: Outcome;
}

type TokenOptions = Pick<ExchangeOptions, 'counting' | 'route' | 'request' | 'upstream' | 'pace'>;

/** At once where nothing long is to be counted, else when the thread has counted it (bounded by its wait limit). Never rejects. */
export function resolveAttemptTokens(
  options: TokenOptions,
  sight: AttemptSight,
): AttemptTokens | Promise<AttemptTokens> {
  const { counting, upstream, pace } = options;
  const { observer, engineStatus, isStream, outcome } = sight;
  const { usage, count } = observer;
  if (count !== undefined && outcome === 'completed') pace.learn(upstream, usage?.completion ?? 0, count.events);
  const counted =
    counting?.finish({
      isReported: usage !== null && (usage.completion !== null || !isStream),
      isAnswered: engineStatus !== null && engineStatus < 400,
      isWhole: outcome === 'completed',
      texts: observer.texts ?? null,
    }) ?? null;
  return counted instanceof Promise
    ? counted.then((found) => weighEvidence(options, sight, found))
    : weighEvidence(options, sight, counted);
}

function weighEvidence(
  { route, request, upstream, pace }: TokenOptions,
  { observer, engineStatus, isStream }: AttemptSight,
  counted: CountedTokens | null,
): AttemptTokens {
  // Before an answer there is nothing to read yet, and nothing was generated that anybody knows of.
  const isUnread = observer.isOpaque === true && engineStatus !== null;
  const { tokens, source } = resolveTokens({
    usage: observer.usage,
    promptTextBytes: request.promptTextBytes,
    isStream,
    prefillOnly: route.prefillOnly,
    engineStatus,
    contentEvents: isUnread ? null : (observer.count?.tokens(pace.read(upstream)) ?? observer.contentEvents),
    contentBytes: observer.contentBytes,
    work: route.work ?? upstream.deployment.work,
    counted,
  });
  return { tokens, tokenSource: source };
}
