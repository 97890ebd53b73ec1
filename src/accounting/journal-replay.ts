// Reads the journal back: which messages exist, what the store took of them, and every attempt that is not settled.
// Not here: what is done about attempts that were cut by our death (interrupted.ts), files (journal.ts).
import type { SyncMessage } from '#domain/settlement.ts';
import { AttemptFeatures } from './attempt-features.ts';
import type { AttemptRegistry } from './attempt-registry.ts';
import type { Journal } from './journal.ts';
import type { LineLocation } from './journal-lines.ts';
import type { JournalEntry, JournalHead } from './journal-entry.ts';
import { addSealed } from './late-facts.ts';
import { markLateWork } from './late-work.ts';
import { fromSliceLine, type SealedSlices } from './sealed-slices.ts';
import { type AttemptIdentity, endRecord, trackAttempt, trackUnsent } from './tracked-attempt.ts';
import { windowsOf } from './window-slices.ts';

/** One message as the journal has it. */
export interface JournaledMessage {
  readonly seq: number;
  readonly hash: string;
  readonly sealedThrough: number;
  readonly leave: boolean;
  /** Null where it waits for the disk, and memory alone holds it. */
  readonly location: LineLocation | null;
}

/** What replay found. */
export interface ReplayedJournal {
  readonly head: JournalHead;
  readonly messages: readonly JournaledMessage[];
  /** Last message that the store acknowledged. */
  readonly acknowledged: number;
  /** Epoch ms of the last time-stamped line; null in a new journal. */
  readonly lastAliveMs: number | null;
}

/**
 * Restores `registry` and `slices` (both empty) from the journal's lines. Acknowledgements after a `rollback` line, and those beyond
 * `acknowledgedMax`, do not count: the store no longer has what they said.
 */
export function replayJournal(
  journal: Journal,
  target: { readonly registry: AttemptRegistry; readonly slices: SealedSlices; readonly acknowledgedMax?: number },
): ReplayedJournal {
  const verdicts = readVerdicts(journal, target.acknowledgedMax ?? Number.MAX_SAFE_INTEGER);
  const state = new ReplayState(journal, target.registry, target.slices, verdicts);
  for (const { entry, location } of journal.entries()) state.take(entry, location);
  return {
    head: state.head,
    messages: state.messages,
    acknowledged: verdicts.acknowledged,
    lastAliveMs: state.lastAliveMs,
  };
}

/** A journal that has sent nothing yet. */
export function newHead(journal: string): JournalHead {
  return { journal, seq: 0, hash: '', sealedThrough: null, epoch: null };
}

interface Verdicts {
  readonly acknowledged: number;
  /** By `claimKey`: true where the store applied the message's claim. */
  readonly claims: ReadonlyMap<string, boolean>;
  /** By `claimKey`, of acknowledged messages: how many publications came too late, or null where that is not known; absent: none. */
  readonly lateCounts: ReadonlyMap<string, number | null>;
}

function claimKey(journal: string, seq: number): string {
  return `${seq}@${journal}`;
}

function readVerdicts(journal: Journal, acknowledgedMax: number): Verdicts {
  const claims = new Map<string, boolean>();
  const lateCounts = new Map<string, number | null>();
  let current = journal.identity.journal;
  let acknowledged = 0;
  let highest = 0;
  for (const { entry } of journal.entries()) {
    if (entry.t === 'head' && entry.head.journal !== current) {
      current = entry.head.journal;
      acknowledged = 0;
      highest = 0;
    } else if (entry.t === 'ack' && (entry.seq <= acknowledgedMax || current !== journal.identity.journal)) {
      acknowledged = Math.max(acknowledged, entry.seq);
      highest = Math.max(highest, entry.seq);
      if (entry.claimApplied !== null) claims.set(claimKey(current, entry.seq), entry.claimApplied);
      const { lateCount = null } = entry;
      if (lateCount === 0) lateCounts.delete(claimKey(current, entry.seq));
      else lateCounts.set(claimKey(current, entry.seq), lateCount);
    } else if (entry.t === 'rollback') {
      acknowledged = Math.min(acknowledged, entry.seq);
      for (let seq = entry.seq + 1; seq <= highest; seq += 1) {
        claims.delete(claimKey(current, seq));
        lateCounts.delete(claimKey(current, seq));
      }
    }
  }
  return { acknowledged, claims, lateCounts };
}

class ReplayState {
  readonly messages: JournaledMessage[] = [];
  head: JournalHead;
  lastAliveMs: number | null = null;
  readonly #registry: AttemptRegistry;
  readonly #slices: SealedSlices;
  readonly #verdicts: Pick<Verdicts, 'claims' | 'lateCounts'>;
  readonly #journal: Journal;

