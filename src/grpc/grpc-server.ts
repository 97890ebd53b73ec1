// The gRPC port: KServe's inference service with the keys, deployments, admission and books of the HTTP routes. Its methods stand in
// serve-infer, serve-stream and serve-reading; every other method answers UNIMPLEMENTED, those that steer an engine among them.
import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { GrpcConfig } from '#config/config.ts';
import type { DataPlane } from '#gateway/data-plane.ts';
import { createKserveViews } from '#gateway/kserve-routes.ts';
import { GrpcUpstreams } from './grpc-upstreams.ts';
import type { GrpcPlane } from './open-call.ts';
import { createIdentityInterceptor } from './require-identity.ts';
import { createInferHandler } from './serve-infer.ts';
import { createReadingHandler, encodeHealth, READING_METHODS } from './serve-reading.ts';
import { createStreamHandler } from './serve-stream.ts';

/** Dead clients are noticed by pings, so that their engines are let go. */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** The standard health protocol's one method here. */
const HEALTH_PATH = '/grpc.health.v1.Health/Check';
/** How long clients may take to read the last of their answers before their connections go anyway. */
const CLOSE_MS = 5_000;

/** The listener; requests in flight are the data plane's to wait for. */
export interface GrpcListener {
  /** Listens where the config says; resolves with the real port. Rejects with the system's error. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Takes no new connection or call, lets what is answered leave, ends what is left, and lets the engines go. Safe to repeat. */
  close(): Promise<void>;
}

/** Creates the listener of a data plane. `tls` of the server section applies to gRPC too. */
export function createGrpcServer(plane: DataPlane, config: GrpcConfig): GrpcListener {
  const { maxMessageBytes } = config;
  const upstreams = new GrpcUpstreams({ maxMessageBytes, listEngines: () => plane.pool.list() });
  const grpc: GrpcPlane = { plane, upstreams, findView: createKserveViews(plane) };
  // It prints metadata that it cannot take, a mistyped key among it; what matters is in our own log.
  setLogVerbosity(logVerbosity.NONE);
  const server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': -1,
    'grpc.keepalive_time_ms': KEEPALIVE_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    interceptors: [createIdentityInterceptor(plane, new Set([HEALTH_PATH]))],
  });
  addInferenceService(server, grpc);
  addHealthService(server, plane);
  const { tls } = plane.view.config.server;
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }]);
  return {
    listen: () =>
      new Promise((resolve, reject) => {
        const host = config.host.includes(':') ? `[${config.host}]` : config.host;
        server.bindAsync(`${host}:${config.port}`, credentials, (error, port) => {
          if (error === null) resolve({ host: config.host, port });
          else reject(error);
        });
      }),
    async close() {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, CLOSE_MS);
        server.tryShutdown(() => {
          clearTimeout(timer);
          resolve();
        });
      });
      server.forceShutdown();
      upstreams.close();
    },
  };
}

const keep = (bytes: Buffer): Buffer => bytes;

/** Messages pass as bytes: what is not read is not changed. */
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

function addInferenceService(server: Server, grpc: GrpcPlane): void {
  const path = (name: string): string => `/inference.GRPCInferenceService/${name}`;
  const handlers: UntypedServiceImplementation = {
    ModelInfer: createInferHandler(grpc),
    ModelStreamInfer: createStreamHandler(grpc),
  };
  const service = {
    ModelInfer: defineMethod(path('ModelInfer'), false),
    ModelStreamInfer: defineMethod(path('ModelStreamInfer'), true),
    ...Object.fromEntries(READING_METHODS.map(({ name }) => [name, defineMethod(path(name), false)])),
  };
  for (const method of READING_METHODS) handlers[method.name] = createReadingHandler(grpc, method);
  server.addService(service, handlers);
}

/** The standard health protocol, which needs no key: orchestrators probe with it. */
function addHealthService(server: Server, plane: DataPlane): void {
  server.addService(
    { Check: defineMethod(HEALTH_PATH, false) },
    {
      Check(_call: unknown, respond: (error: null, answer: Buffer) => void) {
        respond(null, encodeHealth(!plane.isRefusing()));
      },
    },
  );
}
