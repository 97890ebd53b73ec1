// One attempt at an engine: sends the request, passes the answer to the client as it comes, and sees to its one record.
// Which engine, and whether there is another attempt, is relay's question.
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import { GatewayError } from '#domain/errors.ts';
import type { Outcome } from '#domain/usage-record.ts';
import { type AnswerEnding, isCutShort, isWholeAnswer, renderBreak } from './answer-ending.ts';
import { holdAnswer } from './answer-writer.ts';
import { resolveAttemptTokens } from './attempt-tokens.ts';
import { type ClientWriter, createClientWriter, type Source } from './client-writer.ts';
import { createObserver, isEventStream } from './create-observer.ts';
import type { Deadline } from './deadline-sweep.ts';
import { type BodyReceiver, claimBody } from './direct-reads.ts';
import type { AnswerObserver } from './observe-answer.ts';
import { OpaqueObserver } from './observe-whole.ts';
import type { ExchangeOptions, ExchangeResult } from './exchange-options.ts';
import type { HeldWriter } from './held-writer.ts';
import { printPrompt } from './print-prompt.ts';
import type { AttemptSpan } from './request-meter.ts';
import { createAnswerHeaders, selectTrailers } from './response-headers.ts';
import { UNSEATED } from './seats.ts';

/** A body in which no text was found: pictures, sounds, fields of another protocol. */
const UNREAD_BYTES_MAX = 16_384;

/** Before an answer there is nothing to observe, of any request. */
const NO_ANSWER: AnswerObserver = new OpaqueObserver();

