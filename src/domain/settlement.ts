// The settlement protocol's messages and snapshots (shared/design/settlement.md). Not here: the port that takes them (settlement-store.ts).
// Everything here is plain JSON: integers that can exceed 2^53 travel as decimal strings (NanoText, FemtoText).
import { BOOK_METRICS, type BookMetric } from './book-metrics.ts';
import type { BusySource, WindowActivity } from './busy-source.ts';
import type { FactBook, NanoText } from './pool-facts.ts';
import type { SettledRecord } from './usage-record.ts';

/** Additive integer features of one deployment in one window (settlement.md, "What a process collects"). */
export interface WindowFeatures {
  /** P: uncached prompt tokens prefilled. */
  p: number;
  /** Q: Σ p(2c+p) over the prefilled parts; below 2^53 since prompts are bounded to 16M tokens by the body limit. */
  q: number;
  /** D: decode steps. */
  d: number;
  /** K: Σ context length over decode steps. */
  k: number;
  /** s[10]: steps per 100 ms bucket, the prefill's end counting as one. */
  s: number[];
  /** u[10]: milliseconds in flight of attempts without tokens, per bucket. */
  u: number[];
  /** Milliseconds in flight of all attempts: the weight of last resort. */
  flightMs: number;
}

/** What one process saw of one pool in one window. */
export interface Publication {
  readonly pool: string;
  readonly window: number;
  readonly deployments: Readonly<Record<string, WindowFeatures>>;
  /** n[10]: sequence-milliseconds per bucket (estimated prefill start → end) over all deployments of the pool. */
  readonly n: readonly number[];
  /** Base64 of 125 bytes: bit i (LSB first in each byte) = an attempt was in flight in millisecond i. */
  readonly busy: string;
  /** Of the process that reads the engine's statistics or DCGM, also for windows in which it has no attempt of its own. */
  readonly activity?: WindowActivity;
  /** GPU activity in ms (mean over the pool's GPUs) that DCGM told of since the last such figure; see BOOK_METRICS. */
  readonly deviceActiveMs?: number;
}

/** From `window` on, this process's health checks say the pool answers, or not. */
export interface HealthChange {
  readonly pool: string;
  readonly window: number;
  readonly healthy: boolean;
}

/** Dimensions of a rollup cell. The empty string stands for "none" in project, keyId, model and deployment. */
export interface CellKey {
  /** First epoch second of the UTC hour. */
  readonly hour: number;
  readonly team: string;
  readonly project: string;
  readonly keyId: string;
  readonly model: string;
  readonly deployment: string;
}

/** Every additive figure of a report row; integers. Order is the storage order: append only. */
export const CELL_METRICS = [
  'requests',
  'failedRequests',
  'abortedRequests',
  'rejectedRequests',
  'requestsWithoutTokens',
  'attempts',
  'inputTokens',
  'cachedInputTokens',
  'outputTokens',
  'reasoningTokens',
  'reportedTokens',
  'countedTokens',
  'estimatedTokens',
  'gpuMicros',
  'costNanoUsd',
  'prefillNanoUsd',
  'decodeNanoUsd',
  'otherNanoUsd',
  'wastedNanoUsd',
  'wastedGpuMicros',
] as const;

export type CellMetric = (typeof CELL_METRICS)[number];

/** Increments of one cell; absent metrics are zero. Values are decimal strings of signed integers. */
export interface CellIncrement extends CellKey {
  readonly metrics: Readonly<Partial<Record<CellMetric, string>>>;
}

export type Phase = 'prefill' | 'decode' | 'other';

/** Share of one record in one hour, phase and deployment; Σ lines of a claim = Σ shares it claims. */
export interface ChargeLine {
  readonly recordId: string;
  readonly hour: number;
  /** The deployment that computed the prompt, where that is another than the record's; absent: the record's own. */
  readonly deployment?: string;
  readonly phase: Phase;
  readonly costNanoUsd: NanoText;
  readonly gpuMicros: string;
}

