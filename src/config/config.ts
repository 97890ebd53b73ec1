// The shape of a loaded configuration: what every other folder may import, as types only.
// Reading, checking and defaulting live in load-config.ts, the YAML side of each section in schema-*.ts.
import type { PrefillPlace } from '#domain/metering.ts';
import type { UpstreamConfig, UpstreamTlsConfig } from './upstream-config.ts';

export type { UpstreamConfig, UpstreamTlsConfig } from './upstream-config.ts';

/** Inference servers the gateway knows how to speak to (contract §3 `engine`). */
export type EngineName =
  | 'tensorrt-llm'
  | 'triton-openai'
  | 'triton'
  | 'nim'
  | 'dynamo'
  | 'vllm'
  | 'tgi'
  | 'transformers'
  | 'openai';

/** A certificate chain with its private key, both as PEM text. */
export interface ServerTlsConfig {
  readonly cert: string;
  readonly key: string;
}

/** Which browsers' pages may ask: origins and request headers, each `*` for all, and how long a preflight holds. */
export interface CorsConfig {
  readonly origins: readonly string[];
  readonly headers: readonly string[];
  readonly maxAgeMs: number;
}

/** The data plane. Times are milliseconds; `requestTimeoutMs` bounds a whole request, answer included. */
export interface ServerConfig {
  readonly host: string;
  /** 0 lets the system choose a free port. */
  readonly port: number;
  readonly tls?: ServerTlsConfig;
  readonly maxBodyBytes: number;
  readonly requestTimeoutMs: number;
  /** After SIGTERM: not ready, but still accepting, for this long. */
  readonly drainDelayMs: number;
  /** After `drainDelayMs`: how long requests in flight may take to end. */
  readonly drainTimeoutMs: number;
  readonly workers: number;
  /** Whether answers carry `x-inferometer-upstream`. */
  readonly exposeUpstream: boolean;
  /** Absent: pages of other origins are not served. */
  readonly cors?: CorsConfig;
}

/** KServe's gRPC listener; absent means no gRPC. */
export interface GrpcConfig {
  readonly host: string;
  /** 0 lets the system choose a free port. */
  readonly port: number;
  /** The longest message, either way. */
  readonly maxMessageBytes: number;
}

/** The admin plane. A token of `''` means that none is set. */
export interface AdminConfig {
  readonly host: string;
  /** 0 lets the system choose a free port. */
  readonly port: number;
  readonly token: string;
  readonly requireToken: boolean;
  /** Protects `/metrics` alone; `''` leaves it open. */
  readonly metricsToken: string;
}

/** Where the books are kept. `url` may hold a password: never log it. */
export interface StoreConfig {
  readonly url: string;
  readonly prefix: string;
  /** Time limit of one store call on the request path. */
  readonly timeoutMs: number;
  /** For `rediss…` URLs; absent: the system's authorities, no client certificate. */
  readonly tls?: UpstreamTlsConfig;
  readonly onStoreDown: 'admit' | 'block';
}

/** The local append-only file. `grouped`: fsync every 50 ms; `strict`: awaited before an answer ends; `off`: never. */
export interface JournalConfig {
  readonly dir: string;
  readonly fsync: 'grouped' | 'strict' | 'off';
  /** How long segments that nothing needs any more stay for `ledger rebuild`, and how much all may hold. */
  readonly retentionMs: number;
  readonly maxBytes: number;
}

/** H and D of settlement.md: the latest moment to seal a window, and the silence after which a member is left out. */
export interface SettlementConfig {
  readonly horizonMs: number;
  readonly silenceMs: number;
}

/** How long records and rollups stay in the store; records leave it for `archive`, `''` for none. */
export interface RetentionConfig {
  readonly recordsMs: number;
  readonly rollupsMs: number;
  readonly archive: string;
}

/** Process log. `access` writes one line per request, without any content. */
export interface LoggingConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly format: 'json' | 'pretty';
  readonly access: boolean;
}

/** What happens to OpenAI's `user` field in records. */
export interface PrivacyConfig {
  readonly user: 'keep' | 'hash' | 'drop';
}

/**
 * One entry of the price book: what one GPU of model `gpu` costs per hour from `fromMs` on. Entries of one name with
 * different `fromMs` are one price over time; each is in force until the next begins.
 */
