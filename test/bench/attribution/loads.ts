// The five loads of the benchmark, as rates that follow from the engine: measured on it, so that they mean the same for every engine.
// Not here: the requests themselves (plan-traffic.ts).
import type { EngineShape } from './engine-shapes.ts';
import { planTraffic } from './plan-traffic.ts';
import { runEngine } from './run-engine.ts';

/** A load and how long it lasts. */
export interface Load {
  readonly name: string;
  readonly ratePerSecond: number;
  readonly durationMs: number;
}

/** Time alone and throughput in a crowd, of the benchmark's mix on one engine. */
export interface EngineCapacity {
  readonly aloneMs: number;
  readonly requestsPerSecond: number;
}

/** Requests of one probe. */
const PROBE_REQUESTS = 300;

/**
 * The busy loads are parts of the throughput; the light ones parts of time with a request in flight, which is what idle is the rest of:
 * a single stream keeps an engine busy, so 10 % of the time is far below 10 % of the throughput.
 */
const LOADS: readonly {
  readonly name: string;
  readonly inFlight?: number;
  readonly throughput?: number;
  readonly durationMs: number;
}[] = [
  { name: '10% of time', inFlight: 0.1, durationMs: 5_400_000 },
  { name: '60% of time', inFlight: 0.6, durationMs: 1_200_000 },
  { name: '35% throughput', throughput: 0.35, durationMs: 420_000 },
  { name: '80% throughput', throughput: 0.8, durationMs: 300_000 },
  { name: 'overload 125%', throughput: 1.25, durationMs: 240_000 },
];

export const loadNames: readonly string[] = LOADS.map((load) => load.name);

/** All loads for an engine. */
export function createLoads(capacity: EngineCapacity): readonly Load[] {
  return LOADS.map(({ name, inFlight, throughput, durationMs }) => ({
    name,
    durationMs,
    ratePerSecond:
      inFlight === undefined
        ? (throughput ?? 1) * capacity.requestsPerSecond
        : // Poisson arrivals with service time S leave the engine empty for e^(−λS) of the time.
          (-Math.log(1 - inFlight) * 1000) / capacity.aloneMs,
  }));
}

/** Runs the mix once one by one, once all at a time. */
export function measureCapacity(shape: EngineShape): EngineCapacity {
  const traffic = planTraffic({ ratePerSecond: 1, durationMs: PROBE_REQUESTS * 1000, seed: 3 });
  const spaced = runEngine(
    shape,
    traffic.map((plan, index) => ({ ...plan, sentAtMs: index * 600_000, promptBlocks: [] })),
  );
  const crowd = runEngine(
    shape,
    traffic.map((plan) => ({ ...plan, sentAtMs: 0 })),
  );
  return {
    aloneMs: spaced.busyMs / traffic.length,
    requestsPerSecond: (traffic.length * 1000) / crowd.busyMs,
  };
}
