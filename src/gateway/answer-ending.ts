// Whether an answer that ended is whole, and what a client is told of a stream that is not. When it ended, and the record of it, are
// upstream-exchange's.
import { GatewayError } from '#domain/errors.ts';
import type { Outcome } from '#domain/usage-record.ts';
import { renderErrorEvent } from './error-event.ts';
import type { MeteredRoute } from './metered-routes.ts';
import { type AnswerObserver, StreamObserver } from './observe-answer.ts';

/** An answer as far as it came. */
export interface AnswerEnding {
  readonly observer: AnswerObserver;
  /** Status the engine sent. */
  readonly status: number;
  readonly isStream: boolean;
  /** Whether a complete stream of this engine and route has an event that says so (`ExchangeOptions.endsWithDone`). */
  readonly endsWithDone: boolean;
}

/**
 * A stream is whole when its last event or the finish reason of every sequence came, an engine without `[DONE]` being believed otherwise;
 * and when it does not end in the middle of an event. An engine's refusal is never whole: `upstream_error` is what the contract calls
 * every answer that is an error, also one that the client brought upon itself. Its status (400, 422, 429, 5xx) is in the record beside it and
 * tells the two apart; `rejected` is kept for what the gateway refused, which no engine saw and which `requests` leaves out
 * (contract §6). A refusal without tokens is charged for no work (work-timeline.ts), so it is a failure that wastes nothing.
 */
export function isWholeAnswer({ observer, status, isStream, endsWithDone }: AnswerEnding): boolean {
  if (status >= 400 || observer.isFailed) return false;
  if (!isStream || observer.isLast) return true;
  if (observer.isTorn === true) return false;
  return !(observer instanceof StreamObserver) || observer.isFinished || !endsWithDone;
}

/**
 * Whether a stream that its engine ended cleanly is broken all the same: for the client that is no end (contract §4). Where the engine
 * has sent an error event of its own, the client knows.
 */
export function isCutShort(ending: AnswerEnding): boolean {
  const { observer, status, isStream } = ending;
  if (!isStream || status >= 400) return false;
  return observer.isFailed ? observer.isTorn === true : !isWholeAnswer(ending);
}

/**
 * The last words of a broken stream: `rest`, what was held back of it, then one error event, unless the engine has sent its own. An event that
 * was passed on by half is closed first, so that the error stands on its own.
 */
export function renderBreak(
  observer: AnswerObserver,
  broken: {
    readonly outcome: Outcome;
    readonly error: GatewayError;
    readonly route: MeteredRoute;
    readonly rest: Buffer | null;
  },
): Buffer {
  const { outcome, error, route, rest } = broken;
  const text = outcome === 'upstream_error' ? 'The engine broke off its answer.' : error.message;
  const told = new GatewayError(error.code, { text });
  const held = observer.isTorn === true ? null : rest;
  const close = observer.atBoundary && held === null ? '' : '\n\n';
  const event = observer.isFailed ? '' : renderErrorEvent(told, route, observer.nextSequence ?? 0);
  return Buffer.concat([held ?? Buffer.alloc(0), Buffer.from(close + event)]);
}
