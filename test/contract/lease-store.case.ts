// The lease contract as both stores keep it (domain/lease-store.ts): one holder at a time, and another takes over.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LeaseStore } from '#domain/lease-store.ts';

export interface LeaseSuite {
  readonly name: string;
  /** Two opened clients of one empty store. */
  openClients(): Promise<{ readonly left: LeaseStore; readonly right: LeaseStore; close(): Promise<void> }>;
  /** Lets time pass for leases of `ttlMs`; at least so long. */
  passMs(ms: number): Promise<void>;
}

/** Long enough that no test outlives it, short enough to wait for. */
const LONG_MS = 60_000;
const SHORT_MS = 120;

/** Defines the lease tests for one store. */
export function describeLeaseStore(suite: LeaseSuite): void {
  describe(`lease store: ${suite.name}`, () => {
    let left: LeaseStore;
    let right: LeaseStore;
    let close: () => Promise<void>;
    beforeEach(async () => ({ left, right, close } = await suite.openClients()));
    afterEach(() => close());

    const take = (store: LeaseStore, holder: string, names: readonly string[], ttlMs = LONG_MS) =>
      store.acquireLeases({ holder, names, ttlMs });

    test('of two processes only one holds a lease, however often both ask', async () => {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => take(i % 2 === 0 ? left : right, i % 2 === 0 ? 'a' : 'b', ['engine'])),
      );
      const winners = new Set(answers.flatMap((held, i) => (held.length > 0 ? [i % 2 === 0 ? 'a' : 'b'] : [])));
      expect(winners.size).toBe(1);
      expect(answers.filter((held) => held.length > 0)).toHaveLength(10);
    });

    test('names are held one by one, in the order asked, and a name may hold any address', async () => {
      const odd = 'http://[::1]:8000/a b|c?d#{e}';
      expect(await take(left, 'a', ['x', odd])).toEqual(['x', odd]);
      expect(await take(right, 'b', ['y', odd, 'z', 'x'])).toEqual(['y', 'z']);
      expect(await take(left, 'a', [])).toEqual([]);
    });

    test('holding on is asking again, and silence loses the lease to the next who asks', async () => {
      await take(left, 'a', ['engine'], SHORT_MS);
      await take(left, 'a', ['engine'], LONG_MS);
      await suite.passMs(2 * SHORT_MS);
      expect(await take(right, 'b', ['engine'])).toEqual([]);
      await take(left, 'a', ['other'], SHORT_MS);
      await suite.passMs(2 * SHORT_MS);
      expect(await take(right, 'b', ['other'])).toEqual(['other']);
      expect(await take(left, 'a', ['other'])).toEqual([]);
    });

    test('a lease given up is free at once, and nobody gives up what is not theirs', async () => {
      await take(left, 'a', ['engine', 'other']);
      await right.releaseLeases({ holder: 'b', names: ['engine'] });
      expect(await take(right, 'b', ['engine'])).toEqual([]);
      await left.releaseLeases({ holder: 'a', names: ['engine', 'never-held'] });
      await left.releaseLeases({ holder: 'a', names: [] });
      expect(await take(right, 'b', ['engine', 'other'])).toEqual(['engine']);
    });
  });
}
