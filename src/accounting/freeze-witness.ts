// Writes the freezes of this process into its journal, so that the capacity books of a lost store can be rebuilt from the journals.
// Not here: computing and committing them (frontier.ts), reading them back (ledger).
import type { FactBook } from '#domain/pool-facts.ts';
import type { FreezeCommit } from '#domain/settlement.ts';
import type { Journal } from './journal.ts';

/** Told around each commit by advanceFrontier. */
export interface CommitWitness {
  /** About to be sent; `previousHash` and `facts` are what it was computed from. */
  committing(commit: FreezeCommit, from: { readonly previousHash: string; readonly facts: FactBook }): void;
  /** The store has it. A commit without this word may have happened or not. */
  committed(commit: FreezeCommit): void;
}

/** The fact book stands before the first freeze of each segment, and again when it changed: a segment can be read without those before. */
export class FreezeWitness implements CommitWitness {
  readonly #journal: Journal;
  readonly #epoch: () => string | null;
  readonly #now: () => number;
  #written: { readonly segment: number; readonly version: number } | null = null;

  constructor(journal: Journal, { epoch, now }: { readonly epoch: () => string | null; readonly now: () => number }) {
    this.#journal = journal;
    this.#epoch = epoch;
    this.#now = now;
  }

  committing(commit: FreezeCommit, from: { readonly previousHash: string; readonly facts: FactBook }): void {
    const epoch = this.#epoch();
    if (epoch === null) return;
    const { segment } = this.#journal;
    const { version } = from.facts;
    if (this.#written?.segment !== segment || this.#written.version !== version) {
      this.#journal.append({ t: 'facts', atMs: this.#now(), epoch, book: from.facts });
      this.#written = { segment, version };
    }
    this.#journal.append({ t: 'freeze', epoch, previousHash: from.previousHash, commit });
  }

  committed(commit: FreezeCommit): void {
    this.#journal.append({ t: 'frozen', atMs: this.#now(), k: commit.expected.k + 1, hash: commit.hash });
  }
}
