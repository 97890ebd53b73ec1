// A gRPC listener of a real gateway in front of fake engines; HTTP side and recording metering come from the gateway's harness.
import type { Config, DeploymentConfig } from '#config/config.ts';
import { createGrpcServer, type GrpcListener } from '#grpc/grpc-server.ts';
import {
  connectKserve,
  type EngineScript,
  type FakeTriton,
  type KserveClient,
  startFakeTriton,
} from '#test/support/kserve-grpc.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  SEARCH_KEY,
  startHarness,
} from '#test/unit/gateway/harness.ts';

export interface GrpcHarness extends Harness {
  readonly engines: readonly FakeTriton[];
  readonly listener: GrpcListener;
  readonly grpcPort: number;
  readonly client: KserveClient;
}

export interface GrpcHarnessOptions {
  readonly replicas?: number;
  readonly deployment?: Partial<DeploymentConfig>;
  readonly server?: Partial<Config['server']>;
  readonly maxMessageBytes?: number;
}

/** Starts `replicas` engines with the same script (default 1) behind one deployment whose model is served as `ensemble`. */
export async function startGrpcHarness(script: EngineScript, options: GrpcHarnessOptions = {}): Promise<GrpcHarness> {
  const engines = await Promise.all(
    Array.from({ length: options.replicas ?? 1 }, () => startFakeTriton({ ...script })),
  );
  const harness = await startHarness((url) =>
    createConfig(
      [
        createDeploymentConfig(
          engines.map((engine, index) =>
            createUpstreamConfig(url, {
              name: `trt-${index}`,
              pool: `llama-70b/trt-${index}`,
              grpcUrl: `grpc://127.0.0.1:${engine.port}`,
            }),
          ),
          {
            engine: 'triton',
            servedModel: 'ensemble',
            health: { path: '/health', intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 3 },
            ...options.deployment,
          },
        ),
      ],
      options.server === undefined ? {} : { server: options.server },
    ),
  );
  const maxMessageBytes = options.maxMessageBytes ?? 64 * 1024 * 1024;
  const listener = createGrpcServer(harness.gateway.plane, { host: '127.0.0.1', port: 0, maxMessageBytes });
  const { port } = await listener.listen();
  const client = connectKserve(port, SEARCH_KEY);
  return {
    ...harness,
    engines,
    listener,
    grpcPort: port,
    client,
    async close() {
      client.close();
      await listener.close();
      for (const engine of engines) engine.close();
      await harness.close();
    },
  };
}

/** INT32 little-endian, as raw contents are. */
export function int32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) bytes.writeInt32LE(value, index * 4);
  return bytes;
}

/** An answer with text and token counts as the TensorRT-LLM ensemble gives them. */
export function answerWithTokens(input: number, output: number, extra: object = {}) {
  return {
    model_name: 'ensemble',
    outputs: [
      { name: 'text_output', datatype: 'BYTES', shape: [1] },
      { name: 'num_input_tokens', datatype: 'INT32', shape: [1, 1] },
      { name: 'num_output_tokens', datatype: 'INT32', shape: [1, 1] },
    ],
    raw_output_contents: [Buffer.from([2, 0, 0, 0, 0x68, 0x69]), int32(input), int32(output)],
    ...extra,
  };
}

/** A request for text with its counts. */
export function inferRequest(extra: object = {}) {
  return {
    model_name: 'llama-3.1-70b',
    inputs: [
      { name: 'text_input', datatype: 'BYTES', shape: [1, 1] },
      { name: 'max_tokens', datatype: 'INT32', shape: [1, 1] },
      { name: 'return_num_output_tokens', datatype: 'BOOL', shape: [1, 1] },
    ],
    raw_input_contents: [Buffer.from([3, 0, 0, 0, 1, 2, 255]), int32(16), Buffer.from([1])],
    ...extra,
  };
}
