// Watches the addresses behind `dns+` upstreams: resolves their hosts again and again and tells when an address comes or goes.
// What follows from it (pool facts, connections) is its listener's.
import { lookup } from 'node:dns/promises';
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { UpstreamConfig } from '#config/upstream-config.ts';
import type { Log } from '#domain/log.ts';
import { expandAddresses, listDiscoveredHosts } from './expand-addresses.ts';

/** All addresses of a host, in any order. Rejects with the system's error where there are none or nobody answers. */
export type ResolveHost = (host: string) => Promise<readonly string[]>;

export interface DiscoveryOptions {
  /** Default: as the system resolves names. */
  readonly resolve?: ResolveHost;
  readonly log: Log;
  /** Time between two resolutions; default 10 000. */
  readonly intervalMs?: number;
  /** Longest wait for one; default 2000. */
  readonly timeoutMs?: number;
}

/** A resolver that says "no such host" so often in a row is believed. */
const MISSES_BELIEVED = 3;
const NO_SUCH_HOST = new Set(['ENOTFOUND', 'ENODATA']);
/** More addresses of one host, and more departed pools, are not looked at. */
const ADDRESSES_MAX = 256;
const DEPARTED_MAX = 1024;

interface Host {
  readonly addresses: readonly string[];
  readonly misses: number;
}