/** A settled record in JSON: bigints of its charges as decimal strings. */
export type SettledRecordJson = Omit<SettledRecord, 'charges'> & {
  readonly charges: readonly {
    readonly hour: number;
    readonly deployment?: string;
    readonly gpuMicros: string;
    readonly costNanoUsd: NanoText;
    readonly prefillNanoUsd: NanoText;
    readonly decodeNanoUsd: NanoText;
    readonly otherNanoUsd: NanoText;
    readonly nanoUsdPerGpuHour: NanoText;
  }[];
};

/** Moves a journal's shares of freezes (k0..k] to teams. Applied only if `claimed` = k0 and the chain has `hash` at k. */
export interface Claim {
  readonly k0: number;
  readonly k: number;
  readonly hash: string;
  /** Σ of the shares in (k0..k] for this journal = Σ lines = Σ increments' costNanoUsd. */
  readonly totalNanoUsd: NanoText;
  readonly lines: readonly ChargeLine[];
  readonly increments: readonly CellIncrement[];
  /** Per hour and pool, so that pending per pool = charged − claimed. */
  readonly pools: readonly { readonly hour: number; readonly pool: string; readonly nanoUsd: NanoText }[];
  /** Records whose last window is claimed by this message (or that never had one). */
  readonly records: readonly SettledRecordJson[];
}

/** The only write of a process: fsynced to its journal, then sent, never altered. */
export interface SyncMessage {
  /** UUID of the journal directory: the member's identity. */
  readonly journal: string;
  /** Start count of the journal; an older one than the store has seen is fenced. */
  readonly incarnation: number;
  /** The store's epoch this journal has been posting to. */
  readonly epoch: string;
  /** From 1, without gaps. */
  readonly seq: number;
  readonly prevHash: string;
  /** Hex SHA-256 over prevHash and the JSON of all other fields but `incarnation`, which a restarted process stamps anew when it sends. */
  readonly hash: string;
  /** Every window up to and including this one is published. Never decreases. */
  readonly sealedThrough: number;
  readonly publications: readonly Publication[];
  readonly healthChanges: readonly HealthChange[];
  /** Inclusive ranges of windows in which this process was not running. */
  readonly blind: readonly (readonly [from: number, to: number])[];
  readonly claim: Claim | null;
  /** True: this member leaves after this message. */
  readonly leave: boolean;
}

/** How the features of one window were turned into weights; fixed by the freeze for every process. FemtoText integers. */
export interface FrozenWeights {
  /** By deployment: coefficients in femtoseconds and r_b per bucket. */
  readonly deployments: Readonly<
    Record<
      string,
      {
        readonly a: string;
        readonly halfQ: string;
        readonly d: string;
        readonly k: string;
        readonly r: readonly string[];
        readonly profileSource: string;
      }
    >
  >;
  readonly e: readonly string[];
  /** True where ΣW was 0 and milliseconds in flight are the weight. */
  readonly byFlight: boolean;
}

/** A journal's share of one frozen window of one pool. */
export interface ShareWindow {
  readonly pool: string;
  readonly window: number;
  readonly nanoUsd: NanoText;
  readonly gpuMicros: string;
  /** Null when the share is zero because the publication was set aside (no facts, no busy time). */
  readonly weights: FrozenWeights | null;
  readonly nanoUsdPerGpuHour: NanoText;
  /** Where the window's busy time was read; absent in shares frozen before this was recorded. */
  readonly busySource?: BusySource;
}

/** What one freeze gave one journal. */
export interface ShareEntry {
  readonly k: number;
  /** Last window of the freeze. */
  readonly to: number;
  readonly hash: string;
  readonly totalNanoUsd: NanoText;
  readonly windows: readonly ShareWindow[];
}

