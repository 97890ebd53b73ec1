// Asks every upstream's health route again and again, and keeps the verdict the pool chooses by. Never asks a route that generates.
// What real requests say of an upstream is ejection.ts's.
import type { EngineTraits } from '#domain/engine.ts';
import type { Log } from '#domain/log.ts';
import type { Upstream, UpstreamPool } from './upstream-pool.ts';

export interface HealthOptions {
  readonly pool: UpstreamPool;
  readonly engines: Readonly<Record<string, EngineTraits>>;
  readonly log: Log;
  /** Told the first verdict on a pool of GPUs and every change: healthy while any of its upstreams is. */
  readonly reportHealth: (pool: string, healthy: boolean) => void;
}

/** Part of the interval by which checks are spread, so that many gateways do not ask at once. */
const JITTER = 0.2;

/** Active checks on a timer per upstream. */
export class HealthChecks {
  readonly #options: HealthOptions;
  readonly #timers = new Map<Upstream, NodeJS.Timeout>();
  readonly #reported = new Map<string, boolean>();
  #isClosed = false;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Starts checks for upstreams that have none, ends those of upstreams that left; call after each reload. */
  synchronize(): void {
    const present = new Set(this.#options.pool.list());
    for (const [upstream, timer] of this.#timers) {
      if (present.has(upstream)) continue;
      clearTimeout(timer);
      this.#timers.delete(upstream);
    }
    const pools = new Set([...present].map(({ config }) => config.pool));
    for (const pool of this.#reported.keys()) if (!pools.has(pool)) this.#reported.delete(pool);
    for (const upstream of present) if (!this.#timers.has(upstream)) this.#schedule(upstream, 0);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #schedule(upstream: Upstream, delayMs: number): void {
    const timer = setTimeout(() => void this.#check(upstream), delayMs).unref();
    this.#timers.set(upstream, timer);
  }

  async #check(upstream: Upstream): Promise<void> {
    const reason = await this.#ask(upstream);
    if (this.#isClosed || !this.#timers.has(upstream)) return;
    this.#judge(upstream, reason);
    const { intervalMs } = upstream.deployment.health;
    this.#schedule(upstream, intervalMs * (1 + JITTER * (Math.random() - 0.5)));
  }

  /** Null for status 200 within the time limit, else what came instead; the body is read and dropped. */
  async #ask(upstream: Upstream): Promise<string | null> {
    const { config, deployment, dispatcher, basePath } = upstream;
    const path = deployment.health.path || (this.#options.engines[deployment.engine]?.healthPath ?? '/health');
    const route = `GET ${basePath}${path.split('?', 1)[0]}`;
    try {
      const { statusCode, body } = await dispatcher.request({
        method: 'GET',
        path: basePath + path,
        headers: {
          ...(config.apiKey === '' ? {} : { authorization: `Bearer ${config.apiKey}` }),
          ...config.headers,
        },
        signal: AbortSignal.timeout(deployment.health.timeoutMs),
      });
      body.on('error', () => {});
      await body.dump({ limit: 64 * 1024 });
      return statusCode === 200 ? null : `${route} answers ${statusCode}`;
    } catch (error) {
      return `${route}: ${nameFailure(error)}`;
    }
  }

  #judge(upstream: Upstream, reason: string | null): void {
    const passed = reason === null;
    upstream.failures = passed ? 0 : upstream.failures + 1;
    const before = upstream.healthy;
    if (passed) upstream.healthy = true;
    else if (upstream.failures >= upstream.deployment.health.unhealthyAfter) upstream.healthy = false;
    if (upstream.healthy === before) return;
    const { name, pool } = upstream.config;
    const fields = { deployment: upstream.deployment.name, upstream: name };
    if (upstream.healthy === true) {
      this.#options.log.info(fields, 'upstream is healthy');
      this.#options.pool.becameHealthy(upstream);
    } else this.#options.log.warn({ ...fields, reason }, 'upstream is unhealthy');
    this.#report(pool);
  }

  #report(pool: string): void {
    const members = this.#options.pool.list().filter(({ config }) => config.pool === pool);
    const healthy = members.some((member) => member.healthy === true);
    if (!healthy && members.some((member) => member.healthy === undefined)) return;
    if (this.#reported.get(pool) === healthy) return;
    this.#reported.set(pool, healthy);
    this.#options.reportHealth(pool, healthy);
  }
}

/** Codes and names alone: messages may quote what was sent. */
function nameFailure(error: unknown): string {
  if (!(error instanceof Error)) return 'failed';
  return error.name === 'TimeoutError' ? 'no answer in time' : ((error as NodeJS.ErrnoException).code ?? error.name);
}
