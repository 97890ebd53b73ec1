// The ways in which others divide GPU time, on the same trace: what a price list, a clock or a head count would have said.
// Not here: our own way (replay-trace.ts).
import type { EngineTrace, TracedRequest } from './run-engine.ts';

/** A method's charge of each request, GPU ms by request id. */
export interface NaiveMethod {
  readonly name: string;
  readonly charge: (trace: EngineTrace) => ReadonlyMap<number, number>;
}

export const naiveMethods: readonly NaiveMethod[] = [
  { name: 'wall time × rate', charge: chargeWallTime },
  { name: 'equal share in flight', charge: chargeEqualShares },
  { name: 'tokens 1:2', charge: (trace) => chargeTokens(trace, 2) },
  { name: 'tokens 1:4', charge: (trace) => chargeTokens(trace, 4) },
];

/** LiteLLM's price per second: each request pays all the time it was open. */
function chargeWallTime({ requests }: EngineTrace): ReadonlyMap<number, number> {
  return new Map(requests.map((request) => [request.plan.id, openMs(request)]));
}

/** ∫ dt/n over the time it was open, n the requests open: Σ is the busy time seen from outside. */
function chargeEqualShares({ requests }: EngineTrace): ReadonlyMap<number, number> {
  const edges = requests.flatMap((request) => [
    { atMs: request.plan.sentAtMs, opens: 1, id: request.plan.id },
    { atMs: request.endAtMs, opens: -1, id: request.plan.id },
  ]);
  edges.sort((a, b) => a.atMs - b.atMs || a.opens - b.opens);
  // What one open request paid since the start: its own charge is the difference between its two edges.
  const paidAt = new Map<number, number>();
  const charges = new Map<number, number>();
  let open = 0;
  let lastMs = 0;
  let paid = 0;
  for (const { atMs, opens, id } of edges) {
    if (open > 0) paid += (atMs - lastMs) / open;
    lastMs = atMs;
    open += opens;
    if (opens === 1) paidAt.set(id, paid);
    else charges.set(id, paid - (paidAt.get(id) ?? paid));
  }
  return charges;
}

/** The engine's busy time by tokens, an output token counting `outputWeight` prompt tokens. */
function chargeTokens({ requests, busyMs }: EngineTrace, outputWeight: number): ReadonlyMap<number, number> {
  const weigh = ({ plan, completionTokens }: TracedRequest): number =>
    plan.promptTokens + outputWeight * completionTokens;
  const total = requests.reduce((sum, request) => sum + weigh(request), 0);
  return new Map(requests.map((request) => [request.plan.id, (busyMs * weigh(request)) / total]));
}

function openMs({ plan, endAtMs }: TracedRequest): number {
  return endAtMs - plan.sentAtMs;
}
