// Which leases this process has: asks the store for them again and again, and knows by itself when they are over.
// Not here: the store's side (store), what is done under a lease (create-telemetry.ts).
import type { Clock } from '#domain/clock.ts';
import type { LeaseStore } from '#domain/lease-store.ts';

/** A process that dies is followed by another after at most this long. */
export const LEASE_TTL_MS = 15_000;
/** Time between renewals: several may fail before a lease is lost. */
const RENEWAL_MS = 3000;

/** Leases count from before the store was asked, so that this process never believes in one longer than the store does. */
export class LeaseHolder {
  readonly #leases: LeaseStore;
  readonly #holder: string;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #until = new Map<string, number>();
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(leases: LeaseStore, holder: string, clock: Pick<Clock, 'monotonicMs'>) {
    this.#leases = leases;
    this.#holder = holder;
    this.#clock = clock;
  }

  /** Milliseconds for which the lease is certainly ours; 0 without it. */
  remainingMs(name: string): number {
    return Math.max(0, (this.#until.get(name) ?? 0) - this.#clock.monotonicMs());
  }

  /** Asks where it is time, or where a name was never asked for. True when the store answered. Rejects with StoreUnavailableError; what is held runs out by itself. */
  async renew(names: readonly string[]): Promise<boolean> {
    const askedAtMs = this.#clock.monotonicMs();
    const wanted = new Set(names);
    await this.#giveUp([...this.#until.keys()].filter((name) => !wanted.has(name)));
    if (names.length === 0) return false;
    const isDue = askedAtMs - this.#askedAtMs >= RENEWAL_MS || names.some((name) => !this.#until.has(name));
    if (!isDue) return false;
    this.#askedAtMs = askedAtMs;
    for (const name of names) if (!this.#until.has(name)) this.#until.set(name, 0);
    const held = new Set(await this.#leases.acquireLeases({ holder: this.#holder, names, ttlMs: LEASE_TTL_MS }));
    for (const name of names) this.#until.set(name, held.has(name) ? askedAtMs + LEASE_TTL_MS : 0);
    return true;
  }

  /** Gives everything up at once, so that another process need not wait. Rejects with StoreUnavailableError. */
  async release(): Promise<void> {
    await this.#giveUp([...this.#until.keys()]);
  }

  async #giveUp(names: readonly string[]): Promise<void> {
    const held = names.filter((name) => this.remainingMs(name) > 0);
    for (const name of names) this.#until.delete(name);
    if (held.length > 0) await this.#leases.releaseLeases({ holder: this.#holder, names: held });
  }
}
