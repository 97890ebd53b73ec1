// Leases in Redis: one key each, which expires by the server's clock.
import type { LeaseRequest, LeaseStore } from '#domain/lease-store.ts';
import { toList } from './read-replies.ts';
import type { RedisConnection } from './redis-connection.ts';

/** Shares the connection of the other ports; after a failover that lost the newest writes two processes may hold one lease for its time. */
export class RedisLeases implements LeaseStore {
  readonly #connection: RedisConnection;

  constructor(connection: RedisConnection) {
    this.#connection = connection;
  }

  async acquireLeases({ holder, names, ttlMs }: LeaseRequest & { readonly ttlMs: number }): Promise<readonly string[]> {
    if (names.length === 0) return [];
    const args = [holder, String(Math.max(1, Math.floor(ttlMs)))];
    const held = toList(await this.#connection.runScript('acquireLeases', this.#keysOf(names), args));
    return names.filter((_, index) => held[index] === 1);
  }

  async releaseLeases({ holder, names }: LeaseRequest): Promise<void> {
    if (names.length > 0) await this.#connection.runScript('releaseLeases', this.#keysOf(names), [holder]);
  }

  #keysOf(names: readonly string[]): readonly string[] {
    return names.map((name) => this.#connection.keys.lease(name));
  }
}
