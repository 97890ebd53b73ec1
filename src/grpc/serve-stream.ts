// ModelStreamInfer: each message of the client's stream is a request of its own, routed, admitted and recorded by itself; all requests of
// one deployment go over one stream to one engine, so that sequences stay together. Replies are passed on in the order they come.
import { type handleBidiStreamingCall, type Metadata, status as Status, type StatusObject } from '@grpc/grpc-js';
import { GatewayError } from '#domain/errors.ts';
import { admit } from '#gateway/admit.ts';
import type { Deadline } from '#gateway/deadline-sweep.ts';
import { nameDeployment } from '#gateway/name-deployment.ts';
import { ClientGoneError } from '#gateway/read-body.ts';
import type { RequestMeter } from '#gateway/request-meter.ts';
import { UNSEATED } from '#gateway/seats.ts';
import { describeStatus } from './grpc-status.ts';
import { toParsedRequest } from './infer-work.ts';
import {
  askEmptyFinal,
  encodeStreamError,
  type InferRequestFacts,
  readInferRequest,
  renameModel,
} from './kserve-messages.ts';
import {
  createAnswerMetadata,
  createMeter,
  type GrpcPlane,
  type OpenCall,
  openCall,
  refuseCall,
  toGatewayError,
} from './open-call.ts';
import { type LaneListener, STREAM_PATH, type StreamLane } from './stream-lane.ts';
import { StreamLanes } from './stream-lanes.ts';
import { StreamRequest } from './stream-request.ts';

/** Requests without an end in one client's stream; more are refused one by one. */
const OPEN_MAX = 1024;

type Call = Parameters<handleBidiStreamingCall<Buffer, Buffer>>[0];

/** Creates the handler of ModelStreamInfer. */
export function createStreamHandler(grpc: GrpcPlane): handleBidiStreamingCall<Buffer, Buffer> {
  return (call) => {
    const { plane } = grpc;
    try {
      void new StreamRelay(grpc, call, openCall(plane, call)).run();
    } catch (error) {
      const known = toGatewayError(plane, error, null);
      call.emit('error', refuseCall(plane, known, { team: null, ids: {} }));
    }
  };
}

/** One client's stream with its lanes to the engines. */
class StreamRelay implements LaneListener, Deadline {
  seat = UNSEATED;
  readonly #grpc: GrpcPlane;
  readonly #call: Call;
  readonly #opened: OpenCall;
  readonly #lanes: StreamLanes;
  readonly #cuttable = { seat: UNSEATED, interrupt: () => this.#interrupt() };
  #hasBegun = false;
  #isDraining = false;
  /** The latest that waits for a durable record. */
  #waiting: Promise<void> | undefined;
  /** The error with which the stream ends as soon as everything is written. */
  #status: Error | undefined;
  /** A message of the client is on its way to an engine. */
  #isAccepting = false;
  #isHalfClosed = false;
  #isOver = false;

  constructor(grpc: GrpcPlane, call: Call, opened: OpenCall) {
    this.#grpc = grpc;
    this.#call = call;
    this.#opened = opened;
    this.#lanes = new StreamLanes({ grpc, opened, deadline: call.getDeadline(), listener: this });
  }

