// How far what requests were charged is from what they truly cost. Not here: the books' own sums (check-books.ts).
import type { TracedRequest } from './run-engine.ts';

/** Errors as fractions: 0.05 is 5 %. */
export interface ChargeScore {
  readonly requests: number;
  readonly median: number;
  readonly p95: number;
  /** Signed: positive is charged too much. */
  readonly worstTeam: { readonly team: string; readonly error: number };
  readonly teams: readonly {
    readonly team: string;
    readonly error: number;
    readonly median: number;
    readonly p95: number;
  }[];
  /** Σ charged ÷ Σ true − 1. */
  readonly sumError: number;
}

/**
 * Compares GPU ms charged per request id with the truth. A request without a charge counts as charged 0; one that truly cost nothing
 * (its client left before the engine began) has no relative error and counts in the sums only.
 */
export function scoreCharges(requests: readonly TracedRequest[], chargedMs: ReadonlyMap<number, number>): ChargeScore {
  const teams = [...new Set(requests.map(({ plan }) => plan.team))].toSorted();
  const scored = teams.map((team) =>
    scoreGroup(
      requests.filter(({ plan }) => plan.team === team),
      chargedMs,
    ),
  );
  const all = scoreGroup(requests, chargedMs);
  const byTeam = teams.map((team, index) => {
    const { sumError = 0, median = 0, p95 = 0 } = scored[index] ?? {};
    return { team, error: sumError, median, p95 };
  });
  const worstTeam = byTeam.reduce((worst, team) => (Math.abs(team.error) > Math.abs(worst.error) ? team : worst), {
    team: 'none',
    error: 0,
  });
  return { ...all, teams: byTeam, worstTeam: { team: worstTeam.team, error: worstTeam.error } };
}

function scoreGroup(
  requests: readonly TracedRequest[],
  chargedMs: ReadonlyMap<number, number>,
): Pick<ChargeScore, 'requests' | 'median' | 'p95' | 'sumError'> {
  const errors: number[] = [];
  let charged = 0;
  let truth = 0;
  for (const request of requests) {
    const chargeMs = chargedMs.get(request.plan.id) ?? 0;
    charged += chargeMs;
    truth += request.trueMs;
    if (request.trueMs > 0) errors.push(Math.abs(chargeMs - request.trueMs) / request.trueMs);
  }
  errors.sort((a, b) => a - b);
  return {
    requests: requests.length,
    median: quantile(errors, 0.5),
    p95: quantile(errors, 0.95),
    sumError: truth === 0 ? 0 : charged / truth - 1,
  };
}

/** The value below which that part of the ascending values lies; 0 without values. */
function quantile(ascending: readonly number[], part: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * part))] ?? 0;
}
