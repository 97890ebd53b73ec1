// One round of settlement: seal, journal, send, move the frontier, claim. Not here: timers (create-accounting.ts), joining (join-store.ts).
import type { BooksReader } from '#domain/books.ts';
import type { Log } from '#domain/log.ts';
import type { SettlementListener } from '#domain/settlement-listener.ts';
import type { SyncReply } from '#domain/settlement.ts';
import { AttemptRegistry } from './attempt-registry.ts';
import { buildClaim, type BuiltClaim, type ClaimReach, reachOfClaim, settlesThrough } from './claim.ts';
import { FreezeWitness } from './freeze-witness.ts';
import { advanceFrontier, type OnFreeze } from './frontier.ts';
import type { DeviceActivity } from './device-activity.ts';
import type { Journal } from './journal.ts';
import { markLateWork, readLateCount } from './late-work.ts';
import { replayJournal, windowRange } from './journal-replay.ts';
import type { LoggedMessage, MessageLog } from './message-log.ts';
import type { ProfileOf } from './profile-of.ts';
import { sealableThrough, type Sealing, sealWindows } from './seal.ts';
import type { SealedSlices } from './sealed-slices.ts';
import { runSliced, type SlicedWork } from './sliced-work.ts';
import type { StoreSession } from './store-session.ts';
import type { WatchReport } from './watch-report.ts';
import type { WindowClock } from './window-clock.ts';
import type { WorkEstimates } from './work-estimates.ts';

/** Everything a round works on. */
export interface SyncParts {
  readonly session: StoreSession;
  readonly journal: Journal;
  readonly messages: MessageLog;
  readonly registry: AttemptRegistry;
  readonly slices: SealedSlices;
  readonly watch: WatchReport;
  readonly estimates: WorkEstimates;
  readonly profileOf: ProfileOf;
  /** Sees every freeze that this process commits. */
  readonly onFreeze: OnFreeze;
  readonly clock: WindowClock;
  readonly log: Log;
  readonly listener: SettlementListener;
  readonly horizonMs: number;
  readonly silenceMs: number;
  /** Books of closed hours; without it nothing is told unmetered. */
  readonly books?: Pick<BooksReader, 'readBooks'> | undefined;
  /** What the engines' statistics and DCGM say, where this process asks them. */
  readonly activity?: DeviceActivity | undefined;
}

/** Counters since the start. */
export interface SyncCounters {
  /** Publications that came after their window was frozen: their tokens are kept, their cost is 0. */
  late: number;
  overEstimates: number;
  underEstimates: number;
  skippedClaims: number;
  /** The store was found to have lost acknowledged messages. */
  rollbacks: number;
  /** Messages sent without standing in the journal. */
  unjournaled: number;
}

/** With so many messages waiting, new ones are made less often and hold more windows each. */
const BACKLOG = 4;
const BACKLOG_INTERVAL_MS = 10_000;
/** Shares that settle no record are claimed at the latest after this time. */
const CLAIM_INTERVAL_MS = 10_000;
/** So many shares are claimed at once: a reply of the store holds no more than twice as many, and what it leaves out is not seen. */
const SHARES_WAITING_MAX = 32;
/** What waits longer goes on in the next round: sealing and the frontier have their turn. */
const CLAIMS_PER_ROUND_MAX = 8;
/** Another process moves the frontier when the first one has not for this long. */
const FRONTIER_PATIENCE_MS = 2000;

/** Owns the order of one process's writes to the store. Rounds must not overlap. */
export class SyncLoop {
  readonly counters: SyncCounters = {
    late: 0,
    overEstimates: 0,
    underEstimates: 0,
    skippedClaims: 0,
    rollbacks: 0,
    unjournaled: 0,
  };
  readonly #parts: SyncParts;
  readonly #witness: FreezeWitness;
  #stoppedBecause: string | null = null;
  #isForeign = false;
  #builtAtMs = Number.NEGATIVE_INFINITY;
  #claimedAtMs: number;
  #toldThrough = 0;
  #isLeaving = false;

  constructor(parts: SyncParts) {
    this.#parts = parts;
    const { journal, messages, clock } = parts;
    this.#witness = new FreezeWitness(journal, { epoch: () => messages.head.epoch, now: () => clock.epochMs() });
    this.#claimedAtMs = parts.clock.monotonicMs();
  }

  /** Why posting stopped, or null. */
  get stoppedBecause(): string | null {
    return this.#stoppedBecause;
  }

