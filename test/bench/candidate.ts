// What stands between client and engine in a run: nothing, nginx, or the gateway.
import { join } from 'node:path';
import { startGatewayUnderTest } from '#test/bench/gateway-under-test.ts';
import { startNginxUnderTest } from '#test/bench/nginx-under-test.ts';

/** Every candidate a run can measure. */
export const CANDIDATE_NAMES = ['direct', 'nginx', 'gateway'] as const;
export type CandidateName = (typeof CANDIDATE_NAMES)[number];

/** A candidate that serves. `pid` is the root of the process tree whose CPU time and memory count. */
export interface Candidate {
  readonly name: CandidateName;
  readonly port: number;
  readonly pid: number;
  /** Sent as bearer token; only the gateway looks at it. */
  readonly key: string;
  /** Seconds by which its books are behind; absent: it has none. What is still to be settled is missing in the CPU time measured so far. */
  readSettlementLagSeconds?(): Promise<number>;
  stop(): Promise<void>;
}

/** Where candidates may write, and the engine they forward to. */
export interface CandidateSurroundings {
  readonly folder: string;
  readonly enginePort: number;
  readonly enginePid: number;
}

/** Starts one candidate, fresh. `direct` is the engine itself: its figures are the engine's own. */
export async function startCandidate(name: CandidateName, surroundings: CandidateSurroundings): Promise<Candidate> {
  const { enginePort, enginePid, folder } = surroundings;
  if (name === 'direct') return { name, port: enginePort, pid: enginePid, key: 'none', stop: async () => {} };
  const start = name === 'nginx' ? startNginxUnderTest : startGatewayUnderTest;
  return { name, ...(await start({ folder: join(folder, name), enginePort })) };
}
