// What the journals say of a lost store: which messages and claims it had, which freezes. First pass of a rebuild; holds no message bodies.
import type { JournalEntry } from '#accounting/journal-entry.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type { FreezeCommit, SyncMessage } from '#domain/settlement.ts';

/** One message without its body. */
export interface KnownMessage {
  readonly seq: number;
  readonly hash: string;
  readonly epoch: string;
  readonly sealedThrough: number;
  readonly leave: boolean;
  /** Freezes its claim reaches to; null without one. */
  readonly claimTo: { readonly k0: number; readonly k: number; readonly hash: string } | null;
}

/** What the store said to a message. */
export interface KnownAnswer {
  /** Whether it applied the claim; null where there was none. */
  readonly claimApplied: boolean | null;
  /** Epoch ms. */
  readonly atMs: number;
}

/** One journal (a UUID; a folder may have had several). */
export interface KnownJournal {
  readonly journal: string;
  readonly incarnation: number;
  readonly messages: Map<number, KnownMessage>;
  /** By number. */
  readonly answers: Map<number, KnownAnswer>;
}

/** A freeze without its shares. */
export interface KnownFreeze {
  readonly k: number;
  readonly hash: string;
  readonly previousHash: string;
  readonly digest: string;
  /** Last window, and the last of the freeze before. */
  readonly to: number;
  readonly after: number;
}

/** Collects over all folders, each in its order. */
export class JournalFacts {
  readonly journals = new Map<string, KnownJournal>();
  readonly #freezes = new Map<string, { readonly epoch: string; readonly freeze: KnownFreeze }>();
  /** Epoch ms at which the store was seen to have a freeze, by its hash. */
  readonly #confirmedAtMs = new Map<string, number>();
  readonly #books: { readonly epoch: string; readonly book: FactBook }[] = [];

  /** A reader of one folder's lines; lines do not all say whose they are. */
  openFolder(incarnation: number): (entry: JournalEntry) => void {
    let current: KnownJournal | null = null;
    return (entry) => {
      if (entry.t === 'head') current = this.#journalOf(entry.head.journal, incarnation);
      else if (entry.t === 'message') {
        current = this.#journalOf(entry.message.journal, incarnation);
        current.messages.set(entry.message.seq, summarise(entry.message));
      } else if (entry.t === 'ack') {
        current?.answers.set(entry.seq, { claimApplied: entry.claimApplied, atMs: entry.atMs });
      } else if (entry.t === 'rollback') {
        for (const seq of current?.answers.keys() ?? []) if (seq > entry.seq) current?.answers.delete(seq);
      } else if (entry.t === 'freeze') this.#takeFreeze(entry.epoch, entry.previousHash, entry.commit);
      else if (entry.t === 'frozen') this.#confirm(entry.hash, entry.atMs);
      else if (entry.t === 'facts') this.#takeBook(entry.epoch, entry.book);
    };
  }

  /** Epoch of the newest message; null without any. */
  get epoch(): string | null {
    let newest: KnownMessage | null = null;
    for (const { messages } of this.journals.values()) {
      for (const message of messages.values()) {
        if (newest === null || message.sealedThrough >= newest.sealedThrough) newest = message;
      }
    }
    return newest?.epoch ?? null;
  }

  /** The newest fact book of an epoch; null where no freeze was journaled. */
  bookOf(epoch: string): FactBook | null {
    const books = this.#books.filter((known) => known.epoch === epoch).map(({ book }) => book);
    return books.reduce<FactBook | null>(
      (last, book) => (last === null || book.version > last.version ? book : last),
      null,
    );
  }

