// Second pass of a rebuild: the content of the messages and freezes that the store had, in the order of each journal. Not here: which those are.
import type { JournalEntry } from '#accounting/journal-entry.ts';
import type { RestoredClaim, RestoredMember, RestoredState, StoreRestorer } from '#domain/restore-store.ts';
import type { EntryLink } from '#domain/ledger.ts';
import { relabelClaim } from '#domain/relabel-claim.ts';
import type { LateClaim } from '#domain/voucher.ts';
import type { FreezeCommit, SettledRecordJson, ShareEntry, SyncMessage } from '#domain/settlement.ts';
import { hourOf } from '#domain/window.ts';
import type { IncrementSpool } from './increment-spool.ts';
import type { JournalSource } from './journal-folder.ts';
import { BookSums } from './rebuild-figures.ts';
import type { AppliedJournal, RebuildSources } from './rebuild-sources.ts';
import { dayOf } from './scan-entries.ts';

const CLAIMS_AT_ONCE = 16;
/** Numbers whose hash a store remembers of each journal. */
const MESSAGES_KEPT = 256;

interface ReplayOptions {
  readonly restorer: StoreRestorer;
  readonly sources: RebuildSources;
  readonly spool: IncrementSpool;
  /** Last frozen window. */
  readonly frontier: number;
}

