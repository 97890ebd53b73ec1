// The narrow port that both stores implement for accounting, and the errors it rejects with. Not here: what its calls carry (settlement.ts).
import type { MessageText } from './message-text.ts';
import type { FactBook } from './pool-facts.ts';
import type { FreezeCommit, FreezeInput, SyncMessage, SyncReply } from './settlement.ts';

export interface StoreIdentity {
  /** Random id given when the store was created. */
  readonly epoch: string;
  readonly schema: number;
}

/** The accounting side of a store. All calls reject with StoreUnavailableError after the store's hard time limit. */
export interface SettlementStore {
  /** Connects, creates or migrates the schema; rejects with StoreSchemaError when the store is newer than this program. Safe to repeat. */
  open(): Promise<StoreIdentity>;
  /** Epoch of the books that are there; null where there are none, or while they are being rebuilt. Creates nothing in Redis. */
  readEpoch(): Promise<string | null>;
  /** Store clock, epoch milliseconds. */
  now(): Promise<number>;
  /** Registers the member if new (before serving): sealedThrough = max(frontier, window(now) − 1), blind before that; the first ever sets the frontier there. Safe to repeat. */
  join(member: { journal: string; incarnation: number }): Promise<SyncReply>;
  /** Applies a message at most once; safe to repeat. `text` is its own, where the caller has it at hand: what it says is kept as it is written. */
  sync(message: SyncMessage, text?: MessageText): Promise<SyncReply>;
  readFreezeInput(): Promise<FreezeInput>;
  /** Compare-and-set; `stale` changed nothing: read again. */
  commitFreeze(commit: FreezeCommit): Promise<'committed' | 'stale'>;
  /** Replaces the fact book when its version is still `expectedVersion`; the stored version becomes expectedVersion + 1. */
  putFacts(pools: FactBook['pools'], expectedVersion: number): Promise<'stored' | 'stale'>;
  close(): Promise<void>;
}

/** The store did not answer within its hard limit or refused the connection. */
export class StoreUnavailableError extends Error {
  override name = 'StoreUnavailableError';
}

/** The store's schema is newer than this program, or it is not ours. */
export class StoreSchemaError extends Error {
  override name = 'StoreSchemaError';
}
