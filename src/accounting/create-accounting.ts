// The accounting plane of one process: metering in, settlement out, with its timers. Not here: any rule of settlement (sync-loop.ts).
import type { Log } from '#domain/log.ts';
import type { Metering } from '#domain/metering.ts';
import type { SettlementListener } from '#domain/settlement-listener.ts';
import { type SettlementStore, StoreUnavailableError } from '#domain/settlement-store.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { windowOf } from '#domain/window.ts';
import { type AccountingStatus, readStatus } from './accounting-status.ts';
import { AttemptRegistry } from './attempt-registry.ts';
import { applyWantedFacts, findBooksAgain, type JoinOptions, joinStore } from './join-store.ts';
import type { FsyncMode } from './group-sync.ts';
import { openJournal } from './journal.ts';
import { endRest, markAtRest } from './journal-rest.ts';
import { MessageLog } from './message-log.ts';
import { createMetering } from './meter-attempts.ts';
import type { WantedFacts } from './pool-facts-from-config.ts';
import type { ProfileLearner } from './profile-learner.ts';
import type { ProfileOf } from './profile-of.ts';
import { restoreRun } from './restore-run.ts';
import { SealedSlices } from './sealed-slices.ts';
import { StoreSession } from './store-session.ts';
import { SyncLoop, type SyncParts } from './sync-loop.ts';
import { WatchReport } from './watch-report.ts';
import type { WindowClock } from './window-clock.ts';
import { WorkEstimates } from './work-estimates.ts';

/** `books` and `activity` as SyncParts says. */
export interface AccountingOptions extends Pick<SyncParts, 'books' | 'activity'> {
  readonly store: SettlementStore;
  /** Directory of this journal alone. */
  readonly journalDir: string;
  readonly fsync: FsyncMode;
  /** See JournalOptions. */
  readonly journalRetentionMs?: number;
  readonly journalMaxBytes?: number;
  /** H: a window is sealed at the latest this long after its end. */
  readonly horizonMs: number;
  /** D: a member silent for longer no longer holds the frontier. */
  readonly silenceMs: number;
  readonly clock: WindowClock;
  readonly log: Log;
  /** What the configuration says now, by pool. */
  readonly wantedFacts: () => ReadonlyMap<string, WantedFacts>;
  /** See JoinOptions; default none. */
  readonly leftPools?: JoinOptions['leftPools'];
  /** See JoinOptions. */
  readonly onFacts?: JoinOptions['onFacts'];
  /** See JoinOptions; default none. */
  readonly hostEpochs?: JoinOptions['hostEpochs'];
  readonly listener: SettlementListener;
  readonly profileOf: ProfileOf;
  /** Learns from what is frozen; absent: nothing is learned. */
  readonly learner?: Pick<ProfileLearner, 'observe' | 'tick'>;
  /** Time between rounds; default 1000. Infinity: rounds are run by `syncNow` alone. */
  readonly syncIntervalMs?: number;
}

export interface Accounting {
  readonly metering: Metering;
  /** Resolves when the store was joined once and the pool facts are stored. Rejects with StoreSchemaError. */
  readonly ready: Promise<void>;
  /**
   * Joins the store and begins the rounds. With the store unavailable it resolves all the same and joining goes on in the background: requests
   * are metered and journaled meanwhile. Rejects with StoreSchemaError.
   */
  start(): Promise<void>;
  /** Runs a round at once, after one that is under way; for reports that wait. */
  syncNow(): Promise<void>;
  /** Journals what running attempts did since the last time; by its own timer every second. */
  writeProgress(): void;
  /** Brings the pool facts to the configuration after a reload; returns the refusals. Rejects with StoreUnavailableError. */
  applyFacts(): Promise<readonly string[]>;
  reportHealth(pool: string, healthy: boolean): void;
  /**
   * Seals, freezes and claims everything that ended, then leaves. Takes a few seconds, at most `timeoutMs` (default 6000), which a store that is
   * away just now has to come back; what could not be posted stays in the journal. Call it when no attempt runs any more. Resolves to what is left.
   */
  drain(timeoutMs?: number): Promise<DrainResult>;
  /** Stops at once, as a crash would: without a goodbye, everything in the journal. */
  stop(): void;
  status(): AccountingStatus;
  /** Ended records whose cost is not settled, newest last. */
  unsettled(filter?: (record: UsageRecord) => boolean): UsageRecord[];
}

