// Whether an answer leaves as it comes or is held until it is whole: errors to be put into an envelope, refusals that may be asked again,
// small answers whose estimated cost goes into a header. Holding itself is held-writer's.
import type { IncomingHttpHeaders } from 'node:http';
import type { AnswerObserver } from './observe-answer.ts';
import type { ClientWriter } from './client-writer.ts';
import { isEventStream, isJson, isPlain } from './create-observer.ts';
import type { ExchangeOptions } from './exchange-options.ts';
import { type HeldAnswer, HeldWriter } from './held-writer.ts';
import { ERROR_BYTES_MAX, normalizeError } from './normalize-error.ts';

/** Answers up to this length carry the estimate (contract §4). */
const ESTIMATED_BYTES_MAX = 256 * 1024;

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
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (options.estimateCost === null || !(length <= ESTIMATED_BYTES_MAX) || !isPlain(headers) || !isJson(headers))
    return null;
  return new HeldWriter(writer, { maxBytes: ESTIMATED_BYTES_MAX, revise: (answer) => addEstimate(answer, facts) });
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

/** The usage is read by the time the answer ends: its last bytes passed the observer before they got here. */
function addEstimate(answer: HeldAnswer, { observer, options }: AnswerFacts): HeldAnswer {
  const { usage } = observer;
  const usd = usage === null ? null : (options.estimateCost?.(usage) ?? null);
  if (usd === null) return answer;
  return { ...answer, headers: { ...answer.headers, 'x-inferometer-cost-estimate-usd': usd } };
}
