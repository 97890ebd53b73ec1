// Calls to the store: what it last said, whether it answers, and when to try again. Not here: what is said to it (sync-loop.ts).
import type { Log } from '#domain/log.ts';
import type { SyncReply } from '#domain/settlement.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import type { WindowClock } from './window-clock.ts';

const FIRST_RETRY_MS = 100;
const RETRY_MAX_MS = 2000;

/** A breaker around the settlement store. */
export class StoreSession {
  readonly store: SettlementStore;
  readonly #clock: WindowClock;
  readonly #log: Log;
  #up: boolean | null = null;
  #retryDelayMs = 0;
  #retryAtMs = Number.NEGATIVE_INFINITY;
  #reply: SyncReply | null = null;
  #frontierMovedAtMs = Number.NEGATIVE_INFINITY;

  constructor(store: SettlementStore, clock: WindowClock, log: Log) {
    this.store = store;
    this.#clock = clock;
    this.#log = log;
  }

  /** False before the first answer and while the store does not answer. */
  get up(): boolean {
    return this.#up === true;
  }

  /** The latest answer to a join or a sync. */
  get reply(): SyncReply | null {
    return this.#reply;
  }

  /** Milliseconds since the frontier was last seen to move. */
  get frontierStillMs(): number {
    return this.#clock.monotonicMs() - this.#frontierMovedAtMs;
  }

  /** Runs a call; null when the store is unavailable, or was just now and it is too early to ask again. Other errors pass. */
  async call<T>(ask: (store: SettlementStore) => Promise<T>): Promise<T | null> {
    if (this.#clock.monotonicMs() < this.#retryAtMs) return null;
    try {
      const answer = await ask(this.store);
      if (this.#up === false) this.#log.info({}, 'the store answers again');
      this.#up = true;
      this.#retryDelayMs = 0;
      return answer;
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      if (this.#up !== false)
        this.#log.warn({ reason: error.message }, 'the store does not answer; settlement waits in the journal');
      this.#up = false;
      this.#retryDelayMs = Math.min(RETRY_MAX_MS, Math.max(FIRST_RETRY_MS, this.#retryDelayMs * 2));
      this.#retryAtMs = this.#clock.monotonicMs() + this.#retryDelayMs;
      return null;
    }
  }

  /** The same for a join or a sync: its reply sets the clock and becomes the latest. */
  async callForReply(ask: (store: SettlementStore) => Promise<SyncReply>): Promise<SyncReply | null> {
    const sentAtMs = this.#clock.monotonicMs();
    const reply = await this.call(ask);
    if (reply === null) return null;
    const receivedAtMs = this.#clock.monotonicMs();
    this.#clock.adjust(reply.nowMs, sentAtMs, receivedAtMs);
    if (reply.frontier !== this.#reply?.frontier) this.#frontierMovedAtMs = receivedAtMs;
    this.#reply = reply;
    return reply;
  }
}
