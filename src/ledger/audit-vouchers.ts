// What `ledger verify` recomputes of vouchers: their chain, late claims, and that closed months are as they were closed. Not here: claims.
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import type { Claim } from '#domain/settlement.ts';
import type { LateClaim, Voucher } from '#domain/voucher.ts';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import { type Breakage, createBreakage } from './breakage.ts';
import { hashFigures, readMonthFigures } from './month-figures.ts';
import { toWriteOffIncrements } from './write-off.ts';
import { checkVouchers } from './voucher-chain.ts';

const TRIES_MAX = 5;

/** Holds the vouchers of one verification. */
export class VoucherAudit {
  readonly #ledger: LedgerReader;
  readonly #books: BooksReader;
  #vouchers: readonly Voucher[] = [];

  constructor(ledger: LedgerReader, books: BooksReader) {
    this.#ledger = ledger;
    this.#books = books;
  }

  /** Reads them; what is wrong with their chain, or null. */
  async read(): Promise<Breakage | null> {
    let broken: Breakage | null = null;
    // A close may come between the two reads.
    for (let tries = 0; tries < TRIES_MAX; tries += 1) {
      this.#vouchers = await this.#books.readVouchers();
      broken = checkVouchers(this.#vouchers, (await this.#ledger.readHeads()).closedThrough);
      if (broken === null) break;
    }
    return broken;
  }

  /** What closes moved in the books and cells of their months, as claims do. */
  listWriteOffs(): readonly Pick<Claim, 'increments' | 'pools'>[] {
    return this.#closes().map(({ content: { writeOff } }) => ({
      pools: writeOff,
      increments: toWriteOffIncrements(writeOff),
    }));
  }

  /** Nanodollars by pool that were written off in an hour. */
  writtenOff(hour: number): ReadonlyMap<string, bigint> {
    const sums = new Map<string, bigint>();
    for (const { content } of this.#closes()) {
      for (const { pool, nanoUsd } of content.writeOff.filter((part) => part.hour === hour)) {
        sums.set(pool, (sums.get(pool) ?? 0n) + BigInt(nanoUsd));
      }
    }
    return sums;
  }

  /** The first late claim that the store does not hold as its entry says; null when it holds all. */
  async checkLate(expected: readonly LateClaim[]): Promise<Breakage | null> {
    for (const late of expected) {
      const stored = await this.#books.readLateClaims({ from: late.hour, to: late.hour + 3600 });
      const found = stored.find(({ journal, seq }) => journal === late.journal && seq === late.seq);
      if (found !== undefined && canonicalJson(found) === canonicalJson(late)) continue;
      const what = { expected: canonicalJson(late), found: found === undefined ? 'missing' : canonicalJson(found) };
      return createBreakage('voucher', { id: `late ${late.journal}.${late.seq}`, hour: late.hour }, what);
    }
    return null;
  }

  /**
   * The first closed month whose figures changed; null when none did. Months of which something may have left the store with its retention are left
   * out: those that begin before `keptFrom` (epoch second).
   */
  async checkCloses(keptFrom: number): Promise<Breakage | null> {
    for (const { content } of this.#closes()) {
      const { month: name, from, to, figures } = content;
      if (from < keptFrom) continue;
      const kept = await readMonthFigures(this.#books, { name, from, to });
      if (kept.books.length === 0 && kept.cells.length === 0) continue;
      const found = hashFigures(kept, { writeOff: [], increments: [] });
      if (found !== figures) return createBreakage('close', { id: name, hour: from }, { expected: figures, found });
    }
    return null;
  }

  #closes() {
    return this.#vouchers.flatMap(({ content, ...voucher }) =>
      content.kind === 'close' ? [{ ...voucher, content }] : [],
    );
  }
}