  /** Nothing more is sent; the journal keeps what waits. */
  stopPosting(reason: string): void {
    if (this.#stoppedBecause !== null) return;
    this.#stoppedBecause = reason;
    this.#parts.log.error({ reason }, 'settlement stopped posting to the store');
  }

  /** The store has other books than this journal, or none (empty epoch): nothing is sent until it has them again. */
  stopForeign(epoch: string): void {
    const own = this.#parts.messages.head.epoch ?? 'the books of the other journals of this host';
    this.#isForeign ||= this.#stoppedBecause === null;
    const lost = 'the store has lost its books: run inferometer ledger rebuild, or restore the store from a backup';
    const other = `the store has the epoch ${epoch}, this journal belongs to ${own}: run inferometer ledger rebuild if the store was emptied, restore it, or move the journal away to begin new books`;
    this.stopPosting(epoch === '' ? lost : other);
  }

  /** True while posting is stopped only because the books are not there. */
  get isForeign(): boolean {
    return this.#isForeign;
  }

  /** The store has this journal's books again. */
  resume(): void {
    this.#isForeign = false;
    this.#stoppedBecause = null;
    this.#parts.log.info({}, 'the store has the books of this journal again; posting goes on');
  }

  /**
   * Seals and journals what is due, in slices between which requests go on; needs no store, only that one was joined some day. `leave` says
   * goodbye.
   */
  buildMessage(how: { readonly leave: boolean } = { leave: false }): Promise<void> {
    return runSliced(this.#buildMessage(how), this.#parts.clock);
  }

  *#buildMessage(how: { readonly leave: boolean }): SlicedWork<void> {
    const { messages, registry, watch, slices, clock, horizonMs } = this.#parts;
    const { epoch, sealedThrough } = messages.head;
    // Books that are not there may be rebuilt: what happens meanwhile waits in the journal, as with a store that is down.
    const isStopped = this.#stoppedBecause !== null && !this.#isForeign;
    if (epoch === null || sealedThrough === null || isStopped) return;
    const nowMs = clock.monotonicMs();
    const backlog = messages.pendingCount >= BACKLOG && nowMs - this.#builtAtMs < BACKLOG_INTERVAL_MS;
    if (backlog && !how.leave) return;
    const sealNowMs = Math.min(clock.epochMs(), clock.storeEpochMs());
    const to = sealableThrough(registry, { sealedThrough, nowMs: sealNowMs, horizonMs });
    const claim = yield* this.#tryClaim(how.leave);
    if (to === sealedThrough && claim === null && !watch.pending && !how.leave) return;
    const sealing = yield* this.#seal(sealedThrough, to);
    const before = messages.head;
    const draft = { epoch, ...sealing, ...watch.take(), claim, leave: how.leave };
    const { seq, journaled, claims } = yield* messages.append(draft);
    if (!journaled) this.counters.unjournaled += 1;
    slices.add({ seq, ...windowRange(sealing, before), slices: sealing.slices, evictable: journaled });
    this.#builtAtMs = nowMs;
    if (claims) this.#claimedAtMs = nowMs;
    this.#isLeaving = how.leave;
  }

  /** Sends what waits, in order; false when something stays. */
  async sendPending(): Promise<boolean> {
    const { messages, journal, session } = this.#parts;
    await journal.flush();
    let saidGoodbye = false;
    while (messages.pendingCount > 0 && this.#stoppedBecause === null) {
      const entry = messages.read(messages.acknowledged + 1);
      if (entry === null) {
        this.stopPosting(`message ${messages.acknowledged + 1} is no longer in the journal`);
        return false;
      }
      // Verbatim, but for who sends it: a store fences older starts of this journal.
      const { incarnation } = journal.identity;
      const text = messages.readText(entry.message.seq) ?? undefined;
      const reply = await session.callForReply((store) => store.sync({ ...entry.message, incarnation }, text));
      if (reply === null) return false;
      this.#takeReply(reply, entry);
      saidGoodbye = entry.message.leave;
    }
    // A goodbye of an earlier run: the frontier would pass without this process until it is a member again.
    if (saidGoodbye && !this.#isLeaving && !(await this.refresh())) return false;
    return this.#stoppedBecause === null;
  }

  /** Moves the frontier where it is this process's turn; returns the number of freezes made. */
  async advance(): Promise<number> {
    const { session, journal, silenceMs, listener, books, onFreeze } = this.#parts;
    const { reply } = session;
    if (reply === null || this.#stoppedBecause !== null) return 0;
    const first = reply.members[0] === journal.identity.journal;
    if (!first && session.frontierStillMs < FRONTIER_PATIENCE_MS) return 0;
    const options = { silenceSeconds: silenceMs / 1000, witness: this.#witness, books, onFreeze };
    const progress = await session.call((store) => advanceFrontier(store, options, listener));
    return progress?.commits ?? 0;
  }

  /** Asks for the shares of freezes just made, without a numbered message; false when the store did not answer. */
  async refresh(): Promise<boolean> {
    const { session, journal } = this.#parts;
    const reply = await session.callForReply((store) => store.join(journal.identity));
    if (reply !== null) this.takeJoin(reply);
    return reply !== null;
  }

  /** Takes the answer to a join: a store that stands behind what it acknowledged lost writes, which must be known before anything is priced. */
  takeJoin(reply: SyncReply): void {
    if (reply.epoch !== this.#parts.messages.head.epoch) this.stopForeign(reply.epoch);
    else if (reply.seq < this.#parts.messages.acknowledged) this.#rollBack(reply.seq);
    else this.#dropClaimed(reply);
  }

  /** Claims until nothing is left that would settle a record or is due, or for so long as a round may. */
  async claim(): Promise<void> {
    for (let claims = 0; claims < CLAIMS_PER_ROUND_MAX; claims += 1) {
      if (this.#claimableThrough(false) === null) return;
      const before = this.#parts.session.reply?.claimed;
      await this.buildMessage();
      // A claim that could not be priced, or was skipped, has its next chance with the next round.
      if (!(await this.sendPending()) || this.#parts.session.reply?.claimed === before) return;
    }
  }

  *#seal(sealedThrough: number, to: number): SlicedWork<Sealing> {
    const { registry, estimates, profileOf, activity } = this.#parts;
    const told = activity?.take(to) ?? [];
    const sealing = yield* sealWindows({ registry, estimates, profileOf, sealedThrough, to, told });
    this.counters.overEstimates += sealing.overEstimates;
    this.counters.underEstimates += sealing.underEstimates;
    return sealing;
  }

  #claimableThrough(always: boolean): ClaimReach['through'] | null {
    const { session, messages, registry, clock, journal, slices } = this.#parts;
    const { reply } = session;
    // A claim stands in the journal before it is sent (message-log.ts). Only with every message answered is it known what is claimed.
    if (!journal.ok) return null;
    if (reply === null || messages.pendingCount > 0 || reply.sharesThrough.k <= reply.claimed) return null;
    const { through, isCut } = reachOfClaim(reply, slices);
    if (isCut || reply.shares.length > SHARES_WAITING_MAX) return through;
    const pays = reply.shares.some((entry) => entry.totalNanoUsd !== '0');
    const due = always || clock.monotonicMs() - this.#claimedAtMs >= CLAIM_INTERVAL_MS;
    if (pays && due) return through;
    for (const attempt of registry.all()) if (settlesThrough(attempt, through.to)) return through;
    return null;
  }

  *#tryClaim(always: boolean): SlicedWork<BuiltClaim | null> {
    const { session, slices, registry, log } = this.#parts;
    const through = this.#claimableThrough(always);
    if (through === null || session.reply === null) return null;
    const { claimed, shares } = session.reply;
    try {
      return yield* buildClaim({ k0: claimed, through, shares, slices, registry });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      log.error({ err: error, k0: claimed, k: through.k }, 'a claim could not be priced and waits');
      return null;
    }
  }

  #takeReply(reply: SyncReply, entry: LoggedMessage): void {
    const { seq } = entry.message;
    switch (reply.status) {
      case 'ok':
      case 'already':
        if (reply.status === 'ok') this.counters.late += reply.lateCount;
        this.#acknowledge(reply, entry);
        break;
      case 'behind':
        if (reply.seq >= seq - 1) this.stopPosting(`the store refuses message ${seq} of this journal`);
        else this.#rollBack(reply.seq);
        break;
      case 'fenced':
        this.stopPosting('another process writes under the identity of this journal');
        break;
      case 'foreign':
        this.stopForeign(reply.epoch);
        break;
    }
  }

  #acknowledge(reply: SyncReply, entry: LoggedMessage): void {
    const { messages, journal, clock, registry, listener } = this.#parts;
    const { seq, claim, publications } = entry.message;
    const lateCount = readLateCount(reply, publications);
    markLateWork(registry, { publications, slices: entry.slices, lateCount });
    const claimApplied = claim === null ? null : (reply.claimApplied ?? reply.claimed >= claim.k);
    journal.append({ t: 'ack', atMs: clock.epochMs(), seq, claimApplied, lateCount });
    messages.acknowledge(seq);
    if (claim !== null && claimApplied === true) {
      registry.applyClaim(claim, new Map(entry.prices.map(([key, price]) => [key, BigInt(price)])));
      // A message sent again after the store lost it was told before.
      if (seq > this.#toldThrough) listener.claimApplied(claim.increments, claim.records);
      this.#toldThrough = Math.max(this.#toldThrough, seq);
    } else if (claim !== null) {
      this.counters.skippedClaims += 1;
    }
    this.#dropClaimed(reply);
  }

  /** Slices of windows whose shares are claimed, or that gave this journal nothing, are not needed again. */
  #dropClaimed(reply: SyncReply): void {
    const { slices, messages } = this.#parts;
    if (messages.pendingCount > 0) return;
    const unclaimed = reply.shares.flatMap((entry) => entry.windows.map((share) => share.window));
    const before = unclaimed.reduce((least, window) => Math.min(least, window - 1), reply.sharesThrough.to);
    slices.dropThrough(before);
  }

  /** A failover lost what the store had acknowledged: charges are restored from the journal and the messages sent again verbatim. */
  #rollBack(seq: number): void {
    const { messages, journal, clock, registry, slices, log } = this.#parts;
    log.warn({ from: seq, to: messages.acknowledged }, 'the store lost acknowledged messages; they are sent again');
    this.counters.rollbacks += 1;
    journal.append({ t: 'rollback', atMs: clock.epochMs(), seq });
    const replayed = new AttemptRegistry();
    slices.clear();
    replayJournal(journal, { registry: replayed, slices, acknowledgedMax: seq });
    registry.restoreFrom(replayed);
    messages.rollBackTo(seq);
  }
}