/** Collects what the store goes on from; claims go to the store, figures to the spool. */
export class JournalReplay {
  readonly books = new BookSums();
  readonly late: LateClaim[] = [];
  /** Records of restored claims that the archive has too. */
  readonly archivedIds = new Set<string>();
  /** Records of archived entries that no archived day has, by the day of their entry. */
  readonly strays = new Map<number, SettledRecordJson[]>();
  readonly #options: ReplayOptions;
  readonly #freezes: ReadonlyMap<string, number>;
  readonly #shares = new Map<string, ShareEntry[]>();
  readonly #entries = new Map<string, EntryLink>();
  readonly #seen = new Set<string>();
  /** Journals with entries that only the archive has. */
  readonly #cut = new Set<string>();
  readonly #board: { journal: string; publication: SyncMessage['publications'][number] }[] = [];
  readonly #health = new Map<string, RestoredState['health'][number][]>();
  readonly #blind = new Map<string, (readonly [number, number])[]>();
  #waiting: RestoredClaim[] = [];
  #records = 0;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#freezes = new Map(options.sources.path.map(({ hash, k }) => [hash, k]));
  }

  /** Records restored. */
  get records(): number {
    return this.#records;
  }

  /** Publications beyond the frontier. */
  get board(): RestoredState['board'] {
    return this.#board;
  }

  /** Per journal and pool the last opinion up to the frontier, and all later ones. */
  get health(): RestoredState['health'] {
    return [...this.#health.values()].flat();
  }

  /** Journals with shares whose folder was not given. */
  get missingJournals(): readonly string[] {
    return [...this.#shares.keys()].filter((journal) => !this.#options.sources.journals.has(journal)).toSorted();
  }

  /** Reads all folders; awaits the store where claims go there. */
  async run(folders: readonly JournalSource[], onProgress: (share: number) => void): Promise<void> {
    const total = folders.reduce((sum, { bytes }) => sum + bytes, 0);
    let read = 0;
    for (const folder of folders) {
      const entries = folder.read((bytes) => {
        read += bytes;
        onProgress(read / Math.max(1, total));
      });
      for (const entry of entries) await this.#take(entry);
    }
    await this.#flush();
  }

  /** The members as they stood. */
  finish(): RestoredMember[] {
    const { sources, frontier } = this.#options;
    const known = [...sources.journals.values()].map((journal) => this.#toMember(journal));
    const lost = this.missingJournals.map((journal): RestoredMember => {
      const shares = this.#sharesAfter(journal, Number.NEGATIVE_INFINITY);
      const claimed = (shares[0]?.k ?? 1) - 1;
      const none = { incarnation: 0, seq: 0, hash: '', blind: [], entry: null, messages: [] };
      return { journal, state: 'left', sealedThrough: frontier, claimed, shares, ...none };
    });
    return [...known, ...lost];
  }

  async #take(entry: JournalEntry): Promise<void> {
    if (entry.t === 'freeze') this.#takeFreeze(entry.commit);
    if (entry.t !== 'message') return;
    const { message } = entry;
    const journal = this.#options.sources.journals.get(message.journal);
    const known = journal?.bySeq.get(message.seq);
    // A message may stand twice where a folder was copied, or of another epoch.
    if (journal === undefined || known === undefined || known.hash !== message.hash) return;
    if (this.#seen.has(message.hash)) return;
    this.#seen.add(message.hash);
    this.#takeState(message);
    if (journal.claims.has(message.seq)) await this.#takeClaim(message);
  }

  #takeFreeze({ hash, books, shares }: FreezeCommit): void {
    if (!this.#freezes.has(hash) || this.#seen.has(hash)) return;
    this.#seen.add(hash);
    const { sources } = this.#options;
    for (const book of books) {
      if (!sources.isArchived(book.hour) && book.hour >= sources.journalsFrom) this.books.add(book);
    }
    for (const [journal, share] of Object.entries(shares)) {
      const claimed = sources.journals.get(journal)?.claimed ?? null;
      if (claimed !== null && share.k <= claimed) continue;
      this.#shares.set(journal, [...(this.#shares.get(journal) ?? []), share]);
    }
  }

  #takeState({ journal, publications, healthChanges, blind }: SyncMessage): void {
    const { frontier } = this.#options;
    for (const publication of publications)
      if (publication.window > frontier) this.#board.push({ journal, publication });
    for (const change of healthChanges) {
      const key = `${journal}\n${change.pool}`;
      const before = this.#health.get(key) ?? [];
      // In the order of the messages, which is that of the windows: an opinion replaces the one before up to the frontier.
      const kept = change.window > frontier ? before : [];
      this.#health.set(key, [...kept, { ...change, journal }]);
    }
    const ranges = blind.filter(([, to]) => to > frontier);
    if (ranges.length > 0) this.#blind.set(journal, [...(this.#blind.get(journal) ?? []), ...ranges]);
  }

  async #takeClaim(message: SyncMessage): Promise<void> {
    const { sources, spool } = this.#options;
    const { claim, journal, seq, hash } = message;
    if (claim === null) return;
    // What was closed by the time it was applied: closes name the last entry before them.
    const closedThrough = sources.closedThroughAt(journal, seq);
    const effects = relabelClaim(message, claim, closedThrough);
    const { late } = effects;
    if (late !== null && sources.counts(journal, seq, late.hour)) this.late.push(late);
    await spool.add({
      increments: effects.increments.filter(({ hour }) => sources.counts(journal, seq, hour)),
      pools: effects.pools.filter(({ hour }) => sources.counts(journal, seq, hour)),
    });
    const isEntry = claim.lines.length > 0 || claim.increments.length > 0 || claim.records.length > 0;
    const day = dayOf(message.sealedThrough);
    if (!isEntry) return;
    if (sources.isArchivedEntry(journal, seq, day)) {
      this.#cut.add(journal);
      this.#keepStrays(message, claim.records, day);
      return;
    }
    const isWhole = sources.journals.get(journal)?.applied[0]?.seq === 1 && !this.#cut.has(journal);
    // An entry before that is not restored is of a day long gone, as far as a reader can tell.
    const previous = this.#entries.get(journal) ?? (isWhole ? null : { day: 0, seq: seq - 1, hash: '' });
    this.#entries.set(journal, { day, seq, hash });
    this.#waiting.push({ message, previous, closedThrough });
    this.#records += claim.records.length;
    for (const { recordId, endedAtMs } of claim.records) {
      if (sources.isArchivedEntry(journal, seq, dayOf(Math.floor(endedAtMs / 1000)))) this.archivedIds.add(recordId);
    }
    if (this.#waiting.length >= CLAIMS_AT_ONCE) await this.#flush();
  }

  /** What was turned away has no window to wait for: claimed around midnight, it ended a day later than its entry says. */
  #keepStrays({ journal, seq }: SyncMessage, records: readonly SettledRecordJson[], day: number): void {
    const { sources } = this.#options;
    const strays = records.filter(({ endedAtMs }) =>
      sources.counts(journal, seq, hourOf(Math.floor(endedAtMs / 1000))),
    );
    if (strays.length > 0) this.strays.set(day, [...(this.strays.get(day) ?? []), ...strays]);
  }

  async #flush(): Promise<void> {
    const claims = this.#waiting;
    this.#waiting = [];
    if (claims.length > 0) await this.#options.restorer.restoreClaims(claims);
  }

  #toMember(known: AppliedJournal): RestoredMember {
    const { journal, incarnation, applied, answers, claimed } = known;
    const last = applied.at(-1);
    const shares = this.#sharesAfter(journal, claimed ?? Number.NEGATIVE_INFINITY);
    const tip = this.#options.sources.path.at(-1)?.k ?? 0;
    return {
      journal,
      state: last?.leave === true ? 'left' : 'live',
      incarnation,
      seq: last?.seq ?? 0,
      hash: last?.hash ?? '',
      sealedThrough: last?.sealedThrough ?? this.#options.frontier,
      claimed: claimed ?? (shares[0]?.k ?? tip + 1) - 1,
      blind: this.#blind.get(journal) ?? [],
      entry: this.#entries.get(journal) ?? null,
      messages: applied
        .slice(-MESSAGES_KEPT)
        .map(({ seq, hash }) => ({ seq, hash, claimApplied: answers.get(seq)?.claimApplied ?? null })),
      shares,
    };
  }

  #sharesAfter(journal: string, k: number): ShareEntry[] {
    return (this.#shares.get(journal) ?? []).filter((share) => share.k > k).toSorted((a, b) => a.k - b.k);
  }
}