  /** Serves the stream to its end. Never rejects. */
  async run(): Promise<void> {
    const { plane } = this.#grpc;
    this.#call.on('cancelled', () => this.#close('client_aborted', 499));
    this.#call.on('error', () => this.#close('client_aborted', 499));
    plane.inFlight.add(this.#cuttable);
    plane.deadlines.add(this);
    try {
      // At its end the iterator would else destroy the call, and with it the replies to come.
      const messages = this.#call.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
      for await (const message of messages) {
        this.#isAccepting = true;
        await this.#accept(message);
        this.#isAccepting = false;
      }
    } catch {
      // The client's stream broke; `cancelled` has said so, or says so now.
      this.#close('client_aborted', 499);
      return;
    }
    this.#isHalfClosed = true;
    for (const lane of this.#lanes) lane.halfClose();
    this.#endWhenDone();
  }

  began(_lane: StreamLane, metadata: Metadata): void {
    this.#begin(metadata);
  }

  replied(_lane: StreamLane, message: Buffer, written: Promise<void> | undefined): void {
    this.#order(written, () => this.#write(message));
  }

  ended(lane: StreamLane, status: StatusObject): void {
    this.#lanes.delete(lane);
    if (this.#isOver) return;
    if (status.code === Status.OK) {
      this.#endWhenDone();
      return;
    }
    this.#order(undefined, () => this.#passOn(status));
  }

  /** The status with which an engine broke off its stream. */
  #passOn(status: StatusObject): void {
    if (this.#isOver) return;
    const { code } = status;
    const details = describeStatus(status);
    const metadata = createAnswerMetadata(status.metadata, {});
    this.#close('upstream_error', 502);
    this.#endWith(Object.assign(new Error(details), { code, details, metadata }));
  }

  isDue(nowMs: number): boolean {
    if (this.#isUnneeded) return true;
    const { requestTimeoutMs } = this.#grpc.plane.view.config.server;
    return [...this.#lanes].some(({ open }) => [...open].some((request) => request.isDue(nowMs, requestTimeoutMs)));
  }

  /** One late request ends the stream: nothing can be told apart in a stream whose engine is silent. */
  expire(): void {
    if (this.#isUnneeded) this.#interrupt();
    else this.#fail('timed_out', new GatewayError('upstream_timeout'));
  }

  /** Clients keep streams open between their requests: draining waits for these, not for the stream. */
  get #isUnneeded(): boolean {
    if (!this.#grpc.plane.isRefusing() || this.#isHalfClosed) return false;
    return !this.#isAccepting && this.#waiting === undefined && this.#lanes.openRequests === 0;
  }

  /** Takes one message of the client: routes, admits, sends. A refusal is told in the stream, where Triton tells its own. */
  async #accept(message: Buffer): Promise<void> {
    if (this.#isOver) return;
    const { plane } = this.#grpc;
    const receivedAtMs = plane.clock.monotonicMs();
    const meter = createMeter(plane, this.#opened, { route: STREAM_PATH, receivedAtMs });
    meter.stream = true;
    let id = '';
    try {
      const facts = readInferRequest(message);
      ({ id } = facts);
      if (plane.isRefusing()) throw new GatewayError('draining');
      await this.#send(message, facts, meter);
    } catch (error) {
      if (error instanceof ClientGoneError || this.#call.cancelled) {
        meter.endUnsent({ outcome: 'client_aborted', status: 499 });
        return;
      }
      const known = toGatewayError(plane, error, meter.requestId);
      meter.endUnsent({ outcome: 'rejected', status: known.status });
      this.#refuse(known, { id, meter });
    }
  }

  async #send(message: Buffer, facts: InferRequestFacts, meter: RequestMeter): Promise<void> {
    const { plane } = this.#grpc;
    meter.requestedModel = facts.modelName === '' ? null : facts.modelName;
    const ranking = this.#lanes.rank(meter);
    const { deployment: best } = ranking;
    nameDeployment(meter, best);
    if (this.#lanes.openRequests >= OPEN_MAX)
      throw new GatewayError('overloaded', { text: 'Too many requests are open in this stream.' });
    const request = toParsedRequest(facts, true);
    const promptBytes = message.length;
    const permit = await admit(plane.admission, meter, { deployment: best, request, promptBytes });
    let found: Awaited<ReturnType<StreamLanes['find']>>;
    try {
      found = await this.#lanes.find(ranking, { facts, meter });
    } catch (error) {
      permit.release();
      throw error;
    }
    const { lane, deployment } = found;
    const renamed = facts.modelName === deployment.servedModel ? message : renameModel(message, deployment.servedModel);
    const sent = facts.wantsEmptyFinal ? renamed : askEmptyFinal(renamed);
    const { upstream } = lane.lease;
    await lane.send(sent, new StreamRequest({ meter, upstream, permit, facts, messageBytes: message.length }));
  }

  #refuse(error: GatewayError, { id, meter }: { readonly id: string; readonly meter: RequestMeter }): void {
    const { plane } = this.#grpc;
    const status = refuseCall(plane, error, { team: meter.caller.team, ids: {} });
    // Triton's own switch: errors as the status of the stream instead of a reply in it.
    if (String(this.#opened.headers['triton_grpc_error']) === 'true') {
      this.#order(undefined, () => {
        if (this.#isOver) return;
        this.#close('interrupted', 503);
        this.#endWith(status);
      });
      return;
    }
    this.#begin(null);
    this.#order(undefined, () => this.#write(encodeStreamError(error.message, id)));
  }

  #begin(metadata: Metadata | null): void {
    if (this.#hasBegun || this.#isOver) return;
    this.#hasBegun = true;
    if (metadata !== null) this.#call.sendMetadata(createAnswerMetadata(metadata, {}));
  }

  /** An error ends the iterator of the client's messages, which destroys the call, and with it what is still being written. */
  #endWith(status: Error): void {
    this.#status = status;
    this.#sendStatus();
  }

  readonly #sendStatus = (): void => {
    if (this.#status === undefined || this.#call.writableLength > 0) return;
    const status = this.#status;
    this.#status = undefined;
    this.#call.emit('error', status);
  };

  #write(message: Buffer): void {
    if (this.#isOver || this.#call.write(message, this.#sendStatus) || this.#isDraining) return;
    this.#isDraining = true;
    for (const lane of this.#lanes) lane.pause();
    this.#call.once('drain', () => {
      this.#isDraining = false;
      this.#resume();
    });
  }

  /** Runs now where nothing is waited for, else after what came before; the engines wait meanwhile. */
  #order(after: Promise<void> | undefined, action: () => void): void {
    if (after === undefined && this.#waiting === undefined) {
      action();
      return;
    }
    for (const lane of this.#lanes) lane.pause();
    const waiting = Promise.all([this.#waiting, after]).then(() => {
      if (this.#waiting === waiting) this.#waiting = undefined;
      action();
      this.#resume();
    });
    this.#waiting = waiting;
  }

  #resume(): void {
    if (this.#isDraining || this.#waiting !== undefined) return;
    for (const lane of this.#lanes) lane.resume();
  }

  #endWhenDone(): void {
    if (!this.#isHalfClosed || !this.#lanes.isEmpty) return;
    this.#order(undefined, () => {
      if (this.#isOver) return;
      this.#settle();
      this.#call.end();
    });
  }

  #interrupt(): void {
    this.#fail('interrupted', new GatewayError('draining'));
  }

  #fail(outcome: 'timed_out' | 'interrupted', error: GatewayError): void {
    if (this.#isOver) return;
    this.#close(outcome, error.status);
    this.#endWith(refuseCall(this.#grpc.plane, error, { team: this.#opened.caller.team, ids: {} }));
  }

  #close(outcome: 'client_aborted' | 'timed_out' | 'interrupted' | 'upstream_error', httpStatus: number): void {
    if (this.#isOver) return;
    this.#settle();
    this.#lanes.cut(outcome, httpStatus);
  }

  #settle(): void {
    this.#isOver = true;
    this.#grpc.plane.deadlines.delete(this);
    this.#grpc.plane.inFlight.delete(this.#cuttable);
  }
}
