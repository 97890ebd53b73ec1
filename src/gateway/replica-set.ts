// The engines of one deployment: who is usable, who gets the next request, who waits while all are full. Connections are upstream.ts's.
import type { DeploymentConfig } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import { GatewayError } from '#domain/errors.ts';
import { chooseByPrefix, chooseLessLoaded } from './choose-replica.ts';
import type { Deadline, DeadlineSweep } from './deadline-sweep.ts';
import { RetryBudget } from './retry-budget.ts';
import { UNSEATED } from './seats.ts';
import type { EjectionListener, Lease, Upstream, UpstreamListener } from './upstream.ts';
import { type Urgency, type Waiter, WaitingLine } from './waiting-line.ts';

/** What a request wants of an engine. */
export interface LeaseRequest {
  readonly team: string;
  readonly urgency: Urgency;
  /** Estimated tokens. */
  readonly work: number;
  /** Hash of the prompt's beginning; null without affinity. */
  readonly prefix: number | null;
  /** Engines that have failed this request. */
  readonly excluded: ReadonlySet<Upstream>;
  /** Monotonic ms at which the whole request must have ended: it waits no longer, whatever `queue.timeout` says. */
  readonly mustEndByMs?: number;
  /** Memory that the request holds while it waits; default 0. */
  readonly bytes?: number;
}

/** A place in the line. `leave` gives it up: `granted` rejects with the error given. */
export interface Turn {
  readonly granted: Promise<Lease>;
  leave(error: Error): void;
}

export interface ReplicaSetOptions {
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly deadlines: DeadlineSweep;
  readonly listener: EjectionListener;
  /** Numbers in [0, 1). */
  readonly random: () => number;
}

/** Where `queue` is not configured. */
const QUEUE = { size: 1000, timeoutMs: 30_000 };
/** Bodies that wait take no more than this together, however long the line may be. */
const QUEUE_BYTES_MAX = 256 * 1024 * 1024;
const RETRY_AFTER_MIN_MS = 1000;
const RETRY_AFTER_MAX_MS = 60_000;

/** Chooses among one deployment's engines; survives reloads, its members change. */
export class ReplicaSet implements UpstreamListener {
  readonly budget = new RetryBudget();
  readonly #options: ReplicaSetOptions;
  readonly #readMonotonicMs: () => number;
  readonly #line = new WaitingLine<WaitingRequest>();
  #members: readonly Upstream[] = [];
  #queue = QUEUE;
  #waitingBytes = 0;
  /** How long the last one who got through had waited. */
  #lastWaitMs = 0;
  #isLeaving = false;

  constructor(options: ReplicaSetOptions) {
    this.#options = options;
    this.#readMonotonicMs = () => options.clock.monotonicMs();
  }

  get members(): readonly Upstream[] {
    return this.#members;
  }

  /** Requests that wait for room. */
  get queueLength(): number {
    return this.#line.length;
  }

  /** Takes over the members and limits of a config. */
  update(deployment: DeploymentConfig, members: readonly Upstream[]): void {
    this.#members = members;
    this.#queue = deployment.queue ?? QUEUE;
    this.serveLine();
  }

  /** The deployment left the config: whoever waits is still served, then the engines are let go. */
  retire(): void {
    this.#isLeaving = true;
    this.#letGo();
  }

  /** Whether any engine may be sent to. */
  isServing(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    return this.#members.some((member) => member.healthy !== false && member.passiveState(nowMs) !== 'ejected');
  }

  /** Whether another engine than `excluded` may be tried now. */
  hasOther(excluded: ReadonlySet<Upstream>): boolean {
    return this.#listUsable(excluded).length > 0;
  }

  /**
   * An engine at once, or a place in the line while all usable ones are full. Throws `no_healthy_upstream` where none is usable, and
   * `overloaded` where the line is full too; `granted` rejects with the same after `queue.timeout`.
   */
  acquire(request: LeaseRequest): Lease | Turn {
    this.serveLine();
    const lease = this.#tryLease(request);
    if (lease !== undefined) return lease;
    if (!this.hasOther(request.excluded)) throw new GatewayError('no_healthy_upstream');
    const nowMs = this.#options.clock.monotonicMs();
    const untilMs = Math.min(nowMs + this.#queue.timeoutMs, request.mustEndByMs ?? Number.POSITIVE_INFINITY);
    const waiter = new WaitingRequest(request, { sinceMs: nowMs, untilMs, set: this });
    const bytes = this.#waitingBytes + waiter.bytes;
    if (bytes > QUEUE_BYTES_MAX || !this.#line.join(waiter, this.#queue.size)) throw this.#refuse(request);
    this.#waitingBytes = bytes;
    this.#options.deadlines.add(waiter);
    return waiter;
  }

  /** Gives room to those who wait, as far as there is any; call when an engine became usable. */
  serveLine(): void {
    while (this.#line.length > 0) {
      let lease: Lease | undefined;
      const served = this.#line.serve(({ request }) => {
        lease = this.#tryLease(request);
        return lease !== undefined;
      });
      if (served === undefined || lease === undefined) break;
      this.#forget(served);
      this.#lastWaitMs = this.#options.clock.monotonicMs() - served.sinceMs;
      served.grant(lease);
    }
    this.#letGo();
  }

