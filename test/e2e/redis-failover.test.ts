// Redis changing under a gateway that posts: a sentinel's failover, a cluster's slot on the move, a network that is slow. Real servers, real traffic.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestStack, type TestStack, until } from '#test/support/gateway.ts';
import { findSlot, moveSlot, startCluster } from '#test/support/redis-cluster.ts';
import { startRedis } from '#test/support/redis-server.ts';
import { runCli } from '#test/support/run-cli.ts';
import { TcpProxy } from '#test/support/tcp-proxy.ts';
import { askWhole, expectWholeBooks } from '#test/support/whole-books.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function startStack(storeUrl: string, prefix = 'moving'): Promise<TestStack> {
  const stack = await startTestStack({
    config: { store: { url: storeUrl, prefix, timeout: '300ms' }, settlement: { horizon: '1s' } },
  });
  closers.push(() => stack.close());
  return stack;
}

/** Asks again and again until `work` is done and for two seconds after it; the ids of all answers. */
async function askDuring(stack: TestStack, work: () => Promise<unknown>): Promise<string[]> {
  const ids: string[] = [];
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) ids.push(await askWhole(stack));
  })();
  await work();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  over.abort();
  await asking;
  return ids;
}

describe('Redis that changes while it is posted to', () => {
  it('a sentinel fails over: no request notices, the books are late and exact', async () => {
    const master = await startRedis();
    closers.push(() => master.stop());
    const replica = await startRedis(['--replicaof', '127.0.0.1', String(master.port)]);
    closers.push(() => replica.stop());
    const folder = mkdtempSync(join(tmpdir(), 'inferometer-sentinel-'));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, 'sentinel.conf');
    const settings = ['monitor books 127.0.0.1', 'down-after-milliseconds books 500', 'failover-timeout books 5000'];
    const [monitor, ...others] = settings;
    writeFileSync(
      file,
      [`sentinel ${monitor} ${master.port} 1`, ...others.map((line) => `sentinel ${line}`), ''].join('\n'),
    );
    const sentinel = await startRedis([], undefined, file);
    closers.push(() => sentinel.stop());
    const watcher = new Redis(sentinel.url);
    closers.push(() => watcher.disconnect());
    const replicas = async () => String(await watcher.call('SENTINEL', 'REPLICAS', 'books'));
    await until('the sentinel knows the replica', async () => (await replicas()).includes('master-link-status,ok'));
    const stack = await startStack(`redis+sentinel://127.0.0.1:${sentinel.port}/books/0`);
    const ids = await askDuring(stack, async () => {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      await master.stop();
      await until('the replica is the master', async () => {
        const address = (await watcher.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'books')) as string[];
        return address[1] === String(replica.port);
      });
    });
    expect(ids.length).toBeGreaterThan(20);
    await expectWholeBooks(stack, ids);
    expect((await runCli(['ledger', 'verify', '--config', stack.configPath])).code).toBe(0);
  });

  it('a cluster moves the slot of the books to another node, key by key: no request notices, nothing is lost or doubled', async () => {
    const cluster = await startCluster(2);
    closers.push(() => cluster.close());
    const stack = await startStack(cluster.url);
    let moved = 0;
    const ids = await askDuring(stack, async () => {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      const { slot, from } = await findSlot(cluster, 'moving:{s0}:meta');
      const to = cluster.nodes.find((node) => node !== from);
      if (to === undefined) throw new Error('there is no other node');
      moved = await moveSlot(cluster, { slot, from, to, everyMs: 400 });
    });
    expect(moved).toBeGreaterThan(4);
    expect(ids.length).toBeGreaterThan(20);
    await expectWholeBooks(stack, ids);
    expect((await runCli(['ledger', 'verify', '--config', stack.configPath])).code).toBe(0);
  });

  it('Redis 200 ms away: answers take no longer, the books follow within seconds', async () => {
    const server = await startRedis();
    closers.push(() => server.stop());
    const proxy = await TcpProxy.start(server.port);
    closers.push(() => proxy.close());
    const stack = await startStack(`redis://127.0.0.1:${proxy.port}`);
    proxy.setMode('delay', 100);
    const overheads: number[] = [];
    const ids = await askDuring(stack, async () => {
      for (let i = 0; i < 20; i += 1) {
        const startedAtMs = performance.now();
        await fetch(`${stack.gatewayUrl}/v1/models`, { headers: { authorization: `Bearer ${stack.keys['search']}` } });
        overheads.push(performance.now() - startedAtMs);
      }
    });
    // A call to the store on the way would cost each of them 200 ms.
    expect(overheads.toSorted((a, b) => a - b)[5]).toBeLessThan(200);
    await stack.settled(Date.now() - 5000);
    await expectWholeBooks(stack, ids);
  });
});
