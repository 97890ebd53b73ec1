// Lives here: ModelInfer and ModelStreamInfer of the simulated Triton: from a request's bytes into the engine, refusals in gRPC's words,
// hang-ups. Not here: what is answered (infer-answer.ts), the methods that only read (grpc-server.ts).
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Metadata,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
  status,
} from '@grpc/grpc-js';
import { abortAfterLag, describeFailure } from '../answer-inference.ts';
import { checkFields } from '../check-fields.ts';
import { checkContext } from '../context-limit.ts';
import type { EngineServerContext } from '../engine-server.ts';
import type { FaultSwitches } from '../fault-switches.ts';
import { parseFaultSwitches } from '../fault-switches.ts';
import { createKserveFlavor } from '../flavors/kserve.ts';
import { parseInferenceRequest } from '../inference-request.ts';
import { createScripts, startGeneration } from '../start-generation.ts';
import { InferAnswer, type ReplyListener } from './infer-answer.ts';
import { decodeInferRequest, encodeInferReply, encodeStreamError, encodeStreamReply } from './kserve-messages.ts';
import { WireFormatError } from './wire-format.ts';

/** A refusal or failure with its gRPC status. */
export interface GrpcFailure {
  readonly code: status;
  readonly details: string;
}

const CODES: Readonly<Record<number, status>> = {
  400: status.INVALID_ARGUMENT,
  404: status.NOT_FOUND,
  429: status.RESOURCE_EXHAUSTED,
  501: status.UNIMPLEMENTED,
  503: status.UNAVAILABLE,
  504: status.DEADLINE_EXCEEDED,
};

/** Replies that may wait for a client that does not read. */
const UNSENT_MAX = 4096;

/** One request in the engine; aborting what has ended is harmless. */
interface RunningRequest {
  abort(): void;
}

interface RequestOptions {
  readonly message: Buffer;
  readonly metadata: Metadata;
  readonly streams: boolean;
  readonly listener: ReplyListener;
}

class RefusedError extends Error {
  readonly failure: GrpcFailure;

  constructor(httpStatus: number, details: string) {
    super(details);
    this.failure = { code: CODES[httpStatus] ?? status.INTERNAL, details };
  }
}

/** The model of a request that names it wrongly is not found. Throws RefusedError. */
export function checkModel({ model }: EngineServerContext, named: string, version = ''): void {
  if (named === model && (version === '' || version === '1')) return;
  throw new RefusedError(404, `Request for unknown model: '${named}' is not found`);
}

/** What to tell of a thrown failure. */
export function toFailure(error: unknown): GrpcFailure {
  if (error instanceof RefusedError) return error.failure;
  if (error instanceof WireFormatError) return { code: status.INTERNAL, details: error.message };
  const { status: httpStatus, message } = describeFailure(error);
  return { code: CODES[httpStatus] ?? status.INTERNAL, details: message };
}

/** Starts one request. Rejects with what `toFailure` understands. */
async function startRequest(context: EngineServerContext, options: RequestOptions): Promise<RunningRequest> {
  const { message, metadata, streams, listener } = options;
  const faults = readFaults(context, metadata);
  await sleep(context.networkOverheadMs + (faults.delayHeadersMs ?? 0));
  if (faults.status !== undefined) throw new RefusedError(faults.status, 'simulated failure of the engine');
  const { modelName, modelVersion, id, inputs } = decodeInferRequest(message);
  checkModel(context, modelName, modelVersion);
  const flavor = createKserveFlavor('infer', !context.noUsage);
  const tensors = Object.entries(inputs).map(([name, value]) => ({ name, data: [value] }));
  const body = checkFields('completions', flavor.translate?.({ inputs: tensors }) ?? {});
  const problem = flavor.check({ route: 'completions', body, servedModel: context.model });
  if (problem !== undefined) throw new RefusedError(problem.status, readErrorText(problem.body));
  const request = parseInferenceRequest('completions', body);
  const { seed, contextTokens } = context;
  checkContext(flavor, request, contextTokens);
  const scripts = createScripts(request, { seed, contextTokens, tokens: faults.tokens });
  const [script] = scripts;
  if (script === undefined) throw new RefusedError(400, 'no prompt');
  const requestId = readText(metadata, 'x-request-id');
  const counts = !context.noUsage && faults.noUsage !== true && flavor.wholeUsage?.(body) === true;
  const promptTokens = request.prompts[0]?.tokens ?? 0;
  const { generation } = startGeneration(
    context.engine,
    { request, scripts, id: id === '' ? null : id, requestId },
    () =>
      new InferAnswer({ modelName, id, script, promptTokens, echo: request.echo, counts, streams, faults, listener }),
  );
  return generation;
}

