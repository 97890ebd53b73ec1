// Lives here: disaggregated serving as a gateway meets it: a front that answers, and the engine behind it that computes its prompts.
// Not here: how a request goes from one to the other (disaggregated-engine.ts).
import { DisaggregatedEngine } from './disaggregated-engine.ts';
import { SimulatedEngine } from './simulated-engine.ts';
import { serveEngine } from './start-simulator.ts';
import type { Simulator, SimulatorOptions } from './start-simulator.ts';

/** Size and speed of the front and of the generating side, and what differs at the other one. */
export interface DisaggregatedOptions extends SimulatorOptions {
  readonly prefill?: Pick<SimulatorOptions, 'port' | 'gpu' | 'gpus' | 'profile' | 'tokenBudget' | 'faults'>;
  /** From the end of a prefill to the first token of the answer, the KV cache being carried over; default 5 ms. */
  readonly transferMs?: number;
}

/** Two engines, each with its own URL, health and truth; `front` is to be asked. */
export interface DisaggregatedSimulator {
  readonly front: Simulator;
  readonly prefill: Simulator;
}

/** Starts both; rejects as `startSimulator` does, and then neither is left. */
export async function startDisaggregated(options: DisaggregatedOptions): Promise<DisaggregatedSimulator> {
  const { prefill: change, transferMs = 5, ...shared } = options;
  const { port: _port, grpcPort: _grpcPort, ...inner } = shared;
  let computing: SimulatedEngine | undefined;
  const prefill = await serveEngine({ ...inner, seed: shared.seed + 1, ...change }, (built) => {
    computing = new SimulatedEngine(built);
    return computing;
  });
  try {
    const front = await serveEngine(shared, (built) => {
      if (computing === undefined) throw new Error('the engine that computes prompts was not made');
      const settings = { ...built.settings, maxQueued: Number.MAX_SAFE_INTEGER };
      return new DisaggregatedEngine({ ...built, settings, prefill: computing, transferMs });
    });
    return { front, prefill };
  } catch (error) {
    await prefill.close();
    throw error;
  }
}
