// The joint between the data plane and accounting: the gateway says what it saw of an attempt, accounting turns it into slices.
import type { PromptPrint } from './prompt-print.ts';
import type { TokenCounts, TokenSource } from './tokens.ts';
import type { UsageRecord } from './usage-record.ts';

/** GPUs of their own on which prompts are computed whose answers are generated elsewhere (`prefillBy`). */
export interface PrefillPlace {
  readonly pool: string;
  readonly deployment: string;
}

/** Known when an attempt is sent to an engine. */
export interface AttemptStart {
  readonly recordId: string;
  /** What the record will say in any case; kept in the journal so that an interrupted attempt still has its record. */
  readonly identity: Omit<
    UsageRecord,
    | 'endedAtMs'
    | 'timeToFirstTokenMs'
    | 'durationMs'
    | 'outcome'
    | 'status'
    | 'tokens'
    | 'tokenSource'
    | 'lastAttempt'
    | 'profileSource'
  >;
  readonly pool: string;
  readonly deployment: string;
  /** Where its prefill runs; absent: where the rest does. */
  readonly prefillBy?: PrefillPlace;
  readonly work: 'tokens' | 'duration';
  /** True where the engine produces no decode steps (embeddings, rerank): prefill only. */
  readonly prefillOnly: boolean;
  /** Bytes of the prompt's text, of the whole body where none was found: estimates the prompt until its count arrives. */
  readonly promptBytes: number;
  /** By which prompts that begin alike are known; absent where nobody took it. Never journaled. */
  readonly promptPrint?: PromptPrint | null;
  /** `max_tokens` or its aliases; null without. */
  readonly maxTokens: number | null;
  /** n, best_of or the number of list prompts: sequences in the batch. */
  readonly sequences: number;
  /** List prompts in one request, which do not read each other's context; absent: 1. */
  readonly promptCount?: number;
  /** Monotonic ms at which the request was handed to the engine's socket. */
  readonly atMs: number;
  /** True: no byte of the request, nor the last one of its answer, leaves before `commit`; what the journal says of it is written by then. */
  readonly leavesByTurn?: boolean;
}

/** How an attempt ended, with everything its record says. */
export interface AttemptEnd {
  /** The identity of its start, its ending, and the meter's `profileSource`. */
  readonly record: UsageRecord;
  /** Prompt and completion as the engine counts them, for the work model; null where unknown. */
  readonly tokens: TokenCounts;
  readonly tokenSource: TokenSource;
  /** Sequences that the answer held, whatever was asked for; absent: it does not tell. */
  readonly sequences?: number | undefined;
  /** Monotonic ms of the last byte from the engine, or of the abort. */
  readonly atMs: number;
}

/** One attempt at an engine. All instants are monotonic ms of the injected Clock, in order. Nothing here throws or awaits. */
export interface AttemptMeter {
  /** Where the profile came from that prices the attempt. */
  readonly profileSource: string;
  /** Bytes came from the engine: keeps the attempt busy (settlement.md: at most 2 s past the last one once the answer began). */
  upstreamBytes(atMs: number): void;
  /** An event with content passed: `steps` content-bearing events in this chunk (normally one token each). The first call marks the first token. */
  content(atMs: number, steps: number): void;
  /** Exactly once. Writes the record to the journal before it returns (see `leavesByTurn`); resolves when it may be released (`fsync: strict` awaits). */
  finish(end: AttemptEnd): void | Promise<void>;
}

export interface Metering {
  begin(start: AttemptStart): AttemptMeter;
  /** Writes to the journal what `leavesByTurn` put off, before it returns. Never throws. */
  commit(): void;
  /** A request that passed authentication and ended without reaching an engine: one record, no slices. */
  recordUnsent(record: UsageRecord): void;
}

/** Told of each finished record, for metrics and access logs. Must not throw. */
export interface RecordListener {
  recordFinished(record: UsageRecord): void;
}
