// One upstream of a deployment as loaded: where it is, how it is reached, what it holds. Part of config.ts's shape.

/** TLS towards an upstream, PEM text; `''` means the platform's default or none. */
export interface UpstreamTlsConfig {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly serverName: string;
}

/** One base URL of a deployment. `apiKey`, `headers` and `proxy` are secrets. */
export interface UpstreamConfig {
  readonly name: string;
  /** `http://…` or `https://…` without trailing slash; `discovery` keeps what a `dns+` prefix said. */
  readonly url: string;
  /** `dns`: one upstream per address of the host name, resolved again and again. */
  readonly discovery: 'static' | 'dns';
  /** The one address of the host that this upstream means; absent in what the file says, and where the system resolves per connection. */
  readonly address?: string;
  /** Name of the `dns+` upstream whose address this is; absent for all others. */
  readonly discoveredFrom?: string;
  /** `grpc://host:port` or `grpcs://host:port` of the engine's KServe gRPC; absent: its host at port 8001. */
  readonly grpcUrl?: string;
  /** Engines hidden behind the one URL; above 1 the figures are marked as pooled. */
  readonly replicas: number;
  /** Share of the deployment's requests relative to the other upstreams; absent: its GPUs. */
  readonly weight?: number;
  /** Requests sent to it at once by this gateway; absent: no bound. */
  readonly maxInFlight?: number;
  /** The GPUs it runs on: the named pool, or `<deployment>/<upstream name>`. */
  readonly pool: string;
  /** Sent as bearer token; `''` for none. */
  readonly apiKey: string;
  /** Extra request headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls?: UpstreamTlsConfig;
  /** URL of an HTTP proxy, its credentials included; absent: connected to directly, whatever the environment says. */
  readonly proxy?: string;
  /** URL of the DCGM exporter's metrics; `''` for none. */
  readonly dcgm: string;
  /** The exporter's GPU ids or UUIDs that belong to this upstream; empty means all. */
  readonly gpus: readonly string[];
}
