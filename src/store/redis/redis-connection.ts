// One connection to Redis (server, sentinels or cluster) with a hard time limit on every call. No key, no protocol of ours.
import type { ConnectionOptions } from 'node:tls';
import type { Cluster, Redis, RedisOptions } from 'ioredis';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { limitTime } from '../limit-time.ts';
import type { StoreOptions, StoreTls } from '../store-options.ts';
import { RedisKeys } from './keys.ts';
import type { RedisAddress } from '#domain/redis-url.ts';
import { loadScript, SCRIPTS, type ScriptName } from './scripts.ts';

/** Loaded by the first connection: it takes 8 MB that a gateway on the embedded store need not spend. */
type RedisLibrary = Pick<typeof import('ioredis'), 'Cluster' | 'Redis'>;

export interface RedisConnectionOptions extends StoreOptions {
  readonly address: RedisAddress;
  /** Used where the address says TLS. */
  readonly tls?: StoreTls | undefined;
}

/** The first connection may take this long, TLS and name resolution included. */
const OPEN_TIMEOUT_MS = 5000;
/** What is closed awaits no answer any more; ioredis waits this long even for a connection that never was, and a command ends no sooner. */
const DISCONNECT_TIMEOUT_MS = 250;
/** After so many calls without an answer the connection is taken for dead and made anew; nothing piles up behind it. */
const TIMEOUTS_BEFORE_RECONNECT = 3;
const RECONNECT_DELAY_MAX_MS = 1000;
/** How Redis begins to refuse a write to a replica. */
const REPLICA = 'READONLY';

type ScriptCall = (keyCount: number, ...values: (string | Buffer)[]) => Promise<unknown>;

/** Shared by both ports. Connects at `open`, reconnects by itself, refuses calls at once while there is no connection. */
export class RedisConnection {
  readonly options: RedisConnectionOptions;
  readonly keys: RedisKeys;
  /** `run_id` of the server last connected to, empty until known: it changes with a restart or failover. */
  runId = '';
  #client: Redis | Cluster | null = null;
  #isClosed = false;
  #timeoutsInRow = 0;
  #isFailing = false;
  #isReplica = false;

  constructor(options: RedisConnectionOptions) {
    this.options = options;
    this.keys = new RedisKeys(options.prefix);
  }

