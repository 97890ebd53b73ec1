// What bypassed the gateway: moved out of idle once per pool and hour, by the freeze that crosses the hour's edge.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { advanceFrontier, computeFreeze } from '#accounting/frontier.ts';
import { reclassifyUnmetered } from '#accounting/unmetered.ts';
import type { BookCell } from '#domain/books.ts';
import { BOOK_METRICS, type BookMetric } from '#domain/settlement.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createFreezeInput, createPoolFacts } from '#test/support/settlement-facts.ts';

const HOUR_MS = 3_600_000;

function book(metrics: Partial<Record<BookMetric, bigint>>): BookCell {
  const zeros = Object.fromEntries(BOOK_METRICS.map((metric) => [metric, 0n])) as Record<BookMetric, bigint>;
  const full = { ...zeros, capacityNanoUsd: 3_600_000_000n, provisionedSeconds: 3600n, ...metrics };
  return { hour: 0, pool: 'pool-a', deployments: 'llama-8b', gpu: 'H100-SXM', metrics: full };
}

describe('one hour', () => {
  test('activity beyond the time in flight leaves idle for unmetered: 600 s of a 3.60 dollar hour are 0.60', () => {
    const books = [
      book({
        idleNanoUsd: 3_000_000_000n,
        chargedNanoUsd: 600_000_000n,
        deviceActiveMs: 900_000n,
        inFlightMs: 300_000n,
      }),
    ];
    expect(reclassifyUnmetered(books)).toEqual([
      {
        hour: 0,
        pool: 'pool-a',
        deployments: 'llama-8b',
        gpu: 'H100-SXM',
        metrics: { idleNanoUsd: '-600000000', unmeteredNanoUsd: '600000000' },
      },
    ]);
  });

  test('activity within the time in flight is ours, and an hour is reclassified once', () => {
    expect(reclassifyUnmetered([book({ idleNanoUsd: 9n, deviceActiveMs: 5n, inFlightMs: 5n })])).toEqual([]);
    expect(reclassifyUnmetered([book({ idleNanoUsd: 9n, deviceActiveMs: 500n, unmeteredNanoUsd: 1n })])).toEqual([]);
    expect(reclassifyUnmetered([book({ idleNanoUsd: 9n, deviceActiveMs: 500n, provisionedSeconds: 0n })])).toEqual([]);
  });

  test('it is capped by plain idle for any figures, so that no line of the books falls below zero', () => {
    const amount = fc.bigInt({ min: 0n, max: 4_000_000_000n });
    fc.assert(
      fc.property(amount, amount, amount, fc.bigInt({ min: 0n, max: 10n ** 8n }), (idle, part, other, activeMs) => {
        const unavailable = part < idle ? part : idle;
        const unobserved = other < idle - unavailable ? other : idle - unavailable;
        const [told] = reclassifyUnmetered([
          book({
            idleNanoUsd: idle,
            unavailableNanoUsd: unavailable,
            unobservedNanoUsd: unobserved,
            deviceActiveMs: activeMs,
          }),
        ]);
        const moved = BigInt(told?.metrics.unmeteredNanoUsd ?? 0);
        expect(moved).toBeGreaterThanOrEqual(0n);
        expect(idle - moved).toBeGreaterThanOrEqual(unavailable + unobserved);
        expect(BigInt(told?.metrics.idleNanoUsd ?? 0)).toBe(-moved);
      }),
    );
  });
});

describe('the frontier', () => {
  test('tells it in the freeze after the hour, and the chain covers it', () => {
    const input = createFreezeInput({ frontier: 3599, nowMs: 3_700_000 });
    const options = { silenceSeconds: 900 };
    const closed = [book({ idleNanoUsd: 10n ** 9n, deviceActiveMs: 1000n })];
    const commit = computeFreeze(input, options, closed);
    expect(commit?.books[0]).toMatchObject({ hour: 0, metrics: { unmeteredNanoUsd: '1000000' } });
    expect(commit?.contentDigest).not.toBe(computeFreeze(input, options)?.contentDigest);
  });

  test('reads the books of a closed hour once, however often it is asked to move', async () => {
    let nowMs = HOUR_MS / 2;
    const store = new MemorySettlementStore({ now: () => nowMs });
    await store.open();
    await store.putFacts({ 'pool-a': [createPoolFacts()] }, 0);
    const { epoch } = await store.open();
    await store.join({ journal: 'A', incarnation: 1 });
    const asked: number[] = [];
    const books = {
      readBooks: async (period: { from: number; to: number }) => {
        asked.push(period.from);
        const cells = await store.readBooks(period);
        // Half an hour of activity that no request explains.
        return cells.map((cell) => ({ ...cell, metrics: { ...cell.metrics, deviceActiveMs: 1_800_000n } }));
      },
    };
    const listener = { booksCommitted: () => {} };
    for (let seq = 1; nowMs < 2.35 * HOUR_MS; seq += 1, nowMs += HOUR_MS / 10) {
      const message = {
        journal: 'A',
        incarnation: 1,
        epoch,
        seq,
        prevHash: seq === 1 ? '' : `h${seq - 1}`,
        hash: `h${seq}`,
      };
      const sealedThrough = Math.floor(nowMs / 1000) - 2;
      await store.sync({
        ...message,
        sealedThrough,
        publications: [],
        healthChanges: [],
        blind: [],
        claim: null,
        leave: false,
      });
      for (let again = 0; again < 3; again += 1) {
        await advanceFrontier(store, { silenceSeconds: 900, books }, listener);
      }
    }
    expect(asked).toEqual([0, 3600]);
    const cells = await store.readBooks({ from: 0, to: 7200 });
    for (const { metrics } of cells) {
      expect(metrics.unmeteredNanoUsd).toBeGreaterThan(0n);
      expect(metrics.capacityNanoUsd).toBe(metrics.chargedNanoUsd + metrics.idleNanoUsd + metrics.unmeteredNanoUsd);
    }
    expect(cells).toHaveLength(2);
  });
});
