// One request forwarded unread: its answer passes as it comes, its time is metered, its one record written.
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError } from '#domain/errors.ts';
import { UNKNOWN_TOKENS } from '#domain/tokens.ts';
import type { Outcome } from '#domain/usage-record.ts';
import { holdForEstimate } from './answer-writer.ts';
import { type ClientWriter, createClientWriter } from './client-writer.ts';
import { isEventStream } from './create-observer.ts';
import type { DataPlane } from './data-plane.ts';
import type { Deadline } from './deadline-sweep.ts';
import { createEstimate, type EstimateAnswer } from './estimate-answer.ts';
import { askForBody } from './expect-continue.ts';
import { createRequestHeaders } from './request-headers.ts';
import type { AttemptSpan, RequestMeter } from './request-meter.ts';
import { createAnswerHeaders, selectTrailers } from './response-headers.ts';
import { UNSEATED } from './seats.ts';
import type { Lease } from './upstream.ts';
import { getForwarder, type ProxyListener } from './upstream-proxy.ts';
import { readWireRefusal } from './wire-refusals.ts';

export interface PassThroughOptions {
  readonly plane: DataPlane;
  readonly meter: RequestMeter;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly lease: Lease;
  readonly answerHeaders: Readonly<Record<string, string>>;
}

/** Forwards one request to one upstream; there is no second attempt, because its body is gone once it was streamed. */
export class PassThroughExchange implements ProxyListener, Deadline {
  seat = UNSEATED;
  readonly #options: PassThroughOptions;
  #writer: ClientWriter;
  readonly #done = Promise.withResolvers<void>();
  readonly #startedAtMs: number;
  #proxyReq: ClientRequest | undefined;
  #answer: IncomingMessage | undefined;
  #span: AttemptSpan | undefined;
  /** Body bytes still to come by content-length; NaN where the end shows itself otherwise. */
  #bytesLeft = Number.NaN;
  #lastByteAtMs: number;
  #isOver = false;
  readonly #estimate: EstimateAnswer | null;

