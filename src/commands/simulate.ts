// `inferometer simulate`: one simulated engine until a signal ends it.
import { startDisaggregated } from '#simulator/start-disaggregated.ts';
import { type Simulator, startSimulator } from '#simulator/start-simulator.ts';
import { waitForSignal } from './wait-for-signal.ts';

export interface SimulateOptions {
  readonly host: string;
  readonly port: number;
  readonly grpcPort?: number;
  /** Of the engine that computes the prompts; absent: this one does. */
  readonly prefillPort?: number;
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
  const { front, prefill } = await startEngines(options).catch((error: unknown) => {
    throw explainTakenPort(error);
  });
  const { url, gpus, profile, grpcPort } = front;
  const { model, flavor } = options;
  const grpc = grpcPort === null ? '' : ` and grpc://${options.host}:${grpcPort}`;
  const behind = prefill === null ? '' : `, prompts computed by ${prefill.url} (truth: ${prefill.url}/truth)`;
  const text =
    options.json === true
      ? JSON.stringify({
          url,
          ...(grpcPort === null ? {} : { grpcPort }),
          ...(prefill === null ? {} : { prefillUrl: prefill.url }),
          model,
          flavor,
          gpus,
          profile,
        })
      : `simulated ${flavor} serves ${model} on ${url}${grpc} (truth: ${url}/truth)${behind}`;
  process.stdout.write(`${text}\n`);
  await waitForSignal(['SIGINT', 'SIGTERM']);
  await Promise.all([front.close(), prefill?.close()]);
  return 0;
}

/** The system's word for a port that somebody listens on already, with what to do about it. */
function explainTakenPort(error: unknown): unknown {
  const [, address] =
    /EADDRINUSE: address already in use (\S+?)\]?$/.exec(error instanceof Error ? error.message : '') ?? [];
  if (address === undefined) return error;
  return new Error(`${address} is taken: another program listens there; choose another port, or 0 for a free one`);
}

async function startEngines(options: SimulateOptions): Promise<{ front: Simulator; prefill: Simulator | null }> {
  const { host, port, grpcPort, prefillPort, flavor, model, seed, usage, baseline } = options;
  const shared = { host, port, flavor, model, seed, noUsage: !usage, baseline: baseline === true };
  const engine = { ...shared, ...(grpcPort === undefined ? {} : { grpcPort }) };
  if (prefillPort === undefined) return { front: await startSimulator(engine), prefill: null };
  return startDisaggregated({ ...engine, prefill: { port: prefillPort } });
}
