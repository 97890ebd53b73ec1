// `inferometer simulate`: one simulated engine until a signal ends it.
import { startSimulator } from '#simulator/start-simulator.ts';
import { waitForSignal } from './wait-for-signal.ts';

export interface SimulateOptions {
  readonly host: string;
  readonly port: number;
  readonly grpcPort?: number;
  readonly flavor: 'trtllm' | 'triton' | 'vllm' | 'transformers' | 'kserve';
  readonly model: string;
  readonly seed: number;
  /** commander turns `--no-usage` into false. */
  readonly usage: boolean;
  readonly baseline?: boolean;
  readonly json?: boolean;
}

const HAS_GRPC: ReadonlySet<SimulateOptions['flavor']> = new Set(['triton', 'kserve']);

/** Exit code: 0 after a signal, 2 for options that do not go together. Rejects if a port cannot be had. */
export async function runSimulate(options: SimulateOptions): Promise<number> {
  if (options.grpcPort !== undefined && !HAS_GRPC.has(options.flavor)) {
    process.stderr.write(`inferometer: --grpc-port: ${options.flavor} has no gRPC; use --flavor triton or kserve\n`);
    return 2;
  }
  const engine = await startSimulator({
    host: options.host,
    port: options.port,
    ...(options.grpcPort === undefined ? {} : { grpcPort: options.grpcPort }),
    flavor: options.flavor,
    model: options.model,
    seed: options.seed,
    noUsage: !options.usage,
    baseline: options.baseline === true,
  });
  const { url, gpus, profile, grpcPort } = engine;
  const { model, flavor } = options;
  const text =
    options.json === true
      ? JSON.stringify({ url, ...(grpcPort === null ? {} : { grpcPort }), model, flavor, gpus, profile })
      : `simulated ${flavor} serves ${model} on ${url}${grpcPort === null ? '' : ` and grpc://${options.host}:${grpcPort}`} (truth: ${url}/truth)`;
  process.stdout.write(`${text}\n`);
  await waitForSignal(['SIGINT', 'SIGTERM']);
  await engine.close();
  return 0;
}