  /**
   * The chain of freezes that the store had, ascending, as far back as it stands in the journals without a hole. Its end is the last freeze
   * that a commit or a claim confirms (`claimed`: chain hashes with the epoch ms of the answers): one that was only about to be committed is
   * made again. Where a failover lost freezes that were confirmed before, others stand in their place: the chain goes through what was claimed
   * last, else through what was confirmed last.
   */
  pathOf(epoch: string, claimed: ReadonlyMap<string, number>): readonly KnownFreeze[] {
    const freezes = [...this.#freezes.values()].filter((known) => known.epoch === epoch).map(({ freeze }) => freeze);
    const known = (times: ReadonlyMap<string, number>): KnownFreeze[] =>
      freezes
        .filter(({ hash }) => times.has(hash))
        .sort((a, b) => (times.get(b.hash) ?? 0) - (times.get(a.hash) ?? 0) || b.k - a.k);
    const paying = known(claimed);
    const paid = paying[0] ?? null;
    const confirmed = known(this.#confirmedAtMs);
    // Nearly always the first of each: only what a failover lost leads elsewhere.
    const newest = confirmed.find((freeze) => paid === null || this.#pathTo(freeze).includes(paid)) ?? paid;
    if (newest === null) return [];
    // The clocks of hosts differ: what follows it in the same chain was confirmed later, whatever a clock said.
    const further = [...confirmed, ...paying].filter(({ k }) => k > newest.k).sort((a, b) => b.k - a.k);
    const tip = further.find((freeze) => this.#pathTo(freeze).includes(newest)) ?? newest;
    return this.#pathTo(tip).toReversed();
  }

  #confirm(hash: string, atMs: number): void {
    this.#confirmedAtMs.set(hash, Math.max(atMs, this.#confirmedAtMs.get(hash) ?? 0));
  }

  /** From a freeze back to the first that is known. */
  #pathTo(tip: KnownFreeze): KnownFreeze[] {
    const path: KnownFreeze[] = [];
    for (let at: KnownFreeze | undefined = tip; at !== undefined;) {
      path.push(at);
      at = this.#freezes.get(at.previousHash)?.freeze;
    }
    return path;
  }

  #journalOf(journal: string, incarnation: number): KnownJournal {
    const known = this.journals.get(journal);
    if (known !== undefined) return known;
    const created = { journal, incarnation, messages: new Map(), answers: new Map() };
    this.journals.set(journal, created);
    return created;
  }

  #takeFreeze(epoch: string, previousHash: string, commit: FreezeCommit): void {
    const { hash, to, contentDigest: digest, expected } = commit;
    const freeze = { k: expected.k + 1, hash, previousHash, digest, to, after: expected.frontier };
    this.#freezes.set(hash, { epoch, freeze });
  }

  #takeBook(epoch: string, book: FactBook): void {
    const at = this.#books.findIndex((known) => known.epoch === epoch);
    if (at >= 0 && (this.#books[at]?.book.version ?? 0) >= book.version) return;
    if (at >= 0) this.#books.splice(at, 1);
    this.#books.push({ epoch, book });
  }
}

/** Numbers of the messages of an epoch that the store had, ascending and without a hole up to the last answered one. */
export function listApplied(journal: KnownJournal, epoch: string): readonly KnownMessage[] {
  let last = 0;
  for (const seq of journal.answers.keys()) last = Math.max(last, seq);
  return [...journal.messages.values()]
    .filter((message) => message.epoch === epoch && message.seq <= last)
    .toSorted((a, b) => a.seq - b.seq);
}

/**
 * Numbers of the messages whose claim was applied. Where the answer is not in the journal, the claims after it tell: the next applied one
 * begins where it ended.
 */
export function listAppliedClaims(journal: KnownJournal, applied: readonly KnownMessage[]): ReadonlySet<number> {
  const claims = applied.filter((message) => message.claimTo !== null);
  const known = claims.filter(({ seq }) => journal.answers.get(seq)?.claimApplied === true);
  const begins = new Set(known.map(({ claimTo }) => claimTo?.k0));
  const inferred = claims.filter(({ seq, claimTo }) => !journal.answers.has(seq) && begins.has(claimTo?.k));
  return new Set([...known, ...inferred].map(({ seq }) => seq));
}

function summarise(message: SyncMessage): KnownMessage {
  const { seq, hash, epoch, sealedThrough, leave, claim } = message;
  const claimTo = claim === null ? null : { k0: claim.k0, k: claim.k, hash: claim.hash };
  return { seq, hash, epoch, sealedThrough, leave, claimTo };
}
