// The Redis of a schedule: append-only file, killed and restarted where it stood, paused, emptied, and failed over to a replica that missed the latest writes.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type RedisServer, startRedis } from '#test/support/redis-server.ts';
import { TcpProxy } from '#test/support/tcp-proxy.ts';

const PERSISTENCE = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''];
/** A replica is fed at once instead of after the usual five seconds of waiting for others. */
const REPLICATION = ['--repl-diskless-sync-delay', '0'];
const ARGUMENTS = [...PERSISTENCE, ...REPLICATION];

/** A master that may change; `port` is the present one's. */
export class ChaosRedis {
  readonly #folder: string;
  #server: RedisServer;
  #generation = 0;
  #turn: Promise<void> = Promise.resolve();

  private constructor(folder: string, server: RedisServer) {
    this.#folder = folder;
    this.#server = server;
  }

  /** `folder` keeps what it writes. */
  static async start(folder: string): Promise<ChaosRedis> {
    mkdirSync(join(folder, 'redis-0'), { recursive: true });
    return new ChaosRedis(folder, await startRedis([...ARGUMENTS, '--dir', join(folder, 'redis-0')]));
  }

  get port(): number {
    return this.#server.port;
  }

  /** Runs `work` once whatever was begun before is over: on a busy machine one fault outlasts its time, and two would leave a server behind. */
  inTurn<T>(work: (redis: this) => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => work(this));
    this.#turn = turn.then(
      () => {},
      () => {},
    );
    return turn;
  }

  /** SIGKILL. What was acknowledged is in the append-only file, since the machine lives on. */
  kill(): Promise<void> {
    return this.#server.stop();
  }

  /** The same data on the same port. */
  async restart(): Promise<void> {
    this.#server = await startRedis(
      [...ARGUMENTS, '--dir', join(this.#folder, `redis-${this.#generation}`)],
      this.port,
    );
  }

  /** Everything in it is gone for good, flushed by a hand or restarted where its files are not; the port stays. */
  async lose(how: 'flushed' | 'restarted'): Promise<void> {
    if (how === 'restarted') {
      await this.kill();
      this.#generation += 1;
      mkdirSync(join(this.#folder, `redis-${this.#generation}`), { recursive: true });
      return await this.restart();
    }
    const client = new Redis(this.#server.url, { maxRetriesPerRequest: null });
    client.on('error', () => {});
    await client.flushall().finally(() => client.disconnect());
  }

  pause(): void {
    this.#server.pause();
  }

  resume(): void {
    this.#server.resume();
  }

  /**
   * A replica follows, its link goes dead for `lostMs` while the master goes on acknowledging, then the master dies and the replica is promoted:
   * what was acknowledged meanwhile is lost. Resolves with the new master's port.
   */
  async failOver(lostMs: number): Promise<number> {
    const link = await TcpProxy.start(this.port);
    this.#generation += 1;
    const folder = join(this.#folder, `redis-${this.#generation}`);
    mkdirSync(folder, { recursive: true });
    const following = ['--replicaof', '127.0.0.1', String(link.port)];
    const replica = await startRedis([...ARGUMENTS, '--dir', folder, ...following]);
    const client = new Redis(replica.url, { maxRetriesPerRequest: null });
    client.on('error', () => {});
    try {
      await awaitSynced(client);
      link.setMode('drop');
      await new Promise((resolve) => setTimeout(resolve, lostMs));
      await this.#server.stop();
      await client.replicaof('NO', 'ONE');
      this.#server = replica;
      return replica.port;
    } catch (error) {
      await replica.stop();
      throw error;
    } finally {
      client.disconnect();
      await link.close();
    }
  }

  async close(): Promise<void> {
    await this.#turn;
    this.#server.resume();
    await this.#server.stop();
  }
}

async function awaitSynced(replica: Redis): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    const text = await replica.info('replication');
    if (text.includes('master_link_status:up')) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('the replica did not catch up');
}