  constructor(
    journal: Journal,
    registry: AttemptRegistry,
    slices: SealedSlices,
    verdicts: Pick<Verdicts, 'claims' | 'lateCounts'>,
  ) {
    this.head = newHead(journal.identity.journal);
    this.#journal = journal;
    this.#registry = registry;
    this.#slices = slices;
    this.#verdicts = verdicts;
  }

  /** `location` null: the line waits for the disk, and will stand in the present segment or a later one. */
  take(entry: JournalEntry, location: LineLocation | null): void {
    const segment = location?.segment ?? this.#journal.segment;
    switch (entry.t) {
      case 'head':
        // Another UUID counts from 1 again.
        if (entry.head.journal !== this.head.journal) this.messages.length = 0;
        // Its time is no sign of life: the first of a run is written before the store's clock is known.
        if (entry.head.journal !== this.head.journal || entry.head.seq >= this.head.seq) this.head = entry.head;
        break;
      case 'dispatch':
        this.#dispatch(entry.start, segment);
        break;
      case 'progress':
        this.#alive(entry.atMs);
        for (const [recordId, facts] of entry.attempts) {
          const attempt = this.#registry.get(recordId);
          if (attempt?.record === null) attempt.features?.restoreProgress(facts);
        }
        break;
      case 'end':
        this.#end(entry);
        break;
      case 'unsent':
        this.#registry.add(trackUnsent(entry.record, segment));
        break;
      case 'message':
        this.#message(entry, location);
        break;
      case 'ack':
      case 'rollback':
      case 'facts':
      case 'frozen':
        this.#alive(entry.atMs);
        break;
      case 'freeze':
        break;
    }
  }

  #alive(atMs: number): void {
    this.lastAliveMs = Math.max(this.lastAliveMs ?? atMs, atMs);
  }

  #dispatch(start: AttemptIdentity, segment: number): void {
    this.#alive(start.startMs);
    const features = new AttemptFeatures(start.startMs, start.shape.work === 'duration');
    this.#registry.add(trackAttempt(start, features, segment));
  }

  #end(entry: Extract<JournalEntry, { t: 'end' }>): void {
    const attempt = this.#registry.get(entry.recordId);
    if (attempt === undefined || attempt.start === null || attempt.record !== null) return;
    const record = endRecord(attempt.start, entry.ending);
    attempt.record = record;
    attempt.final = entry.final;
    attempt.features = AttemptFeatures.restore(entry.wire, attempt.start.shape.work === 'duration');
    attempt.lastWindow = windowsOf({ startMs: entry.wire.startMs, endMs: entry.wire.endMs ?? entry.wire.startMs }).last;
    this.#alive(record.endedAtMs);
    this.#registry.markSealedThrough(attempt, this.head.sealedThrough ?? Number.NEGATIVE_INFINITY);
  }

  #message(entry: Extract<JournalEntry, { t: 'message' }>, location: LineLocation | null): void {
    const { message } = entry;
    const slices = entry.slices.map(fromSliceLine);
    const { seq, hash, sealedThrough, epoch } = message;
    this.#slices.add({ seq, ...windowRange(message, this.head), slices, evictable: location !== null });
    this.messages.push({ seq, hash, sealedThrough, leave: message.leave, location });
    this.head = { journal: message.journal, seq, hash, sealedThrough, epoch };
    for (const slice of slices) {
      const attempt = this.#registry.get(slice.recordId);
      if (attempt === undefined) continue;
      addSealed(attempt.sealed, slice.features);
      const { d, prefillSteps } = attempt.sealed;
      const sequences = attempt.start?.shape.sequences ?? 1;
      attempt.outputSealed = d > 0 || prefillSteps > 0 ? d + sequences : 0;
    }
    const key = claimKey(message.journal, seq);
    const { claims, lateCounts } = this.#verdicts;
    const lateCount = lateCounts.get(key);
    if (lateCount !== undefined) {
      markLateWork(this.#registry, { publications: message.publications, slices: entry.slices, lateCount });
    }
    for (const attempt of this.#registry.unsealed()) {
      if (attempt.record !== null) this.#registry.markSealedThrough(attempt, sealedThrough);
      else attempt.features?.dropBefore((sealedThrough + 1) * 1000);
    }
    if (message.claim !== null && claims.get(key) === true) {
      this.#registry.applyClaim(message.claim, new Map(entry.prices.map(([key, price]) => [key, BigInt(price)])));
    }
  }
}

/** Windows that a message sealed, by the head before it. */
export function windowRange(
  message: Pick<SyncMessage, 'sealedThrough'>,
  before: JournalHead,
): { readonly fromWindow: number; readonly toWindow: number } {
  return {
    fromWindow: (before.sealedThrough ?? Number.NEGATIVE_INFINITY) + 1,
    toWindow: message.sealedThrough,
  };
}
