// Which observer watches an answer, by its headers and the route; what observers do is observe-answer's.
import type { IncomingHttpHeaders } from 'node:http';
import type { ExchangeOptions } from './exchange-options.ts';
import { normalizeErrorEvent } from './normalize-error.ts';
import { type AnswerObserver, StreamObserver } from './observe-answer.ts';
import { JsonObserver, OpaqueObserver } from './observe-whole.ts';

/** Whether an answer is a server-sent event stream. */
export function isEventStream(headers: IncomingHttpHeaders): boolean {
  return String(headers['content-type'] ?? '')
    .toLowerCase()
    .startsWith('text/event-stream');
}

/** Whether a body can be read as it passes: not compressed by the engine, which was asked not to. */
export function isPlain(headers: IncomingHttpHeaders): boolean {
  const encoding = headers['content-encoding'];
  return encoding === undefined || encoding === 'identity';
}

/** Whether a body may be JSON. */
export function isJson(headers: IncomingHttpHeaders): boolean {
  const type = String(headers['content-type'] ?? '').toLowerCase();
  return type === '' || type.includes('json');
}

/** Creates the observer of one answer. */
export function createObserver(headers: IncomingHttpHeaders, options: ExchangeOptions): AnswerObserver {
  const { route, request, removal, upstream, counting } = options;
  if (!isPlain(headers) || route.work === 'duration') return new OpaqueObserver();
  if (route.createObserver !== undefined) {
    const keepsText = counting?.expectsSilence === true;
    return route.createObserver(headers, { keepsText }) ?? new OpaqueObserver();
  }
  const { promptCount, sequences, choices, echoed } = request;
  const choicesPerPrompt = (choices ?? sequences) / promptCount;
  const echo = echoed === undefined ? null : { prompts: echoed, choicesPerPrompt };
  if (!isEventStream(headers))
    return isJson(headers) ? new JsonObserver({ keepsText: counting !== null, echo }) : new OpaqueObserver();
  return new StreamObserver({
    shape: route.shape,
    promptCount,
    sequences,
    choices,
    removal,
    // trtllm-serve alone writes null where it says no usage, and only in completions (upstreams.md §1.4).
    saysNullUsage: upstream.deployment.engine === 'tensorrt-llm' && route.shape === 'completion',
    keepsText: counting?.expectsSilence === true,
    echo,
    normalizeError:
      upstream.deployment.errors === 'openai'
        ? (payload, sequence) => normalizeErrorEvent(payload, route, sequence)
        : undefined,
  });
}
