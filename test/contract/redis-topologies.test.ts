// The other shapes of Redis that store.url may name: a cluster and a master found through a sentinel, both real.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { startRedis } from '#test/support/redis-server.ts';
import { StorePlaces } from '#test/support/store-places.ts';
import { settleOnce } from './settle-once.ts';

const { folder } = new StorePlaces('sentinel');

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
  }
});
