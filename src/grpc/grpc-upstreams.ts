// Channels to the engines' gRPC ports: one per engine, kept while it is in the config. Which engine is the pool's choice.
import { Client, credentials, type ChannelCredentials } from '@grpc/grpc-js';
import type { Upstream } from '#gateway/upstream-pool.ts';

/** Triton's servers forbid pings more often than every five minutes without data; a dead peer is noticed at the next call anyway. */
const KEEPALIVE_MS = 330_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** Where Triton's gRPC listens unless told otherwise. */
const DEFAULT_PORT = 8001;

interface Channel {
  readonly address: string;
  readonly client: Client;
}

/** Clients by engine. */
export class GrpcUpstreams {
  readonly #maxMessageBytes: number;
  readonly #listEngines: () => readonly Upstream[];
  readonly #channels = new Map<Upstream, Channel>();

  /** `maxMessageBytes` bounds an engine's answer; `listEngines` gives those of the present config. */
  constructor(options: { readonly maxMessageBytes: number; readonly listEngines: () => readonly Upstream[] }) {
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#listEngines = options.listEngines;
  }

  /** The engine's client, made on first use. */
  get(upstream: Upstream): Client {
    const url = readGrpcUrl(upstream);
    const known = this.#channels.get(upstream);
    if (known?.address === url.href) return known.client;
    known?.client.close();
    if (known === undefined) this.#closeOrphans();
    const client = new Client(url.host, createCredentials(upstream, url), this.#createOptions(upstream));
    this.#channels.set(upstream, { address: url.href, client });
    return client;
  }

  close(): void {
    for (const { client } of this.#channels.values()) client.close();
    this.#channels.clear();
  }

  /** Engines that left the config and have nothing in flight. */
  #closeOrphans(): void {
    const present = new Set(this.#listEngines());
    for (const [upstream, { client }] of this.#channels) {
      if (present.has(upstream) || upstream.inFlight > 0) continue;
      client.close();
      this.#channels.delete(upstream);
    }
  }

  #createOptions(upstream: Upstream) {
    const serverName = upstream.config.tls?.serverName ?? '';
    return {
      'grpc.max_receive_message_length': this.#maxMessageBytes,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      // Whether a call is repeated is decided, and recorded, by us.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
      'grpc.use_local_subchannel_pool': 1,
      ...(serverName === ''
        ? {}
        : { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName }),
    };
  }
}

/** `grpcUrl` of the config, else the engine's host at Triton's gRPC port, encrypted as its HTTP is. */
function readGrpcUrl({ config }: Upstream): URL {
  if (config.grpcUrl !== undefined) return new URL(config.grpcUrl);
  const url = new URL(config.url);
  const address = config.address ?? url.hostname;
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  return new URL(`${url.protocol === 'https:' ? 'grpcs' : 'grpc'}://${host}:${DEFAULT_PORT}`);
}

function createCredentials({ config }: Upstream, url: URL): ChannelCredentials {
  if (url.protocol !== 'grpcs:') return credentials.createInsecure();
  const { ca = '', cert = '', key = '' } = config.tls ?? {};
  const toBuffer = (pem: string): Buffer | null => (pem === '' ? null : Buffer.from(pem));
  return credentials.createSsl(toBuffer(ca), toBuffer(key), toBuffer(cert));
}