  vacated(): void {
    this.serveLine();
  }

  ejected(upstream: Upstream, forMs: number): void {
    this.#options.listener.ejected(upstream, forMs);
  }

  restored(upstream: Upstream): void {
    this.#options.listener.restored(upstream);
    this.serveLine();
  }

  /** Takes a waiter out of the line; false where it has left already. */
  dismiss(waiter: WaitingRequest): boolean {
    const hasLeft = this.#line.leave(waiter);
    if (hasLeft) this.#forget(waiter);
    this.#letGo();
    return hasLeft;
  }

  /** A waiter's time is over. */
  expire(waiter: WaitingRequest): void {
    const waitedMs = this.#options.clock.monotonicMs() - waiter.sinceMs;
    this.#lastWaitMs = Math.max(this.#lastWaitMs, waitedMs);
    waiter.leave(
      this.hasOther(waiter.request.excluded) ? this.#refuse(waiter.request) : new GatewayError('no_healthy_upstream'),
    );
  }

  #forget(waiter: WaitingRequest): void {
    this.#waitingBytes -= waiter.bytes;
    this.#options.deadlines.delete(waiter);
  }

  #tryLease({ work, prefix, excluded }: LeaseRequest): Lease | undefined {
    const open = selectWhere(this.#listUsable(excluded), hasRoom);
    const chosen = prefix === null ? chooseLessLoaded(open, this.#options.random) : chooseByPrefix(open, prefix);
    return chosen?.occupy(work, this.#readMonotonicMs, this);
  }

  /**
   * Members that pass their checks and are not ejected. Where passive ejection leaves none, they are all sent to: requests that probably
   * fail are better than requests that certainly do, and it may be the requests that are sick. A retry has no such claim.
   */
  #listUsable(excluded: ReadonlySet<Upstream>): readonly Upstream[] {
    const nowMs = this.#options.clock.monotonicMs();
    const healthy = selectWhere(this.#members, (member) => member.healthy !== false && !excluded.has(member));
    const usable = selectWhere(healthy, (member) => {
      const state = member.passiveState(nowMs);
      return state === 'serving' || state === 'trial';
    });
    return usable.length > 0 || excluded.size > 0 ? usable : healthy;
  }

  /** The refusal of one who finds no room: come back when those before have probably gone through. */
  #refuse(request: LeaseRequest): GatewayError {
    const waitMs = Math.min(Math.max(Math.ceil(this.#lastWaitMs), RETRY_AFTER_MIN_MS), RETRY_AFTER_MAX_MS);
    return new GatewayError('overloaded', {
      text:
        request.urgency === 'retry'
          ? 'One engine failed and all others are busy.'
          : 'All engines of this model are busy.',
      headers: { 'retry-after': String(Math.ceil(waitMs / 1000)), 'retry-after-ms': String(waitMs) },
    });
  }

  #letGo(): void {
    if (!this.#isLeaving || this.#line.length > 0) return;
    for (const member of this.#members) member.retire();
  }
}

function hasRoom(member: Upstream): boolean {
  return !member.isFull;
}

/** Nearly always all of them hold: then it is the same list, for each request asks three times. */
function selectWhere(members: readonly Upstream[], holds: (member: Upstream) => boolean): readonly Upstream[] {
  return members.every(holds) ? members : members.filter(holds);
}

/** One request in the line. */
class WaitingRequest implements Waiter, Turn, Deadline {
  seat = UNSEATED;
  readonly request: LeaseRequest;
  readonly sinceMs: number;
  readonly #untilMs: number;
  readonly #set: ReplicaSet;
  readonly #granted = Promise.withResolvers<Lease>();

  constructor(
    request: LeaseRequest,
    place: { readonly sinceMs: number; readonly untilMs: number; readonly set: ReplicaSet },
  ) {
    this.request = request;
    this.sinceMs = place.sinceMs;
    this.#untilMs = place.untilMs;
    this.#set = place.set;
  }

  get team(): string {
    return this.request.team;
  }

  get urgency(): Urgency {
    return this.request.urgency;
  }

  get bytes(): number {
    return this.request.bytes ?? 0;
  }

  get granted(): Promise<Lease> {
    return this.#granted.promise;
  }

  grant(lease: Lease): void {
    this.#granted.resolve(lease);
  }

  leave(error: Error): void {
    if (this.#set.dismiss(this)) this.#granted.reject(error);
  }

  isDue(nowMs: number): boolean {
    return nowMs > this.#untilMs;
  }

  expire(): void {
    this.#set.expire(this);
  }
}
