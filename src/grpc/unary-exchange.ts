// One attempt at an engine for a unary call: connects, sends, waits for status and answer within the time limits, and sees to its one
// record. Which engine, and whether there is another attempt, is serve-infer's question.
import { type Client, type ClientUnaryCall, Metadata, type ServiceError, status as Status } from '@grpc/grpc-js';
import type { Deadline as CallDeadline } from '@grpc/grpc-js/build/src/deadline.js';
import type { Outcome } from '#domain/usage-record.ts';
import type { DataPlane } from '#gateway/data-plane.ts';
import type { Deadline } from '#gateway/deadline-sweep.ts';
import type { AttemptSpan, RequestMeter } from '#gateway/request-meter.ts';
import { UNSEATED } from '#gateway/seats.ts';
import type { Upstream } from '#gateway/upstream-pool.ts';
import { describeStatus, toHttpStatus } from './grpc-status.ts';
import { resolveInferTokens } from './infer-work.ts';
import { type InferRequestFacts, readInferAnswer } from './kserve-messages.ts';
import { connect } from './lease-engine.ts';
import { MalformedMessageError } from './protobuf-reader.ts';

export interface UnaryExchangeOptions {
  readonly plane: DataPlane;
  readonly meter: RequestMeter;
  readonly client: Client;
  readonly upstream: Upstream;
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly message: Buffer;
  readonly facts: InferRequestFacts;
  readonly work: 'tokens' | 'duration';
  readonly metadata: Metadata;
  /** The client's own, passed on. */
  readonly deadline: CallDeadline;
  /** Monotonic ms at which the whole request must have ended. */
  readonly mustEndByMs: number;
}

/** How an attempt ended. `answer` is null but for OK. */
export interface UnaryResult {
  readonly code: Status;
  readonly details: string;
  readonly answer: Buffer | null;
  /** Null where the engine sent none: then nothing of an answer had begun. */
  readonly initial: Metadata | null;
  readonly trailers: Metadata;
  /** Whether the message was handed to a connection. */
  readonly wasSent: boolean;
  readonly outcome: Outcome;
}

const keep = (bytes: Buffer): Buffer => bytes;

/** Carries one message to one engine. */
export class UnaryExchange implements Deadline {
  seat = UNSEATED;
  readonly #options: UnaryExchangeOptions;
  readonly #done = Promise.withResolvers<UnaryResult>();
  readonly #startedAtMs: number;
  #call: ClientUnaryCall | undefined;
  #span: AttemptSpan | undefined;
  #initial: Metadata | null = null;
  #trailers = new Metadata();
  #isOver = false;

  constructor(options: UnaryExchangeOptions) {
    this.#options = options;
    this.#startedAtMs = this.#now();
  }

  /** Resolves when the attempt is over; its record is written by `settle`. Never rejects. */
  run(): Promise<UnaryResult> {
    const { plane, client, upstream } = this.#options;
    plane.deadlines.add(this);
    void connect(plane, client, upstream).then((connected) => {
      if (this.#isOver) return;
      if (connected) this.#send();
      else
        this.#end({ code: Status.UNAVAILABLE, details: 'The engine could not be reached.', outcome: 'upstream_error' });
    });
    return this.#done.promise;
  }

  /** Ends the attempt from our side: the client left, its time is over, or the gateway closes. */
  cut(outcome: Outcome, code: Status, details: string): void {
    if (this.#isOver) return;
    this.#end({ code, details, outcome });
    this.#call?.cancel();
  }

  isDue(nowMs: number): boolean {
    const { connectMs, firstByteMs } = this.#options.upstream.deployment.timeouts;
    return nowMs > this.#options.mustEndByMs || nowMs > this.#startedAtMs + connectMs + firstByteMs;
  }

  expire(): void {
    this.cut('timed_out', Status.DEADLINE_EXCEEDED, 'The engine did not answer in time.');
  }

  /** Writes the attempt's one record; where a promise comes back the answer waits for it. */
  settle(
    result: UnaryResult,
    ending: { readonly status: number; readonly lastAttempt: boolean },
  ): Promise<void> | undefined {
    const { meter, upstream, facts, work } = this.#options;
    const { outcome } = result;
    if (this.#span === undefined) {
      meter.recordUnreached({ ...ending, outcome, upstream: upstream.name });
      return undefined;
    }
    const tokens = resolveInferTokens({
      usage: result.answer === null ? null : readUsage(result.answer, facts),
      promptTextBytes: facts.promptTextBytes,
      isStream: false,
      work,
      engineStatus: outcome === 'completed' || outcome === 'upstream_error' ? toHttpStatus(result.code) : null,
      replies: 0,
    });
    return this.#span.finish({ ...ending, ...tokens, outcome });
  }

  #send(): void {
    const { meter, client, upstream, path, message, facts, work, metadata, deadline } = this.#options;
    this.#span = meter.begin({
      upstream: upstream.name,
      pool: upstream.config.pool,
      prefillBy: upstream.deployment.prefillBy,
      work,
      prefillOnly: false,
      promptBytes: message.length,
      maxTokens: facts.maxTokens,
      sequences: 1,
    });
    const call = client.makeUnaryRequest(path, keep, keep, message, metadata, { deadline }, (error, answer) => {
      if (error === null && answer !== undefined) {
        this.#end({ code: Status.OK, details: '', outcome: 'completed', answer });
      } else this.#fail(error);
    });
    this.#call = call;
    call.on('metadata', (initial) => {
      this.#initial = initial;
      this.#span?.observe(this.#now(), 0);
    });
    call.on('status', ({ metadata: trailers }) => {
      this.#trailers = trailers;
    });
  }

  #fail(error: ServiceError | null): void {
    const code = error?.code ?? Status.UNKNOWN;
    if (error !== null) this.#trailers = error.metadata;
    const outcome = code === Status.DEADLINE_EXCEEDED ? 'timed_out' : 'upstream_error';
    this.#end({ code, details: error === null ? '' : describeStatus(error), outcome });
  }

  #end(ending: Pick<UnaryResult, 'code' | 'details' | 'outcome'> & { readonly answer?: Buffer }): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#options.plane.deadlines.delete(this);
    const { answer = null, ...rest } = ending;
    if (answer !== null) this.#span?.observe(this.#now(), 1);
    // The status event, and the trailers with it, comes in the same turn as the callback, after it.
    process.nextTick(() =>
      this.#done.resolve({
        ...rest,
        answer,
        initial: this.#initial,
        trailers: this.#trailers,
        wasSent: this.#span !== undefined,
      }),
    );
  }

  #now(): number {
    return this.#options.meter.services.clock.monotonicMs();
  }
}

/** What an engine's answer says of its tokens; one that is no message says nothing, and reaches the client as it is. */
function readUsage(answer: Buffer, { counting }: InferRequestFacts) {
  try {
    return readInferAnswer(answer, () => counting).usage;
  } catch (error) {
    if (error instanceof MalformedMessageError) return null;
    throw error;
  }
}