export interface PriceConfig {
  readonly name: string;
  readonly gpu: string;
  /** Integer nanodollars per GPU and hour, exact. */
  readonly nanoUsdPerGpuHour: bigint;
  /** The same as shortest decimal text in dollars, such as `2.5`. */
  readonly usdPerGpuHour: string;
  /** Epoch milliseconds, inclusive; a date without time is midnight UTC. */
  readonly fromMs: number;
  /** `from` as written in the file, such as `2026-01-01`. */
  readonly from: string;
  readonly source: string;
}

/** One line of a schedule. A `toMinute` at or before `fromMinute` lies on the next day. */
export interface ScheduleRule {
  /** ISO week days on which the span begins: 1 Monday … 7 Sunday, ascending. */
  readonly days: readonly number[];
  /** Minutes after local midnight, 0 … 1439. */
  readonly fromMinute: number;
  /** Minutes after local midnight, exclusive, 0 … 1440. */
  readonly toMinute: number;
  /** IANA name. */
  readonly timezone: string;
}

/** When a deployment's GPUs are paid for: always, while its health check answers, or by the clock. */
export type ProvisionedConfig =
  | { readonly kind: 'always' }
  | { readonly kind: 'health' }
  | { readonly kind: 'schedule'; readonly rules: readonly ScheduleRule[] };

/** Time limits towards an upstream: connecting, waiting for the first byte, silence between two bytes. */
export interface TimeoutConfig {
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly idleMs: number;
}

/** Requests that wait while every upstream is full (`maxInFlight`): how many, and how long each. */
export interface QueueConfig {
  readonly size: number;
  readonly timeoutMs: number;
}

/** Prompts that begin with the same `prefixBytes` bytes go to the same upstream while the load is balanced. */
export interface AffinityConfig {
  readonly prefixBytes: number;
}

/** The health check. `path` is resolved: the engine's default where the file names none. */
export interface HealthConfig {
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row after which an upstream gets no more requests. */
  readonly unhealthyAfter: number;
}

/** The five terms of the work model (attribution.md), milliseconds of the replica. */
export interface EngineProfileConfig {
  readonly iterationMs: number;
  readonly prefillTokenMs: number;
  readonly prefillContextMs: number;
  readonly decodeStepMs: number;
  readonly contextTokenMs: number;
}

/** What the same tokens would cost elsewhere; reports show the saving against it. */
export interface BaselineConfig {
  readonly name: string;
  /** Integer nanodollars per million tokens, exact. */
  readonly nanoUsdPerMillionTokens: bigint;
  /** The same as shortest decimal text in dollars. */
  readonly usdPerMillionTokens: string;
}

/** One model served on a set of GPUs at one price. */
export interface DeploymentConfig {
  readonly name: string;
  /** Names clients may send; the first is canonical. Never empty. */
  readonly models: readonly string[];
  readonly engine: EngineName;
  /** The name sent upstream. */
  readonly servedModel: string;
  readonly gpu: string;
  /** GPUs of one replica in millionths: 4 GPUs are 4 000 000. */
  readonly gpuMillionths: number;
  /** Name of the price in force; look it up with `priceInForce` of price-book.ts. */
  readonly priceName: string;
  readonly provisioned: ProvisionedConfig;
  readonly upstreams: readonly UpstreamConfig[];
  /** The deployment that computes its prompts, and the one pool of that one's engines; absent: it computes them itself. */
  readonly prefillBy?: PrefillPlace;
  /** The deployment whose prompts it computes: it takes no requests itself. Absent: it takes them. */
  readonly prefillsFor?: string;
  readonly timeouts: TimeoutConfig;
  readonly health: HealthConfig;
  /** Absent: 1000 requests for 30 s. */
  readonly queue?: QueueConfig;
  /** Absent: the less loaded of two. */
  readonly affinity?: AffinityConfig;
  readonly engineProfile?: EngineProfileConfig;
  /** Where `engineProfile` is from, where the file says that it was measured; absent: declared. */
  readonly engineProfileOrigin?: {
    readonly source: 'calibrated';
    /** Relative residual of the fit, 0 … 1; null where the file does not say. */
    readonly fitError: number | null;
  };
  /** True: `engineProfile` prices as it stands, and no part of its prefill is measured; absent: false. */
  readonly engineProfileFixed?: boolean;
  readonly engineStatistics: boolean;
  readonly work: 'tokens' | 'duration';
  /** Globs over request paths that are forwarded unread and metered by duration. */
  readonly passThrough: readonly string[];
  /** Globs over paths that control an engine, forwarded for keys with the scope `operator`; absent or empty: none. */
  readonly allowControl?: readonly string[];
  readonly errors: 'passthrough' | 'openai';
  /** True: running counts are asked of the engine in streams, so that cut ones have exact tokens too. */
  readonly continuousUsage?: boolean;
  readonly dropFields: readonly string[];
  readonly defaults: Readonly<Record<string, unknown>>;
  readonly caps: Readonly<Record<string, number>>;
  /** Absolute path of the model's tokenizer files; absent: tokens that the engine does not report are estimated from bytes. */
  readonly tokenizer?: string;
  readonly weight: number;
  /** Among deployments of one model name the highest priority is used first. */
  readonly priority: number;
  readonly baseline?: BaselineConfig;
}