  constructor(options: PassThroughOptions) {
    this.#options = options;
    const { upstream } = options.lease;
    this.#estimate = createEstimate(options.plane, { work: 'duration', upstream, sequences: 1 });
    this.#startedAtMs = this.#lastByteAtMs = this.#now();
    this.#writer = createClientWriter(options.res, {
      pause: () => this.#answer?.pause(),
      resume: () => {
        this.#lastByteAtMs = this.#now();
        this.#answer?.resume();
      },
    });
  }

  /** Resolves when the attempt is over and recorded. Rejects with the GatewayError to tell the client where no answer began. */
  run(): Promise<void> {
    const { plane, req, res, lease, meter } = this.#options;
    const { upstream } = lease;
    plane.deadlines.add(this);
    askForBody(req);
    const length = req.headers['content-length'];
    req.headers = toHeaderObject(
      createRequestHeaders(req.headers, {
        requestId: meter.requestId,
        upstream: upstream.config,
        teamHeader: plane.view.config.tenancy.header.name,
      }),
    );
    if (length !== undefined) req.headers['content-length'] = length;
    getForwarder(upstream)(req, res, this);
    return this.#done.promise;
  }

  clientGone(): void {
    const refused = this.#writer.status === null ? readWireRefusal(this.#options.req) : null;
    if (refused === null) this.#close('client_aborted', this.#writer.status ?? 499);
    else this.#close('rejected', refused);
  }

  interrupt(): void {
    this.#fail('interrupted', new GatewayError('draining'));
  }

  isDue(nowMs: number): boolean {
    const { plane, lease, meter } = this.#options;
    const { connectMs, firstByteMs, idleMs } = lease.upstream.deployment.timeouts;
    if (nowMs > meter.receivedAtMs + plane.view.config.server.requestTimeoutMs) return true;
    if (this.#writer.isPaused) return false;
    if (this.#span === undefined) return nowMs > this.#startedAtMs + connectMs;
    return nowMs > this.#lastByteAtMs + (this.#answer === undefined ? firstByteMs : idleMs);
  }

  expire(): void {
    if (this.#span === undefined) {
      this.failed(new Error('connecting took too long'));
      return;
    }
    if (this.#answer === undefined) this.#options.lease.failed();
    this.#fail('timed_out', new GatewayError('upstream_timeout', { headers: { 'x-should-retry': 'false' } }));
  }

  requestAssigned(proxyReq: ClientRequest): void {
    this.#proxyReq = proxyReq;
    if (this.#isOver) {
      proxyReq.destroy();
      return;
    }
    this.#limitBody();
    // Of an engine that switches protocols node lets go without a word.
    proxyReq.once('close', () => {
      if (this.#answer === undefined) this.failed(new Error('the engine gave no answer'));
    });
    const { socket } = proxyReq;
    if (socket === null || !socket.connecting) this.#begin();
    else socket.once('connect', () => this.#begin());
  }

  answerStarted(answer: IncomingMessage): void {
    if (this.#isOver) {
      answer.destroy();
      return;
    }
    this.#answer = answer;
    this.#lastByteAtMs = this.#now();
    this.#span?.observe(this.#lastByteAtMs, 0);
    const { answerHeaders, meter, lease } = this.#options;
    lease.answered(answer.statusCode ?? 502);
    const headers = createAnswerHeaders(answer.headers, {
      own: answerHeaders,
      lengthUnknown: false,
      gatewayMs: this.#startedAtMs - meter.receivedAtMs - meter.waitedMs,
    });
    const flushes = isEventStream(answer.headers);
    if (!flushes) this.#holdForEstimate(answer);
    this.#bytesLeft = Number(answer.headers['content-length'] ?? Number.NaN);
    this.#writer.begin(answer.statusCode ?? 502, { headers, statusText: answer.statusMessage, flushes });
    answer.on('data', (chunk: Buffer) => {
      this.#lastByteAtMs = this.#now();
      this.#span?.observe(this.#lastByteAtMs, 0);
      this.#bytesLeft -= chunk.length;
      this.#writer.write(chunk, this.#bytesLeft === 0 && !this.#isOver ? this.#finishAnswered() : undefined);
    });
    answer.once('end', () => this.#answered());
    answer.once('aborted', () => this.failed(new Error('the engine broke off its answer')));
  }

  #holdForEstimate(answer: IncomingMessage): void {
    const estimate = this.#estimate;
    if (estimate === null || (answer.statusCode ?? 502) >= 400) return;
    this.#writer = holdForEstimate(this.#writer, answer.headers, () => estimate(null)) ?? this.#writer;
  }

  failed(cause: Error): void {
    if (!this.#isOver && this.#answer === undefined) this.#options.lease.failed();
    this.#fail('upstream_error', new GatewayError('upstream_unreachable', { cause }));
  }

  #begin(): void {
    if (this.#isOver || this.#span !== undefined) return;
    const { meter, req, lease } = this.#options;
    const { upstream } = lease;
    this.#lastByteAtMs = this.#now();
    this.#span = meter.begin({
      upstream: upstream.config.name,
      pool: upstream.config.pool,
      work: 'duration',
      prefillOnly: false,
      promptBytes: Number(req.headers['content-length'] ?? 0),
      maxTokens: null,
      sequences: 1,
    });
  }

  /** Counts the body as it streams by: one without a length may not grow past the limit either. */
  #limitBody(): void {
    const { plane, req } = this.#options;
    let left = plane.view.config.server.maxBodyBytes;
    req.on('data', (chunk: Buffer) => {
      this.#lastByteAtMs = this.#now();
      left -= chunk.length;
      if (left < 0) this.#fail('rejected', new GatewayError('request_too_large'));
    });
  }

  #answered(): void {
    if (this.#isOver) return;
    const written = this.#finishAnswered();
    const trailers = selectTrailers(this.#answer?.trailers);
    if (trailers !== null) this.#writer.trail(trailers);
    this.#writer.end(null, written);
    this.#settle();
  }

  /** The last bytes wait for it. */
  #finishAnswered(): Promise<void> | undefined {
    if (this.#span?.isFinished === true) return undefined;
    const status = this.#writer.status ?? 502;
    return this.#finish(status < 400 ? 'completed' : 'upstream_error', status);
  }

  #fail(outcome: Outcome, error: GatewayError): void {
    if (this.#isOver) return;
    const { status } = this.#writer;
    void this.#finish(outcome, status ?? error.status);
    this.#settle(status === null ? error : undefined);
    this.#proxyReq?.destroy();
    if (status !== null) this.#writer.abort(null);
  }

  #close(outcome: Outcome, status: number): void {
    if (this.#isOver) return;
    void this.#finish(outcome, status);
    this.#settle();
    this.#proxyReq?.destroy();
  }

  #finish(outcome: Outcome, status: number): Promise<void> | undefined {
    const { meter, lease } = this.#options;
    const { upstream } = lease;
    if (this.#span !== undefined) {
      return this.#span.finish({ outcome, status, tokens: UNKNOWN_TOKENS, tokenSource: 'unknown', lastAttempt: true });
    }
    meter.recordUnreached({ outcome, status, upstream: upstream.config.name, lastAttempt: true });
    return undefined;
  }

  #settle(error?: GatewayError): void {
    this.#isOver = true;
    this.#options.plane.deadlines.delete(this);
    if (error === undefined) this.#done.resolve();
    else this.#done.reject(error);
  }

  #now(): number {
    return this.#options.plane.clock.monotonicMs();
  }
}

/** From a flat list to the object node's client takes; a repeated name keeps its last value. */
function toHeaderObject(list: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (let index = 0; index + 1 < list.length; index += 2) headers[list[index] ?? ''] = list[index + 1] ?? '';
  return headers;
}
