// What `/readyz` says (contract §5): one word and the checks behind it. Pure; draining is added by the planes.

export interface ReadinessFacts {
  /** Config and store were read once. */
  readonly started: boolean;
  readonly draining: boolean;
  readonly storeUp: boolean;
  readonly journalOk: boolean;
  /** Why nothing is posted any more, or null. */
  readonly stoppedBecause: string | null;
  readonly upstreams: readonly { readonly deployment: string; readonly healthy: boolean | null }[];
}

export type ReadinessStatus = 'starting' | 'draining' | 'unready' | 'degraded' | 'ready';

export interface ReadinessAnswer {
  readonly status: ReadinessStatus;
  readonly checks: {
    readonly config: 'ok';
    readonly store: string;
    readonly journal: 'ok' | 'not writable';
    /** By deployment. An upstream without a verdict yet counts as healthy. */
    readonly upstreams: Readonly<Record<string, { readonly healthy: number; readonly total: number }>>;
  };
}

/**
 * `draining` after SIGTERM, `starting` until the store was read once, `unready` while the journal cannot be written (all 503);
 * `degraded` with store or a whole deployment down later (200, since answering is still possible and losing nothing), else `ready`.
 */
export function assessReadiness(facts: ReadinessFacts): ReadinessAnswer {
  const upstreams: Record<string, { healthy: number; total: number }> = {};
  for (const { deployment, healthy } of facts.upstreams) {
    const count = (upstreams[deployment] ??= { healthy: 0, total: 0 });
    count.total += 1;
    if (healthy !== false) count.healthy += 1;
  }
  const store = facts.stoppedBecause ?? (facts.storeUp ? 'ok' : 'down');
  const allServed = Object.values(upstreams).every(({ healthy }) => healthy > 0);
  return {
    status: statusOf(facts, store === 'ok' && allServed),
    checks: { config: 'ok', store, journal: facts.journalOk ? 'ok' : 'not writable', upstreams },
  };
}

function statusOf(facts: ReadinessFacts, healthy: boolean): ReadinessStatus {
  if (facts.draining) return 'draining';
  if (!facts.journalOk) return 'unready';
  if (!facts.started) return 'starting';
  return healthy ? 'ready' : 'degraded';
}
