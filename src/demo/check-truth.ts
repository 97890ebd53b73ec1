// The demo's audit: what each team was charged against what the engines know they spent on it.

/** A request as the engine knows it (`GET /truth`). */
export interface TrueRequest {
  readonly requestId: string | null;
  readonly gpuTimeMs: number;
}

export interface TeamCheck {
  readonly team: string;
  readonly chargedGpuSeconds: number;
  readonly trueGpuSeconds: number;
  /** (charged − true) / true. */
  readonly error: number;
}

/** Teams may be off by this much before the demo fails (contract §1). */
export const TEAM_ERROR_MAX = 0.05;

/**
 * Compares GPU seconds per team. `engines` holds each engine's GPUs and requests; a request belongs to the team of its
 * `requestId`. Error = (charged − true) / true; a team with no true time at all has error 0 if it was charged nothing.
 */
export function checkTruth(input: {
  readonly charged: ReadonlyMap<string, number>;
  readonly engines: readonly { readonly gpus: number; readonly requests: readonly TrueRequest[] }[];
  readonly teamOfRequest: ReadonlyMap<string, string>;
}): TeamCheck[] {
  const spent = new Map<string, number>();
  for (const { gpus, requests } of input.engines) {
    for (const request of requests) {
      const team = input.teamOfRequest.get(request.requestId ?? '');
      if (team !== undefined) spent.set(team, (spent.get(team) ?? 0) + (request.gpuTimeMs / 1000) * gpus);
    }
  }
  const teams = [...new Set([...input.charged.keys(), ...spent.keys()])].toSorted();
  return teams.map((team) => {
    const chargedGpuSeconds = input.charged.get(team) ?? 0;
    const trueGpuSeconds = spent.get(team) ?? 0;
    const off = chargedGpuSeconds - trueGpuSeconds;
    const error = off === 0 ? 0 : off / trueGpuSeconds;
    return { team, chargedGpuSeconds, trueGpuSeconds, error };
  });
}

/** Teams that no engine spent anything on: what was not served was not checked. */
export function findUnserved(checks: readonly TeamCheck[], teams: readonly string[]): readonly string[] {
  return teams.filter((team) => !checks.some((check) => check.team === team && check.trueGpuSeconds > 0));
}
