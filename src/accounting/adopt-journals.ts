// Journals whose process died without a goodbye, found below `journal.dir` and brought to rest by a living process: messages sent verbatim,
// open attempts ended as interrupted, shares claimed, the member taken out. Not here: how a journal is settled (create-accounting.ts).
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { Accounting } from './create-accounting.ts';
import { JournalLockedError } from './journal-lock.ts';
import { readRest, removeAtRest } from './journal-rest.ts';
import { listJournals } from './journal-slots.ts';

export interface AdoptionOptions {
  /** `journal.dir`. */
  readonly root: string;
  /** Opens and replays a journal; throws JournalLockedError while its process lives. */
  readonly open: (dir: string) => Accounting;
  /** How often this process has seen the store lose acknowledged messages: journals at rest are then asked again. */
  readonly rollbacks: () => number;
  /** Whether the store has lost the books of this process. */
  readonly awaitsBooks: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** A journal at rest stays this long for `ledger rebuild`; at least 15 minutes. */
  readonly retentionMs: number;
  /** Time between looks; default 1000. */
  readonly intervalMs?: number;
}

/** What adopted journals still owe, in sum. */
export interface AdoptionStatus {
  readonly journals: number;
  readonly unsentMessages: number;
  readonly unsettledRecords: number;
  readonly parkedRecords: number;
  readonly lateCount: number;
}

const LOOK_INTERVAL_MS = 1000;
const STEP_MS = 200;
/** A journal at rest stays at least this long, so that a store that loses its latest writes can be healed from it (as segments are). */
const REST_KEPT_MS = 15 * 60_000;
/** A journal that cannot be settled (another store's, damaged) is tried again after this time. */
const RETRY_MS = 60_000;
/** Journals settled at a time, so that replaying them does not hold up requests. */
const AT_ONCE_MAX = 2;

/** Looks for orphans by a timer; owns those it has taken until they are at rest. */
export class JournalAdopter {
  readonly #options: AdoptionOptions;
  readonly #adopted = new Map<string, Accounting>();
  readonly #running = new Set<Promise<void>>();
  readonly #retryAtMs = new Map<string, number>();
  #late = 0;
  #rollbacks = 0;
  #awaitedBooks = false;
  #askedAgain = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;

  constructor(options: AdoptionOptions) {
    this.#options = options;
  }

  /** Looks now and by timer from now on. */
  start(): void {
    if (this.#timer !== undefined || this.#isStopping) return;
    this.look();
    this.#timer = setInterval(() => this.look(), this.#options.intervalMs ?? LOOK_INTERVAL_MS).unref();
  }

  /** Takes every orphan there is room for. Never throws; adoption goes on in the background. */
  look(): void {
    const { root, log, awaitsBooks } = this.#options;
    // Orphans of the same books could not be settled either.
    if (this.#awaitedBooks && !awaitsBooks()) this.#retryAtMs.clear();
    this.#awaitedBooks = awaitsBooks();
    try {
      for (const dir of listJournals(root)) if (this.#running.size < AT_ONCE_MAX && this.#isDue(dir)) this.#take(dir);
    } catch (error) {
      log.error({ err: error, root }, 'journals of dead processes could not be looked for');
    }
  }

  /** Stops looking and lets adoptions end for at most `timeoutMs`; the rest stays in their journals. Resolves to what is left. */
  async stop(timeoutMs: number): Promise<AdoptionStatus> {
    clearInterval(this.#timer);
    this.#isStopping = true;
    let timer: NodeJS.Timeout | undefined;
    const limit = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.allSettled(this.#running), limit]);
    clearTimeout(timer);
    const left = this.status();
    this.abandon();
    return left;
  }

  /** Stops at once, as a crash would. */
  abandon(): void {
    clearInterval(this.#timer);
    this.#isStopping = true;
    for (const accounting of this.#adopted.values()) accounting.stop();
    this.#adopted.clear();
  }

  status(): AdoptionStatus {
    const sum = { journals: 0, unsentMessages: 0, unsettledRecords: 0, parkedRecords: 0, lateCount: this.#late };
    for (const accounting of this.#adopted.values()) {
      const status = accounting.status();
      sum.journals += 1;
      sum.unsentMessages += status.journalPending;
      sum.unsettledRecords += status.unsettledRecords;
      sum.parkedRecords += status.parkedRecords;
      sum.lateCount += status.lateCount;
    }
    return sum;
  }

  /** Records of adopted journals whose cost is not settled. */
  unsettled(filter?: (record: UsageRecord) => boolean): UsageRecord[] {
    return [...this.#adopted.values()].flatMap((accounting) => accounting.unsettled(filter));
  }

  /** Orphans at once; journals at rest after a failover, and once more before they are removed. */
  #isDue(dir: string): boolean {
    const { clock, rollbacks } = this.#options;
    if (this.#adopted.has(dir) || clock.monotonicMs() < (this.#retryAtMs.get(dir) ?? Number.NEGATIVE_INFINITY))
      return false;
    if (rollbacks() !== this.#rollbacks) {
      this.#rollbacks = rollbacks();
      this.#askedAgain = new Set();
    }
    const restMs = readRest(dir);
    if (restMs === null) return true;
    return (this.#rollbacks > 0 && !this.#askedAgain.has(dir)) || this.#isOld(restMs);
  }

  #isOld(restMs: number): boolean {
    const { clock, retentionMs } = this.#options;
    return clock.epochMs() - restMs >= Math.max(REST_KEPT_MS, retentionMs);
  }

  #take(dir: string): void {
    const { open, log, clock } = this.#options;
    const restMs = readRest(dir);
    let accounting: Accounting;
    try {
      accounting = open(dir);
    } catch (error) {
      if (error instanceof JournalLockedError) return;
      this.#retryAtMs.set(dir, clock.monotonicMs() + RETRY_MS);
      log.error({ err: error, dir }, 'the journal of a dead process cannot be opened; tried again in a minute');
      return;
    }
    log.info(
      { dir },
      restMs === null ? 'adopted the journal of a dead process' : 'asks the store about a journal at rest',
    );
    this.#adopted.set(dir, accounting);
    const settled = this.#settle(dir, accounting, restMs)
      .catch((error: unknown) => {
        this.#retryAtMs.set(dir, clock.monotonicMs() + RETRY_MS);
        log.error({ err: error, dir }, 'an adopted journal could not be settled; tried again in a minute');
        accounting.stop();
      })
      .finally(() => {
        this.#late += accounting.status().lateCount;
        this.#adopted.delete(dir);
        this.#running.delete(settled);
      });
    this.#running.add(settled);
  }

  async #settle(dir: string, accounting: Accounting, restMs: number | null): Promise<void> {
    const { log, root } = this.#options;
    await accounting.start();
    for (let status = accounting.status(); !this.#isStopping; status = accounting.status()) {
      if (status.stoppedBecause !== null) throw new Error(status.stoppedBecause);
      if (status.frontier !== null && status.unsettledRecords === 0 && status.journalPending === 0) break;
      await delay(STEP_MS);
      if (this.#adopted.has(dir)) await accounting.syncNow();
    }
    // A process that ends leaves what is not at rest to the next one.
    if (!this.#adopted.has(dir)) return;
    const left = await accounting.drain(0);
    this.#askedAgain.add(dir);
    if (left.unsettledRecords > 0 || left.unsentMessages > 0) return;
    log.info({ dir }, 'the adopted journal is at rest: everything in it is settled');
    if (restMs !== null && this.#isOld(restMs) && dir !== root && !removeAtRest(dir))
      log.info({ dir }, 'a journal at rest was taken up again');
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
