// The numbered messages of this process: made once, journaled, never altered, sent in order, sent again when the store lost them.
// Not here: what goes into them (sync-loop.ts), when they are sent (sync-loop.ts).
import { createHash } from 'node:crypto';
import { type MessageText, separatePieces } from '#domain/message-text.ts';
import type { SyncMessage, SyncReply } from '#domain/settlement.ts';
import type { BuiltClaim } from './claim.ts';
import { splitClaim } from './claim-text.ts';
import type { Journal } from './journal.ts';
import { encodePieces, type JournalEntry, type JournalHead } from './journal-entry.ts';
import type { JournalIdentity } from './journal-identity.ts';
import type { LineLocation } from './journal-lines.ts';
import { newHead, type ReplayedJournal } from './journal-replay.ts';
import { fromSliceLine, type SealedSlice, type SliceLine, toSliceLine } from './sealed-slices.ts';
import { eachInSteps, gatherInSteps, type SlicedWork, stringifyInSteps } from './sliced-work.ts';

/** What a message says, before it is numbered. */
export type MessageDraft = Pick<
  SyncMessage,
  'epoch' | 'sealedThrough' | 'publications' | 'healthChanges' | 'blind' | 'leave'
> & {
  readonly claim: BuiltClaim | null;
  /** What it seals; stays in the journal. */
  readonly slices: readonly SealedSlice[];
};

/** A message with what the journal keeps beside it. */
export type LoggedMessage = Extract<JournalEntry, { t: 'message' }>;

interface Kept {
  readonly seq: number;
  /** Null where the disk had not taken it when it was made. */
  readonly location: LineLocation | null;
  /** Journal segment written when it was made. */
  readonly segment: number;
  /** Null where the journal alone holds it. */
  entry: LoggedMessage | null;
  /** Of its message; null where `entry` is, and where an earlier start made it. */
  text: MessageText | null;
}

interface NumberedMessage {
  readonly message: SyncMessage;
  /** All of it, in bytes: what is journaled. */
  readonly json: readonly Uint8Array[];
  /** The same for the store. */
  readonly text: MessageText;
}

const COMMA = Buffer.from(',');

/** Journaled messages beyond this many wait on disk only. */
const IN_MEMORY_MAX = 8;

type UnhashedMessage = Omit<SyncMessage, 'hash' | 'incarnation'>;

/**
 * Hex SHA-256 over the previous hash and the JSON of all other fields, in the order of SyncMessage. The incarnation is left out: it says who
 * sends, and a later start of the same journal must be able to send the message again.
 */
export function hashMessage(message: UnhashedMessage & Partial<SyncMessage>): string {
  const { prevHash, hash: _hash, incarnation: _incarnation, ...rest } = message;
  return createHash('sha256').update(prevHash).update(JSON.stringify(rest)).digest('hex');
}

function* hashInSteps(prevHash: string, bodyJson: Iterable<Uint8Array>): SlicedWork<string> {
  const hash = createHash('sha256').update(prevHash);
  for (const part of bodyJson) {
    hash.update(part);
    yield;
  }
  return hash.digest('hex');
}

function* encodeTexts(texts: readonly string[]): SlicedWork<readonly Uint8Array[]> {
  const bytes: Uint8Array[] = [];
  for (const text of texts) {
    bytes.push(Buffer.from(text));
    yield;
  }
  return bytes;
}

/** The one message of a journal that the store has forgotten: it leaves again, so that nobody waits for it. Follows `reply`. */
export function createGoodbye(identity: JournalIdentity, reply: SyncReply): SyncMessage {
  const body: UnhashedMessage = {
    journal: identity.journal,
    epoch: reply.epoch,
    seq: reply.seq + 1,
    prevHash: reply.hash,
    sealedThrough: reply.frontier ?? 0,
    publications: [],
    healthChanges: [],
    blind: [],
    claim: null,
    leave: true,
  };
  return { ...body, incarnation: identity.incarnation, hash: hashMessage(body) };
}

