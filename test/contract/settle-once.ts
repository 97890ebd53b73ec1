// One share from freeze to report, for tests of the ways to reach a Redis. Not here: the store contract itself (settlement-store.case.ts).
import { expect } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { openStore, type OpenStoreOptions } from '#store/open-store.ts';
import { claimOf, freezeOf, JournalAuthor, recordAt } from './settlement-messages.ts';

const DAY_MS = 86_400_000;
export const SHAPE_PREFIX = 'shape';

/** Options of `openStore` that every test here shares. */
export function optionsOf(url: string): OpenStoreOptions {
  const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
  return { url, prefix: SHAPE_PREFIX, timeoutMs: 5000, retention, log: silentLog };
}

/** Runs every script and every report once; rejects with what the store said. */
export async function settleOnce(url: string, more: Partial<OpenStoreOptions> = {}): Promise<void> {
  const { settlement, books } = openStore({ ...optionsOf(url), ...more });
  try {
    const author = new JournalAuthor((await settlement.open()).epoch);
    const joined = await settlement.join(author);
    const at = joined.frontier ?? 0;
    const commit = freezeOf(await settlement.readFreezeInput(), at + 1, { [author.journal]: 77n });
    expect(await settlement.commitFreeze(commit)).toBe('committed');
    const seen = await settlement.sync(author.next({ sealedThrough: at }));
    const claim = claimOf(seen, { records: [recordAt(joined.nowMs)] });
    expect(await settlement.sync(author.next({ sealedThrough: at, claim }))).toMatchObject({ claimApplied: true });
    const month = new Date(at * 1000);
    const from = Date.UTC(month.getUTCFullYear(), month.getUTCMonth(), 1) / 1000;
    const cells = await books.readRollups({ from, to: at + 1 }, 'month');
    expect(cells.map(({ metrics }) => metrics.costNanoUsd)).toEqual([77n]);
    expect((await books.readBooks({ from, to: at + 3600 })).map(({ metrics }) => metrics.claimedNanoUsd)).toEqual([
      77n,
    ]);
    expect((await books.readRecords({ limit: 5 })).records).toHaveLength(1);
  } finally {
    await settlement.close();
  }
}