/** Increments of the capacity books of one pool in one hour; decimal strings of integers. */
export interface BookIncrement {
  readonly hour: number;
  readonly pool: string;
  /** Deployment names of the pool, sorted, joined by `+`. */
  readonly deployments: string;
  readonly gpu: string;
  readonly metrics: Readonly<Partial<Record<BookMetric, string>>>;
}

export { BOOK_METRICS, type BookMetric };

/** State a freeze is computed from, read in one consistent snapshot. */
export interface FreezeInput {
  /** Last frozen window; null before the first member joined. */
  readonly frontier: number | null;
  readonly k: number;
  readonly hash: string;
  readonly boardVersion: number;
  readonly facts: FactBook;
  /** Store clock, epoch milliseconds. */
  readonly nowMs: number;
  /** True shortly after a failover: members bring back what the store may have lost, and the frontier stands until they had time to. */
  readonly isHeld?: boolean;
  /** Members that have not left. */
  readonly members: readonly Member[];
  /** Publications of the first windows beyond the frontier that have any, with their journal: of each window all or none. */
  readonly board: readonly { readonly journal: string; readonly publication: Publication }[];
  /** Last window that `board` was read for; null: it holds all there is. Never at or before the frontier. */
  readonly boardThrough: number | null;
  /** Health changes not older than needed: per journal and pool the last one at or before the frontier, and all after. */
  readonly health: readonly (HealthChange & { readonly journal: string })[];
}

export interface Member {
  readonly journal: string;
  readonly incarnation: number;
  readonly sealedThrough: number;
  /** aliveClock seconds since this member was last heard. */
  readonly silentSeconds: number;
  readonly blind: readonly (readonly [from: number, to: number])[];
}

/** Written by one script that compares and sets; every part or none. */
export interface FreezeCommit {
  readonly expected: {
    readonly frontier: number;
    readonly k: number;
    readonly boardVersion: number;
    readonly factsVersion: number;
  };
  readonly to: number;
  /** Hash of freeze k+1: SHA-256 over the previous hash and `contentDigest`. */
  readonly hash: string;
  /** Hex SHA-256 of the canonical JSON of end, books and shares: what the chain is recomputed from once they are gone. */
  readonly contentDigest: string;
  readonly books: readonly BookIncrement[];
  /** By journal. */
  readonly shares: Readonly<Record<string, ShareEntry>>;
  /** Members silent for longer than D, to be dropped. */
  readonly dropMembers: readonly string[];
}

/**
 * `ok` applied; `already` applied before; `behind` resend from `seq` + 1; `fenced` a newer incarnation or another hash under a
 * used number owns this journal; `foreign` the store's epoch is another one (restored or emptied): posting must stop.
 */
export type SyncStatus = 'ok' | 'already' | 'behind' | 'fenced' | 'foreign';

export interface SyncReply {
  readonly status: SyncStatus;
  readonly epoch: string;
  readonly nowMs: number;
  /** The journal's number and hash in the store. */
  readonly seq: number;
  readonly hash: string;
  readonly frontier: number | null;
  /** Freezes so far and the chain hash at the last one. */
  readonly k: number;
  readonly freezeHash: string;
  /** Freezes claimed by this journal. */
  readonly claimed: number;
  /** Null when the message had no claim; false: skipped, price again. */
  readonly claimApplied: boolean | null;
  /** Publications of this message dropped because their window was frozen. */
  readonly lateCount: number;
  /** Unclaimed shares in order of k, at most 64. A k between `claimed` and `sharesThrough` without an entry gave this journal nothing. */
  readonly shares: readonly ShareEntry[];
  /** Claims may reach up to here, or end with any entry of `shares`: the last freeze covered by them (all unless cut at 64). */
  readonly sharesThrough: { readonly k: number; readonly to: number; readonly hash: string };
  /** Journal ids of the live members, sorted: the first advances the frontier, the others only when it lags. */
  readonly members: readonly string[];
}
