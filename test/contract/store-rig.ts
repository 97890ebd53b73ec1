// What the suites of the store contract share: a store of its own per test, one joined author, freezes and claims in one line.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { BookCell, BooksReader, RollupCell } from '#domain/books.ts';
import type { LearnerStore } from '#domain/learner-store.ts';
import type { FreezeCommit, SyncReply } from '#domain/settlement.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { hourOf } from '#domain/window.ts';
import { claimOf, freezeOf, JournalAuthor, POOL, type ClaimParts } from './settlement-messages.ts';

export interface StoreUnderTest {
  readonly settlement: SettlementStore;
  readonly books: BooksReader;
  readonly learner: LearnerStore;
}

export interface StoreSuite {
  readonly name: string;
  /** A store of its own, not opened yet. */
  createStore(): Promise<StoreUnderTest>;
  /** Another client of the store created last. */
  createSecondClient(): Promise<StoreUnderTest>;
  /** Raises the schema number of the store created last. */
  raiseSchema(): Promise<void>;
  /** Lets time pass for the store's aliveClock. */
  advanceMs(ms: number): void | Promise<void>;
  readonly skip: readonly { readonly reason: string; readonly tests: readonly string[] }[];
}

/** Registers the hooks that give every test of the enclosing `describe` its own opened store with one member. */
export class StoreRig {
  settlement!: SettlementStore;
  books!: BooksReader;
  learner!: LearnerStore;
  author!: JournalAuthor;
  joined!: SyncReply;
  readonly #suite: StoreSuite;

  constructor(suite: StoreSuite) {
    this.#suite = suite;
    beforeEach(async () => {
      ({ settlement: this.settlement, books: this.books, learner: this.learner } = await suite.createStore());
      const { epoch } = await this.settlement.open();
      this.author = new JournalAuthor(epoch);
      this.joined = await this.settlement.join(this.author);
    });
    afterEach(() => this.settlement.close());
  }

  /** A test that the suite may skip, never without saying why. */
  readonly guarantee = (name: string, body: () => Promise<void>): void => {
    const skipped = this.#suite.skip.find(({ tests }) => tests.includes(name));
    test.skipIf(skipped !== undefined)(skipped === undefined ? name : `${name} (skipped: ${skipped.reason})`, body);
  };

  /** The frontier at the join. */
  get frontier(): number {
    return this.joined.frontier ?? 0;
  }

  /** Freezes up to `to` with these shares in nanodollars. */
  async freeze(to: number, shares: Record<string, bigint>): Promise<FreezeCommit> {
    const commit = freezeOf(await this.settlement.readFreezeInput(), to, shares);
    expect(await this.settlement.commitFreeze(commit)).toBe('committed');
    return commit;
  }

  /** An empty message of the author. */
  beat(): Promise<SyncReply> {
    return this.settlement.sync(this.author.next({ sealedThrough: this.frontier }));
  }

  /** Claims all of the author's shares. */
  async claimAll(parts: ClaimParts = {}): Promise<SyncReply> {
    const reply = await this.beat();
    return this.settlement.sync(this.author.next({ sealedThrough: this.frontier, claim: claimOf(reply, parts) }));
  }

  readHourCells(): Promise<readonly RollupCell[]> {
    const hour = hourOf(this.frontier);
    return this.books.readRollups({ from: hour, to: hour + 7200 }, 'hour');
  }

  /** Books of the pool of `freezeOf`. */
  async readPoolBooks(): Promise<BookCell[]> {
    const hour = hourOf(this.frontier);
    const cells = await this.books.readBooks({ from: hour, to: hour + 7200 });
    return cells.filter((cell) => cell.pool === POOL);
  }
}
