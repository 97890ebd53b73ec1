// What `/readyz` says (contract §5): one word and the checks behind it. Pure; draining is added by the planes.

export interface ReadinessFacts {
  /** Config and store were read once. */
  readonly started: boolean;
  readonly draining: boolean;
  readonly storeUp: boolean;
  readonly journalOk: boolean;
  /** Why nothing is posted any more, or null. */
  readonly stoppedBecause: string | null;
  /** All of the config: one whose host has no address has no upstream. */
  readonly deployments: readonly { readonly name: string }[];
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
    /** Only where several processes serve: those that accept requests, and how many there should be. */
    readonly workers?: { readonly serving: number; readonly total: number };
  };
}

/**
 * `draining` after SIGTERM, `starting` until the store was read once, `unready` while the journal cannot be written (all 503);
 * `degraded` with store or a whole deployment down later (200, since answering is still possible and losing nothing), else `ready`.
 */
export function assessReadiness(facts: ReadinessFacts): ReadinessAnswer {
  const upstreams: Record<string, { healthy: number; total: number }> = {};
  for (const { name } of facts.deployments) upstreams[name] = { healthy: 0, total: 0 };
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

/**
 * What a gateway of several worker processes says: one that is unready makes it so, since a request may be any worker's; one that is missing
 * or still starting only degrades it while another serves.
 */
export function uniteReadiness(
  answers: readonly ReadinessAnswer[],
  { workers, draining }: { readonly workers: number; readonly draining: boolean },
): ReadinessAnswer {
  const serving = answers.filter(({ status }) => status === 'ready' || status === 'degraded');
  const upstreams: Record<string, { healthy: number; total: number }> = {};
  for (const [name, { healthy, total }] of answers.flatMap(({ checks }) => Object.entries(checks.upstreams))) {
    const before = upstreams[name] ?? { healthy, total };
    upstreams[name] = { healthy: Math.min(before.healthy, healthy), total: Math.max(before.total, total) };
  }
  const journal = answers.some(({ checks }) => checks.journal !== 'ok') ? 'not writable' : 'ok';
  const store =
    answers.find(({ checks }) => checks.store !== 'ok')?.checks.store ?? (answers.length > 0 ? 'ok' : 'down');
  const allReady = serving.length === workers && serving.every(({ status }) => status === 'ready');
  const status = uniteStatus(answers, { draining, isServing: serving.length > 0, allReady });
  return {
    status,
    checks: { config: 'ok', store, journal, upstreams, workers: { serving: serving.length, total: workers } },
  };
}

function uniteStatus(
  answers: readonly ReadinessAnswer[],
  { draining, isServing, allReady }: { draining: boolean; isServing: boolean; allReady: boolean },
): ReadinessStatus {
  if (draining) return 'draining';
  if (answers.some(({ status }) => status === 'unready')) return 'unready';
  if (!isServing) return 'starting';
  return allReady ? 'ready' : 'degraded';
}

function statusOf(facts: ReadinessFacts, healthy: boolean): ReadinessStatus {
  if (facts.draining) return 'draining';
  if (!facts.journalOk) return 'unready';
  if (!facts.started) return 'starting';
  return healthy ? 'ready' : 'degraded';
}