  /** Resolves once connected; rejects with StoreUnavailableError after `openTimeoutMs` (5 s), while it goes on trying. Safe to repeat. */
  async connect(): Promise<void> {
    this.#isClosed = false;
    const library = await import('ioredis');
    if (this.#isClosed) throw new StoreUnavailableError('the connection was closed meanwhile');
    this.#client ??= this.#createClient(library);
    const client = this.#client;
    if (client.status === 'ready') return;
    const ready = new Promise<void>((resolve) => {
      client.once('ready', () => resolve());
    });
    if (client.status === 'wait' || client.status === 'end') {
      client.connect().catch(() => {
        // Told by the `error` event; the client keeps trying.
      });
    }
    const { openTimeoutMs, timeoutMs } = this.options;
    await limitTime(ready, openTimeoutMs ?? Math.max(OPEN_TIMEOUT_MS, timeoutMs), 'connect');
  }

  /** Runs a script by its binding; rejects with StoreUnavailableError. */
  runScript(name: ScriptName, keys: readonly string[], args: readonly (string | Buffer)[]): Promise<unknown> {
    return this.call(
      name,
      (client) => {
        // ioredis adds the commands it is told to define to the client object; its types cannot know them.
        const run = (client as unknown as Record<ScriptName, ScriptCall>)[name];
        return run.call(client, keys.length, ...keys, ...args);
      },
      this.options.timeoutMs,
    );
  }

  /** Runs commands within a limit (ms); whatever goes wrong becomes a StoreUnavailableError without secrets. */
  async call<T>(name: string, work: (client: Redis | Cluster) => Promise<T>, limitMs: number): Promise<T> {
    const client = this.#client;
    if (client === null || client.status !== 'ready')
      throw new StoreUnavailableError('there is no connection to Redis');
    try {
      const value = await limitTime(work(client), limitMs, name);
      this.#timeoutsInRow = 0;
      this.#isReplica = false;
      return value;
    } catch (err) {
      if (err instanceof StoreUnavailableError) {
        this.#countTimeout(client);
        throw err;
      }
      const reason = err instanceof Error ? err.message : String(err);
      if (reason.startsWith(REPLICA)) this.#leaveReplica(client);
      throw new StoreUnavailableError(`Redis refused ${name}: ${reason}`, { cause: err });
    }
  }

  /** The server's clock, epoch milliseconds. */
  async readNowMs(): Promise<number> {
    const [seconds, micros] = await this.call('now', (client) => client.time(), this.options.timeoutMs);
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  /** Safe to repeat. */
  close(): void {
    this.#isClosed = true;
    this.#client?.disconnect();
    this.#client = null;
  }

  #countTimeout(client: Redis | Cluster): void {
    this.#timeoutsInRow += 1;
    if (this.#timeoutsInRow < TIMEOUTS_BEFORE_RECONNECT) return;
    this.#timeoutsInRow = 0;
    // What was sent may yet be applied: every call here may be repeated.
    client.disconnect(true);
  }

  /** A master that became a replica, or a replica in the URL: the name, or the sentinels, may lead to the master by now. */
  #leaveReplica(client: Redis | Cluster): void {
    if (!this.#isReplica)
      this.options.log.error(
        {},
        'Redis is a read-only replica: store.url has to lead to the master, or to its sentinels',
      );
    this.#isReplica = true;
    if (!client.isCluster) (client as Redis).disconnect(true);
  }

  #createClient(library: RedisLibrary): Redis | Cluster {
    const client = createClient(this.options, library);
    for (const name of Object.keys(SCRIPTS) as ScriptName[]) client.defineCommand(name, { lua: loadScript(name) });
    client.on('error', (err: Error) => {
      if (this.#isFailing) return;
      this.#isFailing = true;
      this.options.log.warn({ reason: err.message }, 'Redis cannot be reached, trying on');
    });
    client.on('ready', () => {
      if (this.#isFailing) this.options.log.info({}, 'Redis answers again');
      this.#isFailing = false;
      this.#timeoutsInRow = 0;
      this.#learnRunId(client).catch(() => {
        this.runId = '';
      });
    });
    return client;
  }

  async #learnRunId(client: Redis | Cluster): Promise<void> {
    const text = await client.info('server');
    this.runId = /^run_id:(\w+)/m.exec(text)?.[1] ?? '';
  }
}

function createClient(
  { address, tls, timeoutMs, readTimeoutMs }: RedisConnectionOptions,
  { Cluster, Redis }: RedisLibrary,
): Redis | Cluster {
  const tlsOptions = readTls(tls);
  const shared = {
    lazyConnect: true,
    enableOfflineQueue: false,
    // The first of the two limits on a call; the other is limitTime, for whatever ioredis does before it sends.
    commandTimeout: Math.max(timeoutMs, readTimeoutMs),
    connectTimeout: Math.max(OPEN_TIMEOUT_MS, timeoutMs),
    disconnectTimeout: DISCONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    protocol: 2,
    retryStrategy: (times: number) => Math.min(50 * times, RECONNECT_DELAY_MAX_MS),
    ...(address.username === null ? {} : { username: address.username }),
    ...(address.password === null ? {} : { password: address.password }),
    ...(address.tls ? { tls: tlsOptions } : {}),
  } as const satisfies RedisOptions;
  const hosts = address.hosts.map(({ host, port }) => ({ host, port }));
  if (address.kind === 'cluster') {
    const { lazyConnect, enableOfflineQueue, retryStrategy, ...redisOptions } = shared;
    return new Cluster(hosts, { lazyConnect, enableOfflineQueue, clusterRetryStrategy: retryStrategy, redisOptions });
  }
  if (address.kind === 'sentinel') {
    const sentinelTls = address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: tlsOptions } : {};
    return new Redis({ ...shared, ...sentinelTls, sentinels: hosts, name: address.master ?? '', db: address.db });
  }
  return new Redis({ ...shared, ...hosts[0], db: address.db });
}

function readTls(tls: StoreTls | undefined): ConnectionOptions {
  const { ca = '', cert = '', key = '', serverName = '' } = tls ?? {};
  return {
    ...(ca === '' ? {} : { ca }),
    ...(cert === '' ? {} : { cert, key }),
    ...(serverName === '' ? {} : { servername: serverName }),
  };
}
