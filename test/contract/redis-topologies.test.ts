// The other shapes of Redis that store.url may name: a cluster and a master found through a sentinel, both real.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { silentLog } from '#domain/log.ts';
import { openStore } from '#store/open-store.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { claimOf, freezeOf, JournalAuthor, recordAt } from './settlement-messages.ts';

const DAY_MS = 86_400_000;

/** One share from freeze to report. */
async function settleOnce(url: string): Promise<void> {
  const retention = { recordsMs: 35 * DAY_MS, rollupsMs: 400 * DAY_MS };
  const { settlement, books } = openStore({ url, prefix: 'shape', timeoutMs: 5000, retention, log: silentLog });
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

test('every script and report runs on a cluster, whose keys are all in one slot', async () => {
  const server = await startRedis(['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']);
  const node = new Redis(server.url);
  try {
    await node.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await expect
      .poll(() => node.call('CLUSTER', 'INFO').then(String), { timeout: 20_000 })
      .toContain('cluster_state:ok');
    await settleOnce(server.url.replace('redis://', 'redis+cluster://'));
    expect(Number(await node.dbsize())).toBeGreaterThan(10);
  } finally {
    node.disconnect();
    await server.stop();
  }
});

test('the master is found through a sentinel', async () => {
  const master = await startRedis();
  const folder = mkdtempSync(join(tmpdir(), 'inferometer-sentinel-'));
  const file = join(folder, 'sentinel.conf');
  writeFileSync(file, `sentinel monitor books 127.0.0.1 ${master.port} 1\n`);
  const sentinel = await startRedis([], undefined, file);
  try {
    await settleOnce(`redis+sentinel://127.0.0.1:${sentinel.port}/books/3`);
    const database = new Redis(`${master.url}/3`);
    expect(Number(await database.dbsize())).toBeGreaterThan(10);
    database.disconnect();
  } finally {
    await sentinel.stop();
    await master.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});