/** Streams one engine's answer to one client. */
export class UpstreamExchange implements Dispatcher.DispatchHandler, BodyReceiver, Deadline, Source {
  seat = UNSEATED;
  readonly #options: ExchangeOptions;
  #writer: ClientWriter;
  /** The whole answer so far, where it may be a refusal of what the gateway added. */
  #refusal: HeldWriter | null = null;
  readonly #done = Promise.withResolvers<ExchangeResult>();
  #controller: Dispatcher.DispatchController | undefined;
  #span: AttemptSpan | undefined;
  #observer: AnswerObserver = NO_ANSWER;
  #engineStatus: number | null = null;
  #isStream = false;
  /** Body bytes still to come by content-length; null where the end shows itself otherwise, as that of a stream does. */
  #bytesLeft: number | null = null;
  #hasBodyBytes = false;
  #dispatchedAtMs = 0;
  #lastByteAtMs = 0;
  #failure: { readonly outcome: Outcome; readonly error: GatewayError } | undefined;
  #isOver = false;
  /** The one record, while it waits for its tokens to be counted. */
  #recording: Promise<void> | undefined;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#isStream = options.request.stream;
    this.#span = options.span;
    this.#writer = createClientWriter(options.res, this);
  }

  /** Sends the request; resolves when the attempt is over. Never rejects. */
  run(): Promise<ExchangeResult> {
    const { upstream, route, body, headers, deadlines } = this.#options;
    this.#dispatchedAtMs = this.#lastByteAtMs = this.#now();
    deadlines.add(this);
    try {
      upstream.dispatch({ method: 'POST', path: upstream.basePath + route.path, headers, body }, this);
    } catch (error) {
      this.onResponseError(undefined, error as Error);
    }
    this.#options.counting?.begin();
    return this.#done.promise;
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    this.#lastByteAtMs = this.#now();
    this.#controller?.resume();
  }

  /** The client hung up: the engine is told at once. After the answer's last event nothing is left to abort. */
  clientGone(): void {
    if (this.#isOver) return;
    this.#finish('client_aborted', this.#writer.status ?? 499);
    if (this.#span === undefined) {
      this.#failure = { outcome: 'client_aborted', error: new GatewayError('internal_error') };
      this.#end({
        kind: 'failed',
        error: this.#failure.error,
        wasSent: false,
        outcome: 'client_aborted',
        declinedStatus: null,
      });
    } else {
      this.#end({ kind: 'answered' });
    }
    this.#controller?.abort(new Error('the client left'));
  }

  /** The gateway is closing and cannot wait for the rest. */
  interrupt(): void {
    this.#fail('interrupted', new GatewayError('draining'));
  }

  isDue(nowMs: number): boolean {
    const { connectMs, firstByteMs, idleMs } = this.#options.upstream.deployment.timeouts;
    if (nowMs > this.#options.mustEndByMs) return true;
    if (this.#writer.isPaused) return false;
    const limitMs = this.#hasBodyBytes ? idleMs : firstByteMs;
    return nowMs > this.#lastByteAtMs + limitMs + (this.#span === undefined ? connectMs : 0);
  }

  expire(): void {
    this.#fail('timed_out', new GatewayError('upstream_timeout', { headers: { 'x-should-retry': 'false' } }));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#lastByteAtMs = this.#now();
    if (this.#isOver) {
      controller.abort(new Error('the attempt is over'));
      return;
    }
    const { meter, route, request, upstream, body } = this.#options;
    const work = route.work ?? upstream.deployment.work;
    this.#span ??= meter.begin({
      upstream: upstream.config.name,
      pool: upstream.config.pool,
      prefillBy: upstream.deployment.prefillBy,
      work,
      prefillOnly: route.prefillOnly,
      promptPrint: work === 'tokens' && request.promptTextBytes > 0 ? printPrompt(body) : null,
      // Of its text: an image in a prompt is a hundred kilobytes and a thousand tokens.
      promptBytes: request.promptTextBytes > 0 ? request.promptTextBytes : Math.min(body.length, UNREAD_BYTES_MAX),
      maxTokens: request.maxTokens,
      sequences: request.sequences,
      promptCount: request.promptCount,
      leavesByTurn: upstream.leavesByTurn,
    });
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    if (status < 200 || this.#isOver) return;
    const { meter, answerHeaders, res } = this.#options;
    this.#engineStatus = status;
    if (!this.#options.accepts(status)) {
      const error = new GatewayError('upstream_unreachable');
      this.#end({ kind: 'failed', error, wasSent: true, outcome: 'upstream_error', declinedStatus: status });
      controller.abort(error);
      return;
    }
    this.#isStream = isEventStream(headers);
    this.#observer = createObserver(headers, this.#options);
    const held = holdAnswer(this.#writer, { status, headers, observer: this.#observer, options: this.#options });
    if (held !== null) this.#writer = held;
    if (this.#options.asksAgain?.(status, null) === true) this.#refusal = held;
    const length = Number(headers['content-length'] ?? Number.NaN);
    this.#bytesLeft = Number.isSafeInteger(length) && res.req.method !== 'HEAD' && !this.#isStream ? length : null;
    const nowMs = this.#now();
    const answer = createAnswerHeaders(headers, {
      own: answerHeaders,
      // A stream that breaks gets an error event on top of what its engine promised.
      lengthUnknown: this.#isStream || this.#observer.changesLength === true,
      gatewayMs: this.#dispatchedAtMs - meter.receivedAtMs - meter.waitedMs,
    });
    this.#lastByteAtMs = nowMs;
    this.#span?.observe(nowMs, 0);
    this.#writer.begin(status, { headers: answer, statusText, flushes: this.#isStream });
    if (this.#isStream && headers['transfer-encoding'] === 'chunked') claimBody(this);
  }

  get takesData(): boolean {
    return !this.#isOver && this.#controller?.paused === false;
  }

  takeData(data: Buffer): void {
    const controller = this.#controller as Dispatcher.DispatchController;
    try {
      this.onResponseData(controller, data);
    } catch (error) {
      controller.abort(error as Error);
    }
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return;
    const nowMs = this.#now();
    this.#hasBodyBytes = true;
    this.#lastByteAtMs = nowMs;
    const output = this.#observer.observe(chunk);
    this.#span?.observe(nowMs, this.#observer.steps);
    if (this.#bytesLeft !== null) this.#bytesLeft -= chunk.length;
    const isLast = this.#refusal === null && (this.#bytesLeft === 0 || this.#observer.isLast);
    const written = isLast ? this.#finishAnswered() : undefined;
    // Where everything is held back, what comes later waits for the record all the same.
    if (output !== null || written !== undefined) this.#writer.write(output ?? Buffer.alloc(0), written);
  }

  onResponseEnd(_controller?: unknown, trailers?: IncomingHttpHeaders): void {
    if (this.#isOver) return;
    if (this.#writer.status === null) {
      this.onResponseError(undefined, new Error('the engine ended without an answer'));
      return;
    }
    if (this.#isAskedAgain()) return;
    const rest = this.#observer.end();
    if (!this.#isFinished && isCutShort(this.#ending)) {
      this.#breakOff('upstream_error', new GatewayError('upstream_unreachable'), rest);
      return;
    }
    const written = this.#finishAnswered();
    const trailing = selectTrailers(trailers);
    if (trailing !== null) this.#writer.trail(trailing);
    this.#writer.end(rest, written);
    this.#end({ kind: 'answered' });
  }

  /** A refusal of what the gateway added is nothing for the client: the attempt goes on with another sending. */
  #isAskedAgain(): boolean {
    const text = this.#refusal?.read() ?? null;
    const { asksAgain } = this.#options;
    const status = this.#engineStatus;
    const span = this.#span;
    if (text === null || status === null || span === undefined || asksAgain?.(status, text) !== true) return false;
    this.#end({ kind: 'refused', status, span });
    return true;
  }

  onResponseError(_controller: unknown, cause: Error): void {
    if (this.#isOver) return;
    const { outcome, error } = this.#failure ?? {
      outcome: 'upstream_error' as const,
      error: new GatewayError('upstream_unreachable', { cause }),
    };
    if (this.#writer.status === null) {
      this.#end({ kind: 'failed', error, outcome, wasSent: this.#span !== undefined, declinedStatus: null });
      return;
    }
    if (this.#isFinished) {
      // Everything that matters had arrived: what breaks now is only the engine's goodbye.
      this.#writer.end(null, this.#recording);
      this.#end({ kind: 'answered' });
      return;
    }
    this.#breakOff(outcome, error, null);
  }

  /** An answer that began and cannot be completed: a stream says so, `rest` being what was held back of it, and no socket ends cleanly. */
  #breakOff(outcome: Outcome, error: GatewayError, rest: Buffer | null): void {
    const { route } = this.#options;
    this.#finish(outcome, this.#writer.status ?? 502);
    this.#writer.abort(this.#isStream ? renderBreak(this.#observer, { outcome, error, route, rest }) : null);
    this.#end({ kind: 'answered' });
  }

  /** The record of an attempt of which nothing reached the client. */
  settleFailure(ending: {
    readonly outcome: Outcome;
    readonly status: number;
    readonly lastAttempt: boolean;
  }): Promise<void> | undefined {
    const { meter, upstream } = this.#options;
    if (this.#span !== undefined) return this.#finish(ending.outcome, ending.status, ending.lastAttempt);
    meter.recordUnreached({ ...ending, upstream: upstream.config.name });
    return undefined;
  }

  /** Gives up: the engine is aborted, and the rest follows as if it had broken. */
  #fail(outcome: Outcome, error: GatewayError): void {
    if (this.#isOver) return;
    this.#failure = { outcome, error };
    const controller = this.#controller;
    this.onResponseError(controller, error);
    controller?.abort(error);
  }

  /** The answer is complete as far as its engine is concerned; what it says of itself decides the outcome. */
  #finishAnswered(): Promise<void> | undefined {
    if (this.#isFinished) return this.#recording;
    if (!this.#isStream) this.#observer.end();
    const ending = this.#ending;
    return this.#finish(isWholeAnswer(ending) ? 'completed' : 'upstream_error', ending.status);
  }

  get #ending(): AnswerEnding {
    const { endsWithDone } = this.#options;
    return { observer: this.#observer, status: this.#engineStatus ?? 502, isStream: this.#isStream, endsWithDone };
  }

  get #isFinished(): boolean {
    return this.#recording !== undefined || this.#span?.isFinished === true;
  }

  /**
   * Writes the one record; later calls change nothing. Where tokens are counted in the thread, it is written as the ending was when it
   * came, with the engine's part over at that instant; the answer's last bytes and the end of the attempt wait for it.
   */
  #finish(outcome: Outcome, status: number, lastAttempt = true): Promise<void> | undefined {
    const span = this.#span;
    if (span === undefined || this.#isFinished) return this.#recording;
    const sight = { observer: this.#observer, engineStatus: this.#engineStatus, isStream: this.#isStream, outcome };
    const resolved = resolveAttemptTokens(this.#options, sight);
    const { sequences: answers } = this.#observer;
    const sequences = answers === undefined ? undefined : Math.ceil(answers * this.#options.candidates);
    if (!(resolved instanceof Promise)) {
      const { tokens, tokenSource } = resolved;
      return span.finish({ outcome, status, lastAttempt, sequences, tokens, tokenSource });
    }
    const engineEndedAtMs = this.#now();
    this.#recording = resolved.then((tokens) =>
      span.finish({ outcome, status, lastAttempt, sequences, engineEndedAtMs, ...tokens }),
    );
    return this.#recording;
  }

  #end(result: ExchangeResult): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.deadlines.delete(this);
    const { resolve } = this.#done;
    if (this.#recording === undefined) resolve(result);
    else void this.#recording.then(() => resolve(result));
  }

  #now(): number {
    return this.#options.meter.services.clock.monotonicMs();
  }
}