/** Who is asking. `anonymous` names the team of requests without identity; `''` answers them with 401. */
export interface TenancyConfig {
  /** Tried in this order. */
  readonly authentication: readonly ('keys' | 'jwt' | 'header')[];
  /** `name` in lower case; the header counts only from addresses inside `trustedProxies` (CIDR or address). */
  readonly header: { readonly name: string; readonly trustedProxies: readonly string[] };
  readonly anonymous: string;
}

/** A static key. `key` is the secret itself. */
export interface TeamKeyConfig {
  readonly key: string;
  readonly name: string;
  /** `''` when the key belongs to no project. */
  readonly project: string;
  /** What the key may do besides inference; absent or empty: nothing. */
  readonly scopes?: readonly string[];
}

/** A spending limit per calendar period of `timezone`. */
export interface BudgetConfig {
  readonly limitNanoUsd: bigint;
  readonly period: 'day' | 'week' | 'month';
  readonly timezone: string;
  readonly onExceed: 'block' | 'warn';
}

/** Rate limits; an absent one does not apply. */
export interface LimitConfig {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  readonly concurrency?: number;
}

/** A team that pays. */
export interface TeamConfig {
  readonly name: string;
  readonly displayName: string;
  readonly costCenter: string;
  readonly keys: readonly TeamKeyConfig[];
  /** Deployment name → reserved GPUs in millionths. */
  readonly reservedGpuMillionths: Readonly<Record<string, number>>;
  readonly budget?: BudgetConfig;
  readonly limits?: LimitConfig;
  /** Globs, ignoring case, over sent, canonical and deployment names; `['*']` allows all. */
  readonly models: readonly string[];
}

/** Names for FOCUS exports and invoices; `''` where none is given. */
export interface FinanceConfig {
  readonly billingAccountId: string;
  readonly billingAccountName: string;
  readonly invoiceIssuer: string;
  readonly providerName: string;
  /** The load that the standard basis of reports is worked out for; absent: that of standard-rates.ts. */
  readonly plannedLoad?:
    | {
        /** Sequences in the batch, at least 1. */
        readonly concurrency: number;
        readonly contextTokens: number;
      }
    | undefined;
}

/** The whole configuration: frozen, plain data, comparable by structure. Contains secrets: never log it. */
export interface Config {
  readonly server: ServerConfig;
  readonly grpc?: GrpcConfig;
  readonly admin: AdminConfig;
  readonly store: StoreConfig;
  readonly journal: JournalConfig;
  readonly settlement: SettlementConfig;
  readonly retention: RetentionConfig;
  readonly logging: LoggingConfig;
  readonly privacy: PrivacyConfig;
  readonly prices: readonly PriceConfig[];
  readonly deployments: readonly DeploymentConfig[];
  readonly tenancy: TenancyConfig;
  readonly teams: readonly TeamConfig[];
  readonly finance: FinanceConfig;
  /** Reload by itself when the file, or what its symlinks point to, changes. */
  readonly watch: boolean;
}
