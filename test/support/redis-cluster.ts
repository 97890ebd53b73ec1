// A real Redis Cluster of loopback nodes, and moving a slot between two of them key by key while others use it.
import { Redis } from 'ioredis';
import { type RedisServer, startRedis } from './redis-server.ts';

const SLOTS = 16_384;

export interface TestCluster {
  /** `redis+cluster://…` naming every node. */
  readonly url: string;
  readonly nodes: readonly ClusterNode[];
  close(): Promise<void>;
}

export interface ClusterNode {
  readonly server: RedisServer;
  readonly client: Redis;
  readonly id: string;
}

/** Starts `size` masters that share the slots evenly, and waits until each says that all is well. */
export async function startCluster(size: number): Promise<TestCluster> {
  const nodes: ClusterNode[] = [];
  const close = async () => {
    for (const { client, server } of nodes) {
      client.disconnect();
      await server.stop();
    }
  };
  try {
    for (let index = 0; index < size; index += 1) {
      const server = await startRedis(['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1']);
      const client = new Redis(server.url);
      nodes.push({ server, client, id: String(await client.call('CLUSTER', 'MYID')) });
    }
    for (const [index, { client }] of nodes.entries()) {
      const range = [Math.floor((SLOTS * index) / size), Math.floor((SLOTS * (index + 1)) / size) - 1];
      await client.call('CLUSTER', 'ADDSLOTSRANGE', ...range);
      await client.call('CLUSTER', 'MEET', '127.0.0.1', nodes[0]?.server.port ?? 0);
    }
    for (const { client } of nodes) await awaitWell(client, size);
    const hosts = nodes.map(({ server }) => `127.0.0.1:${server.port}`).join(',');
    return { url: `redis+cluster://${hosts}`, nodes, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function awaitWell(client: Redis, size: number): Promise<void> {
  for (let tries = 0; tries < 400; tries += 1) {
    const info = String(await client.call('CLUSTER', 'INFO'));
    if (info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${size}`)) return;
    await pause(50);
  }
  throw new Error('the cluster did not come up');
}

/** The node that holds a key's slot, and its number. */
export async function findSlot(cluster: TestCluster, key: string): Promise<{ slot: number; from: ClusterNode }> {
  const slot = Number(await cluster.nodes[0]?.client.call('CLUSTER', 'KEYSLOT', key));
  for (const node of cluster.nodes) {
    if (Number(await node.client.call('CLUSTER', 'COUNTKEYSINSLOT', slot)) > 0) return { slot, from: node };
  }
  throw new Error(`no node holds a key of slot ${slot}`);
}

/** Moves a slot as `redis-cli --cluster reshard` does, one key each `everyMs`: until the last, its keys stand on both nodes. */
export async function moveSlot(
  cluster: TestCluster,
  move: { readonly slot: number; readonly from: ClusterNode; readonly to: ClusterNode; readonly everyMs: number },
): Promise<number> {
  const { slot, from, to, everyMs } = move;
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', from.id);
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', to.id);
  let moved = 0;
  for (;;) {
    const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', slot, 1)) as string[];
    const [key] = keys;
    if (key === undefined) break;
    await from.client.call('MIGRATE', '127.0.0.1', to.server.port, key, 0, 5000);
    moved += 1;
    await pause(everyMs);
  }
  for (const { client } of [to, from, ...cluster.nodes]) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', to.id);
  return moved;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