/** Owns the numbering. */
export class MessageLog {
  readonly #journal: Journal;
  readonly #kept = new Map<number, Kept>();
  #head: JournalHead;
  #acknowledged = 0;
  /** Number of the latest goodbye; 0 without one. */
  #leftAt = 0;

  constructor(journal: Journal) {
    this.#journal = journal;
    this.#head = newHead(journal.identity.journal);
  }

  /** Last message made, its hash, and how far everything is sealed. */
  get head(): JournalHead {
    return this.#head;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Messages the store has not acknowledged. */
  get pendingCount(): number {
    return this.#head.seq - this.#acknowledged;
  }

  /** True while a goodbye waits to be sent: of an earlier run, or one that the store lost. */
  get leavePending(): boolean {
    return this.#leftAt > this.#acknowledged;
  }

  /** Takes up where an earlier run stopped. */
  restore(replayed: ReplayedJournal): void {
    this.#leftAt = replayed.messages.findLast(({ leave }) => leave)?.seq ?? 0;
    this.#head = replayed.head;
    this.#acknowledged = replayed.acknowledged;
    for (const { seq, location } of replayed.messages) {
      this.#kept.set(seq, {
        seq,
        location,
        segment: location?.segment ?? this.#journal.segment,
        entry: null,
        text: null,
      });
    }
  }

  /** The journal joined a store at a window: a new journal publishes nothing before it, an older one goes on where it had sealed. */
  joinAt(epoch: string, sealedThrough: number): void {
    this.#head = { ...this.#head, epoch, sealedThrough: this.#head.sealedThrough ?? sealedThrough };
  }

  /** The store knows messages that this journal has lost: numbering goes on behind them. */
  skipTo(seq: number, hash: string, sealedThrough: number): void {
    const sealed = Math.max(sealedThrough, this.#head.sealedThrough ?? sealedThrough);
    this.#head = { ...this.#head, seq, hash, sealedThrough: sealed };
    this.#acknowledged = seq;
  }

  /** Counts from 1 again under the journal's new identity. */
  beginAnew(): void {
    this.#head = newHead(this.#journal.identity.journal);
    this.#acknowledged = 0;
    this.#leftAt = 0;
    this.#kept.clear();
  }

  /**
   * Numbers, hashes and journals a message. One that the disk refuses is kept in memory and sent all the same, but without its claim: a death
   * would bring back the records that it settled, and settle them again. `claims` tells whether it has one.
   */
  *append(
    draft: MessageDraft,
  ): SlicedWork<{ readonly seq: number; readonly journaled: boolean; readonly claims: boolean }> {
    const { claim, slices } = draft;
    const { message, json, text } = yield* this.#number(draft);
    const prices = [...(claim?.prices ?? [])].map(([key, price]) => [key, price.toString()] as const);
    const lines: SliceLine[] = [];
    yield* eachInSteps(slices, (slice) => lines.push(toSliceLine(slice)));
    const entry: LoggedMessage = { t: 'message', message, slices: lines, prices };
    const rest = yield* encodeTexts(yield* gatherInSteps(stringifyInSteps({ slices: entry.slices, prices })));
    // Without its first brace: it goes on where the message ends.
    const goesOn = rest.map((piece, index) => (index === 0 ? piece.subarray(1) : piece));
    const line = yield* encodePieces([Buffer.from('{"t":"message","message":'), ...json, COMMA, ...goesOn]);
    const claims = claim !== null;
    const location = claims ? this.#journal.appendOrForget(line) : this.#journal.appendEncoded(line);
    if (location === null && claims) return yield* this.append({ ...draft, claim: null });
    const { journal, seq, hash, sealedThrough, epoch } = message;
    this.#head = { journal, seq, hash, sealedThrough, epoch };
    if (message.leave) this.#leftAt = seq;
    const inMemory = location === null || this.pendingCount <= IN_MEMORY_MAX;
    const segment = location?.segment ?? this.#journal.segment;
    this.#kept.set(seq, { seq, location, segment, ...(inMemory ? { entry, text } : { entry: null, text: null }) });
    return { seq, journaled: location !== null, claims };
  }

  /** The next message and its JSON. A claim is large: it is made into text once, and into bytes once, for the hash, the journal and the store. */
  *#number({ claim, ...said }: MessageDraft): SlicedWork<NumberedMessage> {
    const { journal, incarnation } = this.#journal.identity;
    const address = { journal, epoch: said.epoch, seq: this.#head.seq + 1 };
    const prevHash = this.#head.hash;
    const facts = {
      sealedThrough: said.sealedThrough,
      publications: said.publications,
      healthChanges: said.healthChanges,
      blind: said.blind,
    };
    const claimText = yield* splitClaim(claim?.claim ?? null);
    const { records } = claimText;
    const opening = JSON.stringify(address).slice(0, -1);
    const beforeRecords = [`${JSON.stringify(facts).slice(1, -1)},"claim":`, ...claimText.before];
    const afterRecords = `${claimText.after},"leave":${said.leave}`;
    const inner = [...(yield* encodeTexts(beforeRecords)), ...separatePieces(records.pieces)];
    const body = [Buffer.from(`${opening},`), ...inner, Buffer.from(`${afterRecords}}`)];
    const hash = yield* hashInSteps(prevHash, body);
    const start = `${opening},"prevHash":${JSON.stringify(prevHash)},`;
    const after = `${afterRecords},${JSON.stringify({ incarnation, hash }).slice(1)}`;
    const json = [Buffer.from(start), ...inner, Buffer.from(after)];
    const content = { ...facts, claim: claim?.claim ?? null, leave: said.leave };
    const message = { ...address, prevHash, ...content, incarnation, hash };
    return { message, json, text: { shell: [start, ...beforeRecords, after], records } };
  }

  /** The text of a message that this start made and that is still in memory; null otherwise. */
  readText(seq: number): MessageText | null {
    return this.#kept.get(seq)?.text ?? null;
  }

  /** A message by its number; null when it is no longer kept. */
  read(seq: number): LoggedMessage | null {
    const kept = this.#kept.get(seq);
    if (kept === undefined) return null;
    if (kept.entry !== null) return kept.entry;
    const entry = kept.location === null ? null : this.#journal.read(kept.location);
    return entry?.t === 'message' ? entry : null;
  }

  /** The slices that a message sealed, from the journal. */
  readSlices(seq: number): SealedSlice[] {
    return (this.read(seq)?.slices ?? []).map(fromSliceLine);
  }

  /** The store has everything up to `seq`. */
  acknowledge(seq: number): void {
    for (let done = this.#acknowledged + 1; done <= Math.min(seq, this.#head.seq); done += 1) {
      const kept = this.#kept.get(done);
      if (kept !== undefined && kept.location !== null) kept.entry = kept.text = null;
    }
    this.#acknowledged = Math.max(this.#acknowledged, Math.min(seq, this.#head.seq));
  }

  /** The store has nothing after `seq`. */
  rollBackTo(seq: number): void {
    this.#acknowledged = Math.min(this.#acknowledged, seq);
  }

  /** Forgets messages in journal segments before `segment`. */
  dropBefore(segment: number): void {
    for (const kept of this.#kept.values()) {
      if (kept.seq > this.#acknowledged || kept.segment >= segment) break;
      this.#kept.delete(kept.seq);
    }
  }

  /** Oldest segment that holds a message with a number above `seq`; Infinity without any. */
  segmentOf(seq: number): number {
    for (const kept of this.#kept.values()) if (kept.seq > seq) return kept.segment;
    return Number.POSITIVE_INFINITY;
  }
}
