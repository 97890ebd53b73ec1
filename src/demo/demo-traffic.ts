// The demo's traffic: three teams that use the optimised engine in their own ways, and a trickle to the engine before optimisation.
import { type TrafficTeam, runTraffic } from '#simulator/traffic.ts';
import { BASELINE_MODEL, DEMO_TEAMS, type DemoStage, OPTIMISED_MODEL } from './demo-config.ts';
import { drawProgress } from '../commands/draw-progress.ts';

export interface DemoTraffic {
  /** By the gateway's request id. */
  readonly teamOfRequest: ReadonlyMap<string, string>;
  readonly endedAtMs: number;
}

/** Outputs are shortened so that what starts within seconds also ends within seconds. */
function planTeams(stage: DemoStage): TrafficTeam[] {
  const key = (team: (typeof DEMO_TEAMS)[number]) => ({ team, apiKey: stage.keys[team] });
  return [
    { ...key('search'), model: OPTIMISED_MODEL, profile: 'rag', requestsPerSecond: 3, scale: 0.5, promptScale: 0.5 },
    { ...key('assistant'), model: OPTIMISED_MODEL, profile: 'chat', requestsPerSecond: 6, scale: 0.5 },
    { ...key('codegen'), model: OPTIMISED_MODEL, profile: 'code', requestsPerSecond: 2, scale: 0.25 },
    // Few and short: this engine serves one request at a time, ten times slower.
    ...DEMO_TEAMS.map((team): TrafficTeam => ({
      ...key(team),
      model: BASELINE_MODEL,
      profile: 'chat',
      requestsPerSecond: 0.3,
      scale: 0.1,
      // That server refuses the request for usage and reports it unasked.
      askUsage: false,
    })),
  ];
}

/** Runs the traffic and resolves when the last answer has ended. */
export async function runDemoTraffic(options: {
  readonly stage: DemoStage;
  readonly seconds: number;
  readonly seed: number;
  readonly isTerminal: boolean;
  readonly signal: AbortSignal;
}): Promise<DemoTraffic> {
  const progress = drawProgress('traffic of three teams', options.isTerminal);
  const summary = await runTraffic({
    baseUrl: `http://127.0.0.1:${options.stage.port}`,
    durationMs: options.seconds * 1000,
    teams: planTeams(options.stage),
    seed: options.seed,
    drainMs: 20_000,
    signal: options.signal,
    onProgress: ({ elapsedShare, ended, inFlight }) =>
      progress.update(elapsedShare, `${ended} answered, ${inFlight} in flight`),
  });
  progress.stop();
  const teamOfRequest = new Map<string, string>();
  for (const request of summary.requests)
    if (request.requestId !== null) teamOfRequest.set(request.requestId, request.team);
  return { teamOfRequest, endedAtMs: summary.endedAtMs };
}
