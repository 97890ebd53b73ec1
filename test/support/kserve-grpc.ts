// KServe's gRPC from its proto: a client's view of the service, and an engine whose every answer a test decides.
import { join } from 'node:path';
import {
  credentials,
  loadPackageDefinition,
  type Client,
  type ClientDuplexStream,
  type ClientUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  type ServiceClientConstructor,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** A message as plain JSON, fields in snake case as the proto has them. */
export type Message = Record<string, unknown>;

const loaded = loadPackageDefinition(
  loadSync(join(import.meta.dirname, 'kserve.proto'), {
    keepCase: true,
    longs: Number,
    defaults: false,
    oneofs: false,
  }),
) as unknown as { readonly inference: { readonly GRPCInferenceService: ServiceClientConstructor } };

/** The generated service: client constructor and definition. */
export const InferenceService = loaded.inference.GRPCInferenceService;

type UnaryHandler = (call: ServerUnaryCall<Message, Message>, respond: sendUnaryData<Message>) => void;
type StreamHandler = (call: ServerDuplexStream<Message, Message>) => void;

/** What an engine answers with, replaceable at any time. */
export interface EngineScript {
  infer?: UnaryHandler;
  stream?: StreamHandler;
  other?: (method: string, request: Message) => Message;
}

export interface FakeTriton {
  readonly port: number;
  readonly script: EngineScript;
  /** Requests of unary calls by method, oldest first. */
  readonly requests: { readonly method: string; readonly message: Message; readonly metadata: Metadata }[];
  close(): void;
}

/** Starts an engine on a free loopback port; `port` starts it there again. */
export async function startFakeTriton(
  script: EngineScript = {},
  port = 0,
  security: ServerCredentials = ServerCredentials.createInsecure(),
): Promise<FakeTriton> {
  const requests: FakeTriton['requests'] = [];
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const handlers: Record<string, UnaryHandler | StreamHandler> = {};
  for (const method of Object.keys(InferenceService.service)) {
    handlers[method] = (call: ServerUnaryCall<Message, Message>, respond: sendUnaryData<Message>) => {
      requests.push({ method, message: call.request, metadata: call.metadata });
      if (method === 'ModelInfer' && script.infer !== undefined) script.infer(call, respond);
      else respond(null, script.other?.(method, call.request) ?? {});
    };
  }
  handlers['ModelStreamInfer'] = (call: ServerDuplexStream<Message, Message>) => {
    if (script.stream === undefined) call.end();
    else script.stream(call);
  };
  server.addService(InferenceService.service, handlers as never);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, security, (error, value) =>
      error === null ? resolve(value) : reject(error),
    );
  });
  return { port: bound, script, requests, close: () => server.forceShutdown() };
}

export interface UnaryAnswer {
  /** Null for OK. */
  readonly error: ServiceError | null;
  readonly message: Message | undefined;
  readonly initial: Metadata | undefined;
  readonly status: StatusObject | undefined;
}

export interface KserveClient {
  /** Calls a unary method and waits for its whole answer. */
  call(
    method: string,
    message: Message,
    options?: {
      readonly key?: string | null;
      readonly metadata?: Record<string, string>;
      readonly deadlineMs?: number;
      readonly onCall?: (call: ClientUnaryCall) => void;
    },
  ): Promise<UnaryAnswer>;
  /** Opens a ModelStreamInfer stream. */
  stream(options?: {
    readonly key?: string;
    readonly metadata?: Record<string, string>;
  }): ClientDuplexStream<Message, Message>;
  close(): void;
}

/** Connects a client that sends `key` as bearer token unless told otherwise. */
export function connectKserve(port: number, key: string): KserveClient {
  const client = new InferenceService(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.enable_retries': 0,
  }) as Client & Record<string, (...args: unknown[]) => unknown>;
  const identify = (extra: Record<string, string> = {}, own: string | null = key): Metadata => {
    const metadata = new Metadata();
    if (own !== null) metadata.set('authorization', `Bearer ${own}`);
    for (const [name, value] of Object.entries(extra)) metadata.set(name, value);
    return metadata;
  };
  return {
    call: (method, message, options = {}) =>
      new Promise((resolve) => {
        let initial: Metadata | undefined;
        const deadline = options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs };
        const call = client[method]?.(
          message,
          identify(options.metadata, options.key === undefined ? key : options.key),
          deadline,
          (error: ServiceError | null, answer?: Message) => {
            call.on('status', (status) => resolve({ error, message: answer, initial, status }));
          },
        ) as ClientUnaryCall;
        call.on('metadata', (metadata) => (initial = metadata));
        options.onCall?.(call);
      }),
    stream: (options = {}) =>
      client['ModelStreamInfer']?.(identify(options.metadata, options.key ?? key)) as ClientDuplexStream<
        Message,
        Message
      >,
    close: () => client.close(),
  };
}

/** Replies of a stream until its end, and how it ended. */
export async function collectStream(
  stream: ClientDuplexStream<Message, Message>,
): Promise<{ readonly replies: Message[]; readonly status: StatusObject }> {
  const replies: Message[] = [];
  stream.on('data', (reply: Message) => replies.push(reply));
  stream.on('error', () => {});
  const ended = new Promise((resolve) => stream.once('end', resolve));
  const status = await new Promise<StatusObject>((resolve) => stream.once('status', resolve));
  await ended;
  return { replies, status };
}