/** The addresses of one process's config. */
export class DnsDiscovery {
  /** Pools of upstreams that are written no more; whoever tells of them takes them out. */
  readonly left = new Set<string>();
  readonly #options: DiscoveryOptions;
  readonly #hosts = new Map<string, Host>();
  /** Hosts whose last resolution failed, so that only changes are logged. */
  readonly #failing = new Set<string>();
  /** By pool: upstreams that were there and are not any more, with the name of their deployment. */
  readonly #departed = new Map<string, { readonly deployment: string; readonly upstream: UpstreamConfig }>();
  #written: Config | undefined;
  #expanded: Config | undefined;
  #listener: (config: Config) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /**
   * Takes over a config as written and resolves its hosts, all at once and each for at most `timeoutMs`. Resolves to the config with an upstream
   * per address; never rejects: a host that cannot be resolved has none yet.
   */
  async follow(written: Config): Promise<Config> {
    const hosts = listDiscoveredHosts(written);
    for (const known of this.#hosts.keys()) if (!hosts.has(known)) this.#hosts.delete(known);
    for (const known of this.#failing) if (!hosts.has(known)) this.#failing.delete(known);
    await Promise.all([...hosts].map((host) => this.#resolve(host)));
    this.#written = written;
    return this.#expand(written);
  }

  /** Begins to watch; the listener is told of each change with the whole new config. */
  start(listener: (config: Config) => void): void {
    this.#listener = listener;
    this.#schedule();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Resolves every host once more and tells the listener of a change; by its own timer every `intervalMs`. */
  async refresh(): Promise<void> {
    const before = this.#written;
    if (before === undefined) return;
    const changes = await Promise.all([...listDiscoveredHosts(before)].map((host) => this.#resolve(host)));
    // A reload that came meanwhile has the addresses already.
    if (this.#isStopped || this.#written !== before || !changes.includes(true)) return;
    this.#listener(this.#expand(before));
  }

  /** Whether nothing has changed since this config was given out. */
  isCurrent(config: Config): boolean {
    return this.#expanded === config;
  }

  /** Deployments whose upstreams are exactly those whose address is gone, for taking their GPUs out of the capacity. */
  departed(): readonly DeploymentConfig[] {
    const deployments = this.#written?.deployments ?? [];
    return [...this.#departed.values()].flatMap(({ deployment, upstream }) => {
      const present = deployments.find(({ name }) => name === deployment);
      const isWritten = present?.upstreams.some(({ name }) => name === upstream.discoveredFrom) === true;
      return isWritten ? [{ ...present, upstreams: [upstream] }] : [];
    });
  }

  #schedule(): void {
    if (this.#isStopped) return;
    const timer = setTimeout(() => {
      void this.refresh().finally(() => this.#schedule());
    }, this.#options.intervalMs ?? 10_000);
    this.#timer = timer.unref();
  }

  #expand(written: Config): Config {
    const next = expandAddresses(written, (host) => this.#hosts.get(host)?.addresses ?? []);
    const present = new Set(next.deployments.flatMap(({ upstreams }) => upstreams.map(({ pool }) => pool)));
    for (const deployment of this.#expanded?.deployments ?? []) {
      for (const upstream of deployment.upstreams) {
        if (present.has(upstream.pool)) continue;
        if (isWritten(written, deployment.name, upstream.discoveredFrom))
          this.#departed.set(upstream.pool, { deployment: deployment.name, upstream });
        else this.left.add(upstream.pool);
      }
    }
    for (const pool of present) this.left.delete(pool);
    for (const pool of this.#departed.keys()) {
      if (present.has(pool) || this.#departed.size > DEPARTED_MAX) this.#departed.delete(pool);
    }
    this.#expanded = next;
    return next;
  }

  /** True where the addresses of a host changed. */
  async #resolve(host: string): Promise<boolean> {
    const known = this.#hosts.get(host);
    const answer = await this.#ask(host);
    if (answer === 'unknown') return false;
    if (answer === 'none') {
      const misses = (known?.misses ?? 0) + 1;
      const isBelieved = known === undefined || misses >= MISSES_BELIEVED;
      return this.#keep(host, { addresses: isBelieved ? [] : known.addresses, misses });
    }
    return this.#keep(host, { addresses: answer, misses: 0 });
  }

  #keep(host: string, next: Host): boolean {
    const before = this.#hosts.get(host)?.addresses;
    this.#hosts.set(host, next);
    if (before !== undefined && before.join() === next.addresses.join()) return false;
    const fields = { host, addresses: next.addresses.length, before: before?.length ?? 0 };
    // From none to none at the start: that the name is not resolved was told.
    if (fields.addresses + fields.before > 0) this.#options.log.info(fields, 'the addresses of an upstream changed');
    return true;
  }

  /** Sorted addresses of one family; `none` where the host has none, `unknown` where nobody could say. */
  async #ask(host: string): Promise<readonly string[] | 'none' | 'unknown'> {
    const { resolve = resolveBySystem, timeoutMs = 2000 } = this.#options;
    const { promise: late, resolve: giveUp } = Promise.withResolvers<null>();
    const timer = setTimeout(() => giveUp(null), timeoutMs);
    try {
      const found = await Promise.race([resolve(host), late]);
      if (found === null) return this.#failed(host, 'TIMEOUT');
      if (this.#failing.delete(host)) this.#options.log.info({ host }, 'the name of an upstream is resolved again');
      return found.length === 0 ? 'none' : chooseFamily(found);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN';
      const answer = this.#failed(host, code);
      return NO_SUCH_HOST.has(code) ? 'none' : answer;
    } finally {
      clearTimeout(timer);
    }
  }

  #failed(host: string, code: string): 'unknown' {
    if (!this.#failing.has(host)) {
      this.#failing.add(host);
      this.#options.log.warn({ host, code }, 'the name of an upstream cannot be resolved');
    }
    return 'unknown';
  }
}

/** True where the file still has the name that an address was found by. */
function isWritten({ deployments }: Config, deployment: string, discoveredFrom: string | undefined): boolean {
  const present = deployments.find(({ name }) => name === deployment);
  return discoveredFrom !== undefined && present?.upstreams.some(({ name }) => name === discoveredFrom) === true;
}

/** IPv4 where there is any: a machine with addresses of both families must not be counted, and paid for, twice. */
function chooseFamily(found: readonly string[]): readonly string[] {
  const ipv4 = found.filter((address) => !address.includes(':'));
  return [...new Set(ipv4.length > 0 ? ipv4 : found)].sort().slice(0, ADDRESSES_MAX);
}

/** With /etc/hosts and search domains, as every other program on the machine sees the name. */
async function resolveBySystem(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, order: 'verbatim' });
  return found.map(({ address }) => address);
}
