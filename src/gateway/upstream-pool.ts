// The engines a gateway can send to: their connections, their work in flight, and which one is chosen. Health is judged elsewhere.
import type { Config, DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import { Pool } from 'undici';

/** One engine as this process knows it. */
export class Upstream {
  readonly config: UpstreamConfig;
  readonly deployment: DeploymentConfig;
  readonly dispatcher: Pool;
  /** TLS options as node's tls.connect takes them; empty for the platform's defaults. */
  readonly tls: Readonly<Record<string, string>>;
  /** Path part of the configured URL, without a trailing slash; routes are appended to it. */
  readonly basePath: string;
  /** Undefined until the first verdict: usable. */
  healthy: boolean | undefined;
  /** Failed checks and connections in a row. */
  failures = 0;
  inFlight = 0;
  #retired = false;

  constructor(deployment: DeploymentConfig, config: UpstreamConfig) {
    const url = new URL(config.url);
    this.config = config;
    this.deployment = deployment;
    this.tls = readTls(config);
    this.basePath = url.pathname.replace(/\/+$/, '');
    this.dispatcher = new Pool(url.origin, {
      connections: null,
      pipelining: 1,
      allowH2: false,
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: 64 * 1024,
      connect: { timeout: deployment.timeouts.connectMs, ...this.tls },
    });
  }

  /** Work in flight per engine behind the URL. */
  get load(): number {
    return this.inFlight / this.config.replicas;
  }

  /** Counts one request in flight; the returned function ends it, once. */
  occupy(): () => void {
    this.inFlight += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.inFlight -= 1;
      if (this.#retired && this.inFlight === 0) void this.dispatcher.close();
    };
  }

  /** The upstream left the config: its connections close when its last request ended. */
  retire(): void {
    this.#retired = true;
    if (this.inFlight === 0) void this.dispatcher.close();
  }
}

function readTls(config: UpstreamConfig): Record<string, string> {
  const { tls } = config;
  if (tls === undefined) return {};
  return {
    ...(tls.ca === '' ? {} : { ca: tls.ca }),
    ...(tls.cert === '' ? {} : { cert: tls.cert }),
    ...(tls.key === '' ? {} : { key: tls.key }),
    ...(tls.serverName === '' ? {} : { servername: tls.serverName }),
  };
}

/** All upstreams of a config, kept across reloads where nothing about their connection changed. */
export class UpstreamPool {
  #upstreams = new Map<string, Upstream>();
  #byDeployment = new Map<string, readonly Upstream[]>();

  constructor(config: Config) {
    this.reload(config);
  }

  /** Takes over a new config. Returns the upstreams that are new; removed ones finish what they have. */
  reload(config: Config): readonly Upstream[] {
    const next = new Map<string, Upstream>();
    const added: Upstream[] = [];
    const byDeployment = new Map<string, readonly Upstream[]>();
    for (const deployment of config.deployments) {
      const members = deployment.upstreams.map((upstream) => {
        const key = renderConnectionKey(deployment, upstream);
        const kept = this.#upstreams.get(key);
        const member = kept ?? new Upstream(deployment, upstream);
        if (kept === undefined) added.push(member);
        next.set(key, member);
        return member;
      });
      byDeployment.set(deployment.name, members);
    }
    for (const [key, upstream] of this.#upstreams) {
      if (!next.has(key)) upstream.retire();
    }
    this.#upstreams = next;
    this.#byDeployment = byDeployment;
    return added;
  }

  /** Every upstream of the present config. */
  list(): readonly Upstream[] {
    return [...this.#upstreams.values()];
  }

  /** Whether any upstream of the deployment may be sent to. */
  isServing(deployment: string): boolean {
    return this.#byDeployment.get(deployment)?.some(({ healthy }) => healthy !== false) ?? false;
  }

  /**
   * The upstream with the least work in flight among those not known to be unhealthy and not in `excluded`; ties by chance.
   * Undefined where none is left.
   */
  choose(deployment: string, excluded: ReadonlySet<Upstream>): Upstream | undefined {
    let best: Upstream | undefined;
    let ties = 0;
    for (const upstream of this.#byDeployment.get(deployment) ?? []) {
      if (upstream.healthy === false || excluded.has(upstream)) continue;
      if (best === undefined || upstream.load < best.load) {
        best = upstream;
        ties = 1;
      } else if (upstream.load === best.load && Math.random() * ++ties < 1) {
        best = upstream;
      }
    }
    return best;
  }

  /** Ends all connections at once. */
  async destroy(): Promise<void> {
    await Promise.all(this.list().map((upstream) => upstream.dispatcher.destroy()));
  }
}

/** Everything that, changed, needs new connections or a new opinion of the upstream. */
function renderConnectionKey(deployment: DeploymentConfig, upstream: UpstreamConfig): string {
  const { name, engine, timeouts, health, gpuMillionths } = deployment;
  return JSON.stringify([name, engine, timeouts, health, gpuMillionths, upstream]);
}
