// The immutable fact of one attempt: who, what, when, how many tokens, how it ended. Money is added by settlement.
import type { TokenCounts, TokenSource } from './tokens.ts';

/** How an attempt ended (contract §6). `rejected` never reached an engine; `interrupted` was cut by our own death. */
export type Outcome = 'completed' | 'client_aborted' | 'upstream_error' | 'timed_out' | 'rejected' | 'interrupted';

/** One attempt of one request. Instants are epoch milliseconds of the store's clock, durations monotonic. */
export interface UsageRecord {
  /** `<requestId>.<attempt>`: the only key of the ledger. */
  readonly recordId: string;
  /** The gateway's own UUIDv7. */
  readonly requestId: string;
  readonly clientRequestId: string | null;
  /** From 1. */
  readonly attempt: number;
  /** False for an attempt that was retried: only the last attempt counts as a request in rollups. */
  readonly lastAttempt: boolean;
  readonly team: string;
  readonly project: string | null;
  readonly keyId: string | null;
  /** OpenAI's `user`, after `privacy.user`. */
  readonly user: string | null;
  readonly tags: Readonly<Record<string, string>>;
  /** As the client sent it; null where the request names none. */
  readonly requestedModel: string | null;
  /** Canonical name; null when no deployment was found. */
  readonly model: string | null;
  readonly deployment: string | null;
  readonly upstream: string | null;
  /** Null when the attempt never reached an engine. */
  readonly pool: string | null;
  /** Route template, such as `/v1/chat/completions`. */
  readonly route: string;
  readonly stream: boolean;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  /** Request received → first byte of the first event with content; null when there was none. */
  readonly timeToFirstTokenMs: number | null;
  /** Request received → last byte handed to the client's socket, or the end of the attempt. */
  readonly durationMs: number;
  readonly outcome: Outcome;
  /** Status code sent to the client; 499 if the client left before headers. */
  readonly status: number;
  /** `x-stainless-retry-count` of the client's SDK; 0 without it. */
  readonly clientRetry: number;
  readonly tokens: TokenCounts;
  readonly tokenSource: TokenSource;
  /** Where the engine profile came from that priced it; null when the attempt never reached an engine. */
  readonly profileSource: string | null;
  /** Part of its work reached the store after its window was frozen, and costs nothing; false: none did; null or absent: not known. */
  readonly late?: boolean | null;
}

/** Money of one record in one UTC hour on the GPUs of one deployment. */
export interface Charge {
  /** First epoch second of the hour. */
  readonly hour: number;
  /** The deployment that computed the prompt, where that is another than the record's; absent: the record's own. */
  readonly deployment?: string;
  readonly gpuMicros: bigint;
  readonly costNanoUsd: bigint;
  readonly prefillNanoUsd: bigint;
  readonly decodeNanoUsd: bigint;
  readonly otherNanoUsd: bigint;
  readonly nanoUsdPerGpuHour: bigint;
}

/** A record all of whose windows are frozen and claimed: its cost is the sum of its charges. */
export interface SettledRecord extends UsageRecord {
  readonly charges: readonly Charge[];
}