function readErrorText(body: unknown): string {
  return String((body as { readonly error?: unknown }).error);
}

function readText(metadata: Metadata, name: string): string | null {
  const [value] = metadata.get(name);
  return typeof value === 'string' ? value : null;
}

function readFaults({ faults }: EngineServerContext, metadata: Metadata): FaultSwitches {
  const asked = readText(metadata, 'x-simulate');
  return asked === null ? faults : { ...faults, ...parseFaultSwitches(asked) };
}

/** Creates the handler of ModelInfer. */
export function createInferHandler(context: EngineServerContext) {
  return (call: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>): void => {
    let running: RunningRequest | undefined;
    let isAnswered = false;
    const answer = (failure: GrpcFailure | null, message?: Buffer): void => {
      if (isAnswered) return;
      isAnswered = true;
      if (failure !== null) context.engine.log.requestsFailed += 1;
      respond(failure === null ? null : { ...failure, name: 'simulated', message: failure.details }, message);
    };
    const listener: ReplyListener = {
      reply: (reply) => answer(null, encodeInferReply(reply)),
      fail: (details) => answer({ code: status.INTERNAL, details }),
      cut: () => answer({ code: status.UNAVAILABLE, details: 'simulated break of the connection' }),
      end: () => {},
    };
    call.on('cancelled', () => {
      isAnswered = true;
      if (running !== undefined) abortAfterLag(running, context.drawDisconnectLagMs());
    });
    startRequest(context, { message: call.request, metadata: call.metadata, streams: false, listener }).then(
      (started) => {
        running = started;
        if (call.cancelled) started.abort();
      },
      (error: unknown) => answer(toFailure(error)),
    );
  };
}

/** Creates the handler of ModelStreamInfer: each message is a request of its own, replies come as they are made. */
export function createStreamHandler(context: EngineServerContext) {
  return (call: ServerDuplexStream<Buffer, Buffer>): void => {
    new InferStream(context, call).run();
  };
}

class InferStream {
  readonly #context: EngineServerContext;
  readonly #call: ServerDuplexStream<Buffer, Buffer>;
  readonly #running = new Set<RunningRequest>();
  #open = 0;
  #isHalfClosed = false;
  #isOver = false;

  constructor(context: EngineServerContext, call: ServerDuplexStream<Buffer, Buffer>) {
    this.#context = context;
    this.#call = call;
  }

  run(): void {
    const call = this.#call;
    call.on('data', (message: Buffer) => void this.#accept(message));
    call.on('end', () => {
      this.#isHalfClosed = true;
      this.#endWhenDone();
    });
    call.on('error', () => this.#abort());
    call.on('cancelled', () => this.#abort());
  }

  async #accept(message: Buffer): Promise<void> {
    this.#open += 1;
    let id = '';
    let running: RunningRequest | undefined;
    const end = (): void => {
      this.#open -= 1;
      if (running !== undefined) this.#running.delete(running);
      this.#endWhenDone();
    };
    const listener: ReplyListener = {
      reply: (reply) => this.#write(encodeStreamReply(encodeInferReply(reply))),
      fail: (details) => this.#write(encodeStreamError(details, id)),
      cut: () => this.#cut(),
      end,
    };
    try {
      ({ id } = decodeInferRequest(message));
      const { metadata } = this.#call;
      running = await startRequest(this.#context, { message, metadata, streams: true, listener });
      this.#running.add(running);
      if (this.#isOver) running.abort();
    } catch (error) {
      this.#context.engine.log.requestsFailed += 1;
      listener.fail(toFailure(error).details);
      end();
    }
  }

  #write(message: Buffer): void {
    if (this.#isOver) return;
    this.#call.write(message);
    if (this.#call.writableLength > UNSENT_MAX) this.#cut();
  }

  #cut(): void {
    if (this.#isOver) return;
    this.#abort();
    this.#call.emit('error', { code: status.UNAVAILABLE, details: 'simulated break of the connection' });
  }

  #abort(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const lagMs = this.#context.drawDisconnectLagMs();
    for (const running of this.#running) abortAfterLag(running, lagMs);
    this.#running.clear();
  }

  #endWhenDone(): void {
    if (!this.#isHalfClosed || this.#open > 0 || this.#isOver) return;
    this.#isOver = true;
    this.#call.end();
  }
}
