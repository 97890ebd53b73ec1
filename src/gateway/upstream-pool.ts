// The engines of all deployments across reloads: kept where they are reached in the same way, drained where they left. Which one of a
// deployment gets a request is replica-set.ts's, whether it is healthy health-checks.ts's.
import type { Config, DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import { GatewayError } from '#domain/errors.ts';
import type { Log } from '#domain/log.ts';
import type { DeadlineSweep } from './deadline-sweep.ts';
import { type LeaseRequest, ReplicaSet, type Turn } from './replica-set.ts';
import type { TurnSends } from './turn-sends.ts';
import { type EjectionListener, type Lease, Upstream } from './upstream.ts';

export type { Upstream } from './upstream.ts';

export interface PoolOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly deadlines: DeadlineSweep;
  readonly log: Log;
  /** An engine gets no requests for a while, because several in a row failed. */
  readonly onEjection?: (target: { readonly deployment: string; readonly upstream: string }) => void;
  /** By which requests leave; default: each at once. */
  readonly sends?: TurnSends;
  /** Numbers in [0, 1); default Math.random. */
  readonly random?: () => number;
}

/** All upstreams of a config, kept across reloads where nothing about their connection changed. */
export class UpstreamPool implements EjectionListener {
  readonly #options: PoolOptions;
  #upstreams = new Map<string, Upstream>();
  readonly #sets = new Map<string, ReplicaSet>();

  constructor(config: Config, options: PoolOptions) {
    this.#options = options;
    this.reload(config);
  }

  /** Takes over a new config; upstreams that left finish what they have, and what waits for them. */
  reload(config: Config): void {
    const next = new Map<string, Upstream>();
    const staying = new Set<string>();
    const updates: (() => void)[] = [];
    for (const deployment of config.deployments) {
      const members = deployment.upstreams.map((upstream) => this.#keepOrCreate(deployment, upstream, next));
      staying.add(deployment.name);
      updates.push(() => this.#openSet(deployment.name).update(deployment, members));
    }
    const left = [...this.#upstreams].flatMap(([key, upstream]) => (next.has(key) ? [] : [upstream]));
    this.#upstreams = next;
    for (const update of updates) update();
    for (const [name, set] of this.#sets) {
      if (staying.has(name)) continue;
      this.#sets.delete(name);
      set.retire();
    }
    for (const upstream of left) if (staying.has(upstream.deployment.name)) upstream.retire();
  }

  /** Every upstream of the present config. */
  list(): readonly Upstream[] {
    return [...this.#upstreams.values()];
  }

  /** Whether any upstream of the deployment may be sent to. */
  isServing(deployment: string): boolean {
    return this.#sets.get(deployment)?.isServing() ?? false;
  }

  /** An engine, or a turn to wait for; throws `no_healthy_upstream` or `overloaded` (see ReplicaSet.acquire). */
  acquire(deployment: string, request: LeaseRequest): Lease | Turn {
    const set = this.#sets.get(deployment);
    if (set === undefined) throw new GatewayError('no_healthy_upstream');
    if (request.urgency === 'first') set.budget.countRequest(this.#options.clock.monotonicMs());
    return set.acquire(request);
  }

  /**
   * Whether a request that failed on `excluded` may be tried on another engine. `spent`: there is one, but retries have used up their part
   * of the traffic. A `granted` retry counts at once, unless nothing was sent: no engine then works or is asked more than once.
   */
  askRetry(
    deployment: string,
    excluded: ReadonlySet<Upstream>,
    { wasSent }: { readonly wasSent: boolean },
  ): 'granted' | 'spent' | 'alone' {
    const set = this.#sets.get(deployment);
    if (set === undefined || !set.hasOther(excluded)) return 'alone';
    return !wasSent || takeRetry(set, this.#options.clock.monotonicMs()) ? 'granted' : 'spent';
  }

  /**
   * Whether a request that failed on every engine of a deployment may go on to another deployment: what it adds to the load there is a retry of
   * this one's, and counts at once where it is `granted` and something was sent.
   */
  askFallback(deployment: string, { wasSent }: { readonly wasSent: boolean }): 'granted' | 'spent' {
    const set = this.#sets.get(deployment);
    return set === undefined || !wasSent || takeRetry(set, this.#options.clock.monotonicMs()) ? 'granted' : 'spent';
  }

  /** Requests that wait, by deployment. */
  queueLengths(): readonly { readonly deployment: string; readonly waiting: number }[] {
    return [...this.#sets].map(([deployment, set]) => ({ deployment, waiting: set.queueLength }));
  }

  /** Whether requests keep away from an upstream because others failed on it. */
  isEjected(upstream: Upstream): boolean {
    return upstream.passiveState(this.#options.clock.monotonicMs()) === 'ejected';
  }

  /** An upstream has passed its check: who waits may go. */
  becameHealthy(upstream: Upstream): void {
    this.#sets.get(upstream.deployment.name)?.serveLine();
  }

  ejected(upstream: Upstream, forMs: number): void {
    const target = { deployment: upstream.deployment.name, upstream: upstream.name };
    this.#options.onEjection?.({ ...target, upstream: upstream.config.discoveredFrom ?? upstream.name });
    this.#options.log.warn({ ...target, forMs: Math.round(forMs) }, 'upstream is ejected: requests to it fail');
  }

  restored(upstream: Upstream): void {
    const target = { deployment: upstream.deployment.name, upstream: upstream.name };
    this.#options.log.info(target, 'upstream answers requests again');
  }

  /** Ends all connections at once. */
  async destroy(): Promise<void> {
    await Promise.all(this.list().map((upstream) => upstream.dispatcher.destroy()));
  }

  #keepOrCreate(deployment: DeploymentConfig, config: UpstreamConfig, next: Map<string, Upstream>): Upstream {
    const key = renderConnectionKey(deployment, config);
    const kept = this.#upstreams.get(key);
    const upstream = kept ?? new Upstream(deployment, config, this.#options.sends);
    kept?.adopt(deployment, config);
    next.set(key, upstream);
    return upstream;
  }

  #openSet(deployment: string): ReplicaSet {
    const known = this.#sets.get(deployment);
    if (known !== undefined) return known;
    const { clock, deadlines, random } = this.#options;
    const set = new ReplicaSet({ clock, deadlines, listener: this, random: random ?? Math.random });
    this.#sets.set(deployment, set);
    return set;
  }
}

function takeRetry(set: ReplicaSet, nowMs: number): boolean {
  const inFlight = set.members.reduce((sum, member) => sum + member.inFlight, 0);
  return set.budget.tryRetry(nowMs, inFlight);
}

/** Everything that, changed, needs new connections and a new opinion of the upstream. */
function renderConnectionKey(deployment: DeploymentConfig, upstream: UpstreamConfig): string {
  const { name, url, address, tls, proxy } = upstream;
  return JSON.stringify([
    deployment.name,
    deployment.engine,
    deployment.timeouts.connectMs,
    name,
    url,
    address,
    tls,
    proxy,
  ]);
}