/** What draining could not settle. */
export interface DrainResult {
  readonly unsettledRecords: number;
  readonly unsentMessages: number;
}

const SYNC_INTERVAL_MS = 1000;
const PROGRESS_INTERVAL_MS = 1000;
const DRAIN_TIMEOUT_MS = 6000;
const DRAIN_STEP_MS = 200;
/** About 100 MB of slices; more are read from the journal again. */
const SLICES_IN_MEMORY = 100_000;
/** Attempts in one progress line: a torn line loses no more than these. */
const PROGRESS_LINE_ATTEMPTS = 200;
/** A gap between rounds that means the process was stopped, not busy. */
const PAUSE_MS = 5000;

/**
 * Opens and replays the journal, and builds the plane. Throws JournalLockedError when another process holds the journal, and the system's
 * error when its directory cannot be written.
 */
export function createAccounting(options: AccountingOptions): Accounting {
  return new RunningAccounting(options);
}

class RunningAccounting implements Accounting {
  readonly metering: Metering;
  readonly ready: Promise<void>;
  readonly #options: AccountingOptions;
  readonly #parts: SyncParts;
  readonly #loop: SyncLoop;
  readonly #joinOptions: JoinOptions;
  readonly #settleReady: PromiseWithResolvers<void>;
  #joined = false;
  #stopped = false;
  #round: Promise<void> | null = null;
  #roundAtMs: number | null = null;
  #timers: NodeJS.Timeout[] = [];

  constructor(options: AccountingOptions) {
    const { clock, log, profileOf } = options;
    this.#options = options;
    const { fsync, journalDir: dir, journalRetentionMs: retentionMs, journalMaxBytes: maxBytes } = options;
    const journal = openJournal({ dir, fsync, retentionMs, maxBytes, clock, log });
    endRest(dir);
    const messages = new MessageLog(journal);
    const registry = new AttemptRegistry();
    const estimates = new WorkEstimates();
    const slices = new SealedSlices(SLICES_IN_MEMORY, (seq) => messages.readSlices(seq));
    const { horizonMs, silenceMs, listener, books, activity } = options;
    this.#parts = {
      session: new StoreSession(options.store, clock, log),
      watch: new WatchReport(),
      journal,
      messages,
      registry,
      slices,
      estimates,
      profileOf,
      onFreeze: (input, to) => options.learner?.observe(input, to),
      clock,
      log,
      listener,
      horizonMs,
      silenceMs,
      books,
      activity,
    };
    this.#loop = new SyncLoop(this.#parts);
    const lastAliveMs = restoreRun(this.#parts);
    const { wantedFacts, leftPools, onFacts, hostEpochs = () => new Set() } = options;
    const told = { wantedFacts, leftPools, onFacts };
    this.#joinOptions = { parts: this.#parts, loop: this.#loop, ...told, hostEpochs, lastAliveMs };
    this.metering = createMetering({ clock, journal, registry, estimates, profileOf });
    this.#settleReady = Promise.withResolvers<void>();
    this.ready = this.#settleReady.promise;
    // Whoever awaits `ready` sees the rejection; nobody has to.
    this.ready.catch(() => {});
  }

