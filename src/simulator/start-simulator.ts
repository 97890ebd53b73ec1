// Lives here: the simulator's front door: options, defaults, start and stop of one simulated engine.
// Not here: anything the engine does.
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import type { IterationCoefficients } from './iteration-cost.ts';
import { findEngineModel, slowToBaseline } from './engine-models.ts';
import { createEngineServer } from './engine-server.ts';
import type { EngineServerContext } from './engine-server.ts';
import { parseFaultSwitches } from './fault-switches.ts';
import type { Flavor, FlavorName } from './flavors/flavor.ts';
import { createKserveFlavor } from './flavors/kserve.ts';
import { transformersFlavor } from './flavors/transformers.ts';
import { tritonFlavor } from './flavors/triton.ts';
import { trtllmFlavor } from './flavors/trtllm.ts';
import { createVllmFlavor } from './flavors/vllm.ts';
import type { GrpcPort } from './grpc/grpc-server.ts';
import { blockTokens } from './pseudo-text.ts';
import { createSeededRandom } from './seeded-random.ts';
import { SimulatedEngine } from './simulated-engine.ts';
import type { EngineTruth } from './truth-book.ts';

/** What a SimulatedEngine is made of. */
export type EngineOptions = ConstructorParameters<typeof SimulatedEngine>[0];

export type { EngineTruth, RequestTruth } from './truth-book.ts';
export type { FlavorName } from './flavors/flavor.ts';

/** How an engine is simulated. Everything but flavor, model and seed has a default. */
export interface SimulatorOptions {
  readonly flavor: FlavorName;
  /** Name the engine serves; its speed follows from it (engine-models.ts). */
  readonly model: string;
  readonly seed: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 (default): any free port. */
  readonly port?: number;
  /** Port of KServe's gRPC, 0 for a free one; `triton` and `kserve` alone. With it `triton` serves `/v2` over HTTP too, as with `--enable-kserve-frontends`. */
  readonly grpcPort?: number;
  /** Never report usage, as a Triton model without token outputs. */
  readonly noUsage?: boolean;
  /** Unbatched, ten times slower with eight requests in flight: the "Transformers baseline". */
  readonly baseline?: boolean;
  /** Default H100-SXM. */
  readonly gpu?: string;
  /** GPUs of the replica; default those the model is usually served on. */
  readonly gpus?: number;
  /** Coefficients that replace the model's. */
  readonly profile?: Partial<IterationCoefficients>;
  /** Coefficient of variation of an iteration's duration; default 0.04. */
  readonly noiseCv?: number;
  /** Default 256. */
  readonly maxSequences?: number;
  /** Tokens an iteration may process; default 2048. */
  readonly tokenBudget?: number;
  /** Default: the model's on its GPUs. */
  readonly kvCapacityTokens?: number;
  /** Tokens of a prompt and its answer together; default the model's, or what the KV cache holds if that is less. */
  readonly contextTokens?: number;
  /** Default true. */
  readonly prefixCache?: boolean;
  /** Sequences that may wait; default 100 000, above which the answer is 503. */
  readonly maxQueued?: number;
  /** Tokenising and HTTP before the engine's queue, ms of every request; default 5. */
  readonly networkOverheadMs?: number;
  /** Longest time until a disconnect is noticed, ms; default the flavour's; Infinity: never. */
  readonly disconnectLagMsMax?: number;
  /** vLLM's `--enable-prompt-tokens-details`; default false. */
  readonly promptTokensDetails?: boolean;
  /** trtllm-serve's `perf_metrics_max_requests` with `return_perf_metrics`: entries of `/perf_metrics`; default 0, off. */
  readonly perfMetricsMaxRequests?: number;
  /** Faults of every request, written as in the header `x-simulate` (fault-switches.ts). */
  readonly faults?: string;
}

/** A running simulated engine. */
export interface Simulator {
  readonly url: string;
  readonly port: number;
  /** Null where there is no gRPC. */
  readonly grpcPort: number | null;
  /** GPUs of the replica. */
  readonly gpus: number;
  /** The coefficients the truth follows from. */
  readonly profile: IterationCoefficients;
  /** The truth so far; requests that run or ended at `sinceMs` (epoch ms) or later. */
  truth(sinceMs?: number): EngineTruth;
  /** Makes the health routes say ready or not. */
  setReady(ready: boolean): void;
  /** Ends connections and engine. */
  close(): Promise<void>;
}

