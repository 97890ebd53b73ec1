// Lives here: the gRPC port of the simulated Triton: KServe's inference service and the standard health service.
// Not here: inference (infer-calls.ts) and the bytes of messages (kserve-messages.ts).
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { EngineServerContext } from '../engine-server.ts';
import { describeTensors, SERVER_EXTENSIONS, SERVER_VERSION } from '../flavors/kserve.ts';
import { checkModel, createInferHandler, createStreamHandler, toFailure } from './infer-calls.ts';
import {
  decodeName,
  encodeFlag,
  encodeModelConfig,
  encodeModelMetadata,
  encodeModelStatistics,
  encodeRepositoryIndex,
  encodeServerMetadata,
} from './kserve-messages.ts';
import { encodeNumber } from './wire-format.ts';

/** A running gRPC port. */
export interface GrpcPort {
  readonly port: number;
  /** Ends calls and connections. */
  close(): void;
}

/** Answers a request whose message may name a model; throws what `toFailure` understands. */
type Reading = (context: EngineServerContext, message: Buffer) => Buffer;

const readings: Readonly<Record<string, Reading>> = {
  ServerLive: () => encodeFlag(true),
  ServerReady: (context) => encodeFlag(context.isReady()),
  ModelReady: (context, message) => {
    checkModel(context, decodeName(message));
    return encodeFlag(context.isReady());
  },
  ServerMetadata: () => encodeServerMetadata(SERVER_VERSION, SERVER_EXTENSIONS),
  ModelMetadata: (context, message) => {
    checkModel(context, decodeName(message));
    return encodeModelMetadata(context.model, describeTensors(!context.noUsage));
  },
  ModelConfig: (context, message) => {
    checkModel(context, decodeName(message));
    return encodeModelConfig(context.model);
  },
  ModelStatistics: (context, message) => {
    const name = decodeName(message);
    if (name !== '') checkModel(context, name);
    return encodeModelStatistics(context.model, context.engine.log.requestsSucceeded);
  },
  RepositoryIndex: (context) => encodeRepositoryIndex(context.model, context.isReady()),
};

const keep = (bytes: Buffer): Buffer => bytes;

/** Messages pass as bytes: the engine decodes them itself. */
function defineMethod(path: string, streams: boolean) {
  return {
    path,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: keep,
    requestDeserialize: keep,
    responseSerialize: keep,
    responseDeserialize: keep,
  };
}

function answerReading(context: EngineServerContext, read: Reading) {
  return (call: ServerUnaryCall<Buffer, Buffer>, respond: sendUnaryData<Buffer>): void => {
    try {
      respond(null, read(context, call.request));
    } catch (error) {
      respond({ ...toFailure(error), name: 'simulated', message: toFailure(error).details });
    }
  };
}

/** Opens the port, 0 for a free one. Rejects with the system's error. */
export async function openGrpcPort(
  context: EngineServerContext,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<GrpcPort> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const path = (name: string): string => `/inference.GRPCInferenceService/${name}`;
  const methods = Object.entries(readings);
  server.addService(
    {
      ModelInfer: defineMethod(path('ModelInfer'), false),
      ModelStreamInfer: defineMethod(path('ModelStreamInfer'), true),
      ...Object.fromEntries(methods.map(([name]) => [name, defineMethod(path(name), false)])),
    },
    {
      ModelInfer: createInferHandler(context),
      ModelStreamInfer: createStreamHandler(context),
      ...Object.fromEntries(methods.map(([name, read]) => [name, answerReading(context, read)])),
    },
  );
  // grpc.health.v1: SERVING is 1, NOT_SERVING 2.
  server.addService(
    { Check: defineMethod('/grpc.health.v1.Health/Check', false) },
    { Check: answerReading(context, ({ isReady }) => encodeNumber(1, isReady() ? 1 : 2)) },
  );
  const bound = await new Promise<number>((resolve, reject) => {
    const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, value) => {
      if (error === null) resolve(value);
      else reject(error);
    });
  });
  return { port: bound, close: () => server.forceShutdown() };
}