  async start(): Promise<void> {
    await this.syncNow();
    if (this.#stopped) return;
    this.#timers.push(setInterval(() => this.writeProgress(), PROGRESS_INTERVAL_MS).unref());
    const intervalMs = this.#options.syncIntervalMs ?? SYNC_INTERVAL_MS;
    if (Number.isFinite(intervalMs))
      this.#timers.push(setInterval(() => void (this.#round ?? this.#tryRound()), intervalMs).unref());
  }

  async syncNow(): Promise<void> {
    await this.#round;
    await this.#runRound();
  }

  async applyFacts(): Promise<readonly string[]> {
    const result = await applyWantedFacts(this.#joinOptions);
    if (result === null) throw new StoreUnavailableError('the store does not answer; the new prices are not in force');
    return result.refusals;
  }

  reportHealth(pool: string, healthy: boolean): void {
    this.#parts.watch.reportHealth(pool, healthy, windowOf(this.#options.clock.epochMs()));
  }

  async drain(timeoutMs = DRAIN_TIMEOUT_MS): Promise<DrainResult> {
    const { registry, messages, journal } = this.#parts;
    for (const timer of this.#timers) clearInterval(timer);
    let waitedMs = 0;
    const waitAgain = async (): Promise<boolean> => {
      if (waitedMs >= timeoutMs || this.#loop.stoppedBecause !== null) return false;
      waitedMs += DRAIN_STEP_MS;
      await delay(DRAIN_STEP_MS);
      return true;
    };
    await this.#tryRound();
    while ((registry.size > 0 || messages.pendingCount > 0) && (await waitAgain())) await this.#tryRound();
    this.#stopped = true;
    await this.#loop.buildMessage({ leave: true });
    while (this.#joined && !(await this.#loop.sendPending()) && messages.pendingCount > 0 && (await waitAgain()));
    const left = { unsettledRecords: registry.size, unsentMessages: messages.pendingCount };
    if (left.unsettledRecords > 0 || left.unsentMessages > 0) {
      this.#options.log.warn(left, 'not everything was settled; the journal keeps the rest for the next start');
    } else if (this.#joined && registry.parkedCount === 0) {
      markAtRest(this.#options.journalDir, this.#options.clock.epochMs(), this.#options.log);
    }
    await journal.close();
    return left;
  }

  stop(): void {
    if (this.#stopped) return;
    for (const timer of this.#timers) clearInterval(timer);
    this.#stopped = true;
    this.#parts.journal.abandon();
  }

  status(): AccountingStatus {
    return readStatus(this.#parts, this.#loop, this.#options.wantedFacts);
  }

  unsettled(filter: (record: UsageRecord) => boolean = () => true): UsageRecord[] {
    const found: UsageRecord[] = [];
    for (const { record, late } of this.#parts.registry.all()) {
      // That nothing was late is known only once the last of it was sent.
      if (record !== null && filter(record)) found.push(late === true ? { ...record, late } : record);
    }
    return found;
  }

  /** A round whose failure, such as a store of a newer schema, is logged and stops nothing else. */
  async #tryRound(): Promise<void> {
    try {
      await this.syncNow();
    } catch (error) {
      this.#options.log.error({ err: error }, 'a round of settlement failed and is tried again');
    }
  }

  #runRound(): Promise<void> {
    this.#round ??= this.#settle().finally(() => {
      this.#round = null;
    });
    return this.#round;
  }

  async #settle(): Promise<void> {
    if (this.#stopped) return;
    this.#noticePause();
    const loop = this.#loop;
    if (loop.isForeign && (await findBooksAgain(this.#joinOptions))) this.#joined = false;
    if (!this.#joined && !loop.isForeign) await this.#join();
    await loop.buildMessage();
    if (!this.#joined || this.#stopped) return;
    if (await loop.sendPending()) {
      const frozen = await loop.advance();
      if (frozen > 0 && this.#parts.registry.size > 0) await loop.refresh();
      await loop.claim();
      await this.#options.learner?.tick();
    }
    this.#tidyJournal();
  }

  async #join(): Promise<void> {
    try {
      this.#joined = await joinStore(this.#joinOptions);
    } catch (error) {
      this.#settleReady.reject(error);
      throw error;
    }
    if (this.#joined) this.#settleReady.resolve();
  }

  /** A process that was stopped (a suspended machine, SIGSTOP) did not watch its engines. */
  #noticePause(): void {
    const nowMs = this.#options.clock.epochMs();
    const intervalMs = this.#options.syncIntervalMs ?? SYNC_INTERVAL_MS;
    if (this.#roundAtMs !== null && nowMs - this.#roundAtMs > intervalMs + PAUSE_MS) {
      this.#parts.watch.addBlind(windowOf(this.#roundAtMs) + 1, windowOf(nowMs) - 1);
    }
    this.#roundAtMs = nowMs;
  }

  writeProgress(): void {
    const { registry, journal, clock } = this.#parts;
    const running = [...registry.unsealed()].flatMap((attempt) =>
      attempt.record === null && attempt.features !== null
        ? [[attempt.recordId, attempt.features.takeProgress()] as const]
        : [],
    );
    const atMs = clock.epochMs();
    for (let from = 0; from < running.length; from += PROGRESS_LINE_ATTEMPTS) {
      journal.append({ t: 'progress', atMs, attempts: running.slice(from, from + PROGRESS_LINE_ATTEMPTS) });
    }
  }

  #tidyJournal(): void {
    const { journal, messages, registry } = this.#parts;
    if (this.#stopped) return;
    journal.rotateWhenDue(() => messages.head);
    const needed = Math.min(journal.segment, registry.oldestSegment(), messages.segmentOf(messages.acknowledged));
    for (const segment of journal.releaseBefore(needed)) messages.dropBefore(segment + 1);
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
