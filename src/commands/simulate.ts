// `inferometer simulate`: one simulated engine until a signal ends it.
import { startSimulator } from '#simulator/start-simulator.ts';
import { waitForSignal } from './wait-for-signal.ts';

export interface SimulateOptions {
  readonly host: string;
  readonly port: number;
  readonly flavor: 'trtllm' | 'triton' | 'vllm' | 'transformers' | 'kserve';
  readonly model: string;
  readonly seed: number;
  /** commander turns `--no-usage` into false. */
  readonly usage: boolean;
  readonly baseline?: boolean;
  readonly json?: boolean;
}

/** Exit code: 0 after a signal, 1 if the port cannot be had. */
export async function runSimulate(options: SimulateOptions): Promise<number> {
  const engine = await startSimulator({
    host: options.host,
    port: options.port,
    flavor: options.flavor,
    model: options.model,
    seed: options.seed,
    noUsage: !options.usage,
    baseline: options.baseline === true,
  });
  const { url, gpus, profile } = engine;
  const { model, flavor } = options;
  const text =
    options.json === true
      ? JSON.stringify({ url, model, flavor, gpus, profile })
      : `simulated ${flavor} serves ${model} on ${url} (truth: ${url}/truth)`;
  process.stdout.write(`${text}\n`);
  await waitForSignal(['SIGINT', 'SIGTERM']);
  await engine.close();
  return 0;
}
