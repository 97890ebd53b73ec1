// What a composed gateway is to those who start it: its addresses, its life, and what it says of itself. Not here: how it is built (compose.ts).
import type { Config } from '#config/config.ts';
import type { Log } from '#domain/log.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { DiscoveryOptions } from '#gateway/dns-discovery.ts';
import type { MetricJson } from '#observe/sum-metrics.ts';
import type { SoughtRequest } from '#reports/caller-books.ts';
import type { WorkerReport } from '#workers/worker-messages.ts';

export interface RunningGateway {
  /** Where the planes listen, such as `http://127.0.0.1:8080`. */
  readonly gatewayUrl: string;
  /** Null where another process answers for this one. */
  readonly adminUrl: string | null;
  /** Where KServe's gRPC listens, as `host:port`; null without a `grpc` section. */
  readonly grpcAddress: string | null;
  /** Resolves when config and store were read once. Rejects with StoreSchemaError or a PriceRefusedError. */
  readonly ready: Promise<void>;
  /** Applies a new configuration without dropping a request; returns what was refused, in words. */
  reload(config: Config): Promise<readonly string[]>;
  /** Not ready, then no new requests, then everything posted; returns what is left, in words (empty: nothing). */
  drain(): Promise<readonly string[]>;
  /** Readiness, upstreams and profiles as they are now. */
  report(): WorkerReport;
  /** Every metric of this process as plain data. */
  readMetrics(): Promise<readonly MetricJson[]>;
  /** Records of this process whose cost is not settled, newest last; of one request, or all. */
  unsettled(sought?: SoughtRequest): readonly UsageRecord[];
}

export interface ComposeOptions {
  readonly config: Config;
  readonly log: Log;
  readonly version: string;
  /** False after a reload that was refused. */
  readonly configReloadSuccessful: () => boolean;
  /** How the names of `dns+` upstreams are resolved; default: as the system does, every 10 s. */
  readonly discovery?: Pick<DiscoveryOptions, 'resolve' | 'intervalMs'>;
  /** Set in a worker process: the admin plane is elsewhere, and a request may have been another worker's. */
  readonly siblings?: { findUnsettled(sought: SoughtRequest): Promise<readonly UsageRecord[]> };
}

/** The configuration asks for a price in settled time. */
export class PriceRefusedError extends Error {
  override name = 'PriceRefusedError';
}
