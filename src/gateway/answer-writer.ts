// Whether an answer leaves as it comes or is held until it is whole: errors to be put into an envelope, refusals that may be asked again,
// small answers whose estimated cost goes into a header. Holding itself is held-writer's.
import type { IncomingHttpHeaders } from 'node:http';
import type { AnswerObserver } from './observe-answer.ts';
import type { ClientWriter } from './client-writer.ts';
import { isEventStream, isJson, isPlain } from './create-observer.ts';
import { ESTIMATED_BYTES_MAX } from './estimate-answer.ts';
import type { ExchangeOptions } from './exchange-options.ts';
import { type HeldAnswer, HeldWriter } from './held-writer.ts';
import { ERROR_BYTES_MAX, normalizeError } from './normalize-error.ts';
import type { ReportedUsage } from './read-usage.ts';
import { BYTES_PER_TOKEN } from './resolve-tokens.ts';

export interface AnswerFacts {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly observer: AnswerObserver;
  readonly options: ExchangeOptions;
}

/** Puts a HeldWriter in front of the writer where the answer must be whole first; else null. */
export function holdAnswer(writer: ClientWriter, facts: AnswerFacts): HeldWriter | null {
  const { status, headers, options } = facts;
  if (isEventStream(headers)) return null;
  if (status >= 400) {
    const normalizes = options.upstream.deployment.errors === 'openai' && isPlain(headers);
    if (!normalizes && options.asksAgain?.(status, null) !== true) return null;
    const revise = (answer: HeldAnswer): HeldAnswer => (normalizes ? envelop(answer, facts) : answer);
    return new HeldWriter(writer, { maxBytes: ERROR_BYTES_MAX, revise });
  }
  const { estimateCost, route, upstream } = options;
  // Tokens are read in plain JSON alone; time can be read off any answer.
  const isReadable = (route.work ?? upstream.deployment.work) === 'duration' || (isPlain(headers) && isJson(headers));
  if (estimateCost === null || !isReadable) return null;
  return holdForEstimate(writer, headers, () =>
    facts.observer.isFailed ? null : estimateCost(facts.observer.usage ?? assumeUsage(facts)),
  );
}

/**
 * A writer that puts the estimated cost into the headers of an answer that is no stream, where its length is known and small; else null.
 * `estimate` is asked once the answer is whole.
 */
export function holdForEstimate(
  writer: ClientWriter,
  headers: IncomingHttpHeaders,
  estimate: () => string | null,
): HeldWriter | null {
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (!(length <= ESTIMATED_BYTES_MAX)) return null;
  const revise = (answer: HeldAnswer): HeldAnswer => {
    const usd = estimate();
    if (usd !== null) answer.headers['x-inferometer-cost-estimate-usd'] = usd;
    return answer;
  };
  return new HeldWriter(writer, { maxBytes: ESTIMATED_BYTES_MAX, revise });
}

function envelop(answer: HeldAnswer, { status, options }: AnswerFacts): HeldAnswer {
  const text = normalizeError(answer.body, status, options.route.protocol);
  if (text === null) return answer;
  const body = Buffer.from(text);
  const { etag: _etag, 'content-md5': _md5, ...headers } = answer.headers;
  return {
    headers: { ...headers, 'content-type': 'application/json; charset=utf-8', 'content-length': body.length },
    body,
  };
}

/** What an answer that says no usage is taken for, in the way of the record that it gets; null where its text is not known. */
function assumeUsage({ observer, options }: AnswerFacts): ReportedUsage | null {
  const { route, request } = options;
  const bytes = route.prefillOnly ? 0 : observer.contentBytes;
  if (bytes === null) return null;
  const prompt = Math.ceil(request.promptTextBytes / BYTES_PER_TOKEN);
  return { prompt, cached: null, completion: Math.ceil(bytes / BYTES_PER_TOKEN), reasoning: null };
}
