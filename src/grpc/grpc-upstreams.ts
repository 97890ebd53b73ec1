// Channels to the engines' gRPC ports: one per engine, kept while it is in the config. Which engine is the pool's choice.
import { Client, credentials, type ChannelCredentials } from '@grpc/grpc-js';
import type { Upstream } from '#gateway/upstream-pool.ts';

/** Triton's servers forbid pings more often than every five minutes without data; a dead peer is noticed at the next call anyway. */
const KEEPALIVE_MS = 330_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
/** Where Triton's gRPC listens unless told otherwise. */
const DEFAULT_PORT = 8001;

interface Channel {
  /** Everything that, changed, needs a new channel. */
  readonly key: string;
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
    const address = readAddress(upstream);
    const key = JSON.stringify([address, upstream.config.tls]);
    const known = this.#channels.get(upstream);
    if (known?.key === key) return known.client;
    known?.client.close();
    if (known === undefined) this.#closeOrphans();
    const client = new Client(address.host, createCredentials(upstream, address), this.#createOptions(address));
    this.#channels.set(upstream, { key, client });
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

  #createOptions({ serverName, isEncrypted }: GrpcAddress) {
    const isNamed = isEncrypted && serverName !== '';
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
      ...(isNamed ? { 'grpc.ssl_target_name_override': serverName, 'grpc.default_authority': serverName } : {}),
    };
  }
}

/** Where an engine's gRPC is, and the name that its certificate must hold. */
interface GrpcAddress {
  readonly host: string;
  readonly serverName: string;
  readonly isEncrypted: boolean;
}

/** `grpcUrl` of the config, else Triton's gRPC port, encrypted as HTTP is; of a name with several addresses the one that is meant. */
function readAddress({ config }: Upstream): GrpcAddress {
  const http = new URL(config.url);
  const scheme = http.protocol === 'https:' ? 'grpcs' : 'grpc';
  const url = new URL(config.grpcUrl ?? `${scheme}://${http.hostname}:${DEFAULT_PORT}`);
  const address = config.address ?? url.hostname;
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  const named = config.tls?.serverName ?? '';
  return {
    host: `${host}:${url.port}`,
    serverName: named === '' && config.address !== undefined ? url.hostname : named,
    isEncrypted: url.protocol === 'grpcs:',
  };
}

function createCredentials({ config }: Upstream, { isEncrypted }: GrpcAddress): ChannelCredentials {
  if (!isEncrypted) return credentials.createInsecure();
  const { ca = '', cert = '', key = '' } = config.tls ?? {};
  const toBuffer = (pem: string): Buffer | null => (pem === '' ? null : Buffer.from(pem));
  return credentials.createSsl(toBuffer(ca), toBuffer(key), toBuffer(cert));
}
