// One client stream's stream to one engine: requests go out in order, replies come back and are told apart. Who may send, and where
// replies go, is serve-stream's.
import {
  type Client,
  type ClientDuplexStream,
  type Metadata,
  status as Status,
  type StatusObject,
} from '@grpc/grpc-js';
import type { Deadline } from '@grpc/grpc-js/build/src/deadline.js';
import type { Outcome } from '#domain/usage-record.ts';
import type { Lease } from '#gateway/upstream.ts';
import { PLAIN_COUNTING } from '#gateway/triton-counts.ts';
import { toHttpStatus } from './grpc-status.ts';
import { type FindCounting, readStreamAnswer, type StreamAnswerFacts } from './kserve-messages.ts';
import { MalformedMessageError } from './protobuf-reader.ts';
import type { StreamRequest } from './stream-request.ts';

export const STREAM_PATH = '/inference.GRPCInferenceService/ModelStreamInfer';

/** Told what an engine's stream does. */
export interface LaneListener {
  /** The engine's initial metadata, before its first reply. */
  began(lane: StreamLane, metadata: Metadata): void;
  /** A reply to pass on, after `written` where that is a promise. */
  replied(lane: StreamLane, message: Buffer, written: Promise<void> | undefined): void;
  /** The engine's stream is over; its requests are recorded. */
  ended(lane: StreamLane, status: StatusObject): void;
}

export interface LaneOptions {
  readonly lease: Lease;
  readonly client: Client;
  readonly metadata: Metadata;
  readonly deadline: Deadline;
  readonly listener: LaneListener;
}

const keep = (bytes: Buffer): Buffer => bytes;

/** The stream to one engine, held by one lease from its first request to its end. */
export class StreamLane {
  readonly #findCounting: FindCounting = (id) => this.#findRequest(id)?.counting ?? PLAIN_COUNTING;
  readonly #options: LaneOptions;
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  /** In the order in which they were sent. */
  readonly #open = new Set<StreamRequest>();
  #isOver = false;

  constructor(options: LaneOptions) {
    this.#options = options;
    const { client, metadata, deadline, listener } = options;
    this.#stream = client.makeBidiStreamRequest(STREAM_PATH, keep, keep, metadata, { deadline });
    this.#stream.on('metadata', (initial) => listener.began(this, initial));
    this.#stream.on('data', (message: Buffer) => this.#receive(message));
    // The status says the same, and always comes.
    this.#stream.on('error', () => {});
    // Replies may still wait in the stream when its status is known: it is over when both have come.
    const done = Promise.withResolvers<StatusObject>();
    const ended = new Promise<void>((resolve) => void this.#stream.once('end', resolve));
    this.#stream.once('status', done.resolve);
    void Promise.all([done.promise, ended]).then(([status]) => this.#finish(status));
  }

  get lease(): Lease {
    return this.#options.lease;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Requests without their end. */
  get open(): ReadonlySet<StreamRequest> {
    return this.#open;
  }

  /** Sends one request; resolves when the engine's stream takes more. */
  send(message: Buffer, request: StreamRequest): Promise<void> | undefined {
    this.#open.add(request);
    if (this.#stream.write(message)) return undefined;
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#stream.off('drain', settle).off('close', settle).off('status', settle);
        resolve();
      };
      this.#stream.once('drain', settle).once('close', settle).once('status', settle);
    });
  }

  /** The client sends no more. */
  halfClose(): void {
    if (!this.#isOver) this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** Ends the stream from our side; every open request gets its record with this outcome. */
  cut(outcome: Outcome, httpStatus: number): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#closeAll(outcome, httpStatus);
    this.#stream.cancel();
    this.#options.lease.release();
  }

  #receive(message: Buffer): void {
    if (this.#isOver) return;
    const facts = readReply(message, this.#findCounting);
    const request = this.#findRequest(facts.id);
    request?.observe(facts);
    const isFailed = facts.errorMessage !== '';
    // Servers that know no decoupled models send one reply per request, and no flag.
    const isFinal = isFailed || (facts.isFinal ?? true);
    let written: Promise<void> | undefined;
    if (request !== undefined && isFinal) {
      this.#open.delete(request);
      written = isFailed ? request.finish('upstream_error', 500) : request.finish('completed', 200);
    }
    const isMark = facts.isEmpty && !isFailed && facts.isFinal === true;
    if (isMark && request?.wantsEmptyFinal === false) return;
    this.#options.listener.replied(this, message, written);
  }

  /** By id; replies without one, and with one nobody sent, belong to the oldest request that is open. */
  #findRequest(id: string): StreamRequest | undefined {
    let oldest: StreamRequest | undefined;
    for (const request of this.#open) {
      if (request.id === id) return request;
      oldest ??= request;
    }
    return oldest;
  }

  /** A clean end answers what had replies; what had none was forgotten by the engine. */
  #finish(status: StatusObject): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { lease, listener } = this.#options;
    if (status.code === Status.OK) {
      for (const request of this.#open) {
        if (request.isAnswered) void request.finish('completed', 200);
        else void request.finish('upstream_error', 502);
      }
      this.#open.clear();
    } else {
      this.#closeAll(
        status.code === Status.DEADLINE_EXCEEDED ? 'timed_out' : 'upstream_error',
        toHttpStatus(status.code),
      );
    }
    if (status.code === Status.UNAVAILABLE) lease.failed();
    else lease.answered(toHttpStatus(status.code));
    lease.release();
    listener.ended(this, status);
  }

  #closeAll(outcome: Outcome, httpStatus: number): void {
    for (const request of this.#open) void request.finish(outcome, httpStatus);
    this.#open.clear();
  }
}

/** A reply that cannot be read passes as it came and ends nothing. */
function readReply(message: Buffer, findCounting: FindCounting): StreamAnswerFacts {
  try {
    return readStreamAnswer(message, findCounting);
  } catch (error) {
    if (!(error instanceof MalformedMessageError)) throw error;
    return { id: '', isFinal: false, isEmpty: false, usage: null, errorMessage: '' };
  }
}