/** Starts an engine. Rejects if the port cannot be had, with RangeError or UnknownFaultError on bad options. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  return serveEngine(options, (built) => new SimulatedEngine(built));
}

/** Serves the engine that `create` makes of what the options say; rejects as `startSimulator` does. */
export async function serveEngine(
  options: SimulatorOptions,
  create: (built: EngineOptions) => SimulatedEngine,
): Promise<Simulator> {
  const { host = '127.0.0.1', port = 0, seed, model } = options;
  const contextTokens = readContextTokens(options);
  const flavor = createFlavor(options, contextTokens);
  if (options.grpcPort !== undefined && flavor.name !== 'triton' && flavor.name !== 'kserve') {
    throw new RangeError(`${flavor.name} has no gRPC port; triton and kserve have one`);
  }
  const faults = parseFaultSwitches(options.faults ?? '');
  const built = readEngineOptions(options);
  const engine = create(built);
  const lagMsMax = options.disconnectLagMsMax ?? flavor.disconnectLagMsMax;
  const random = createSeededRandom(seed);
  let ready = true;
  let engineId = 0;
  const context: EngineServerContext = {
    engine,
    flavor,
    model,
    contextTokens,
    seed,
    faults,
    createdAt: Math.floor(Date.now() / 1000),
    speaksKserve: flavor.name === 'kserve' || options.grpcPort !== undefined,
    noUsage: options.noUsage === true,
    networkOverheadMs: options.networkOverheadMs ?? 5,
    drawDisconnectLagMs: () => (lagMsMax === 0 ? 0 : lagMsMax * (1 - random.uniform())),
    isReady: () => ready,
    nextEngineId: () => (engineId += 1),
  };
  const server = createEngineServer(context);
  server.listen(port, host);
  await once(server, 'listening');
  const grpc = await openGrpc(context, { host, port: options.grpcPort }).catch(async (error: unknown) => {
    await closeAll(engine, server);
    throw error;
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    port: bound,
    grpcPort: grpc?.port ?? null,
    gpus: built.gpus,
    profile: built.settings.coefficients,
    truth: (sinceMs) => engine.readTruth(sinceMs),
    setReady(isReady) {
      ready = isReady;
    },
    close() {
      grpc?.close();
      return closeAll(engine, server);
    },
  };
}

async function openGrpc(
  context: EngineServerContext,
  { host, port }: { readonly host: string; readonly port: number | undefined },
): Promise<GrpcPort | null> {
  if (port === undefined) return null;
  const { openGrpcPort } = await import('./grpc/grpc-server.ts');
  return openGrpcPort(context, { host, port });
}

/** Size and speed of the engine that the options describe. */
function readEngineOptions(options: SimulatorOptions): EngineOptions {
  const found = findEngineModel(options.model, { gpu: options.gpu, gpus: options.gpus });
  const baseline = options.baseline === true;
  const coefficients = { ...(baseline ? slowToBaseline(found.coefficients) : found.coefficients), ...options.profile };
  return {
    model: options.model,
    gpus: found.gpus,
    timingsMax: options.perfMetricsMaxRequests ?? 0,
    settings: {
      coefficients,
      noiseCv: options.noiseCv ?? 0.04,
      maxSequences: baseline ? 1 : (options.maxSequences ?? 256),
      tokenBudget: options.tokenBudget ?? 2048,
      kvCapacityTokens: options.kvCapacityTokens ?? found.kvCapacityTokens,
      prefixCache: options.prefixCache ?? !baseline,
      maxQueued: options.maxQueued ?? 100_000,
      seed: options.seed,
    },
  };
}

/** An engine promises no more than one request could have of its KV cache, which holds a token beyond the answer's last. */
function readContextTokens({ contextTokens, kvCapacityTokens, ...options }: SimulatorOptions): number {
  const found = findEngineModel(options.model, { gpu: options.gpu, gpus: options.gpus });
  const blocks = Math.floor((kvCapacityTokens ?? found.kvCapacityTokens) / blockTokens);
  return contextTokens ?? Math.min(found.contextTokens, blocks * blockTokens - 1);
}

async function closeAll(engine: SimulatedEngine, server: Server): Promise<void> {
  engine.close();
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function createFlavor(options: SimulatorOptions, maxModelLen: number): Flavor {
  switch (options.flavor) {
    case 'trtllm':
      return trtllmFlavor;
    case 'triton':
      return tritonFlavor;
    case 'vllm':
      return createVllmFlavor({ promptTokensDetails: options.promptTokensDetails === true, maxModelLen });
    case 'transformers':
      return transformersFlavor;
    case 'kserve':
      return createKserveFlavor('generate', options.noUsage !== true);
    default:
      throw new RangeError(
        `unknown flavor "${String(options.flavor)}"; known: trtllm, triton, vllm, transformers, kserve`,
      );
  }
}
