// Reads the ledger's entries in the order of each journal, audits them and puts their increments aside. Not here: cells and books.
import type { EntryLink, EntryName, LedgerEntry, LedgerHeads, LedgerReader } from '#domain/ledger.ts';
import { relabelClaim } from '#domain/relabel-claim.ts';
import type { LateClaim } from '#domain/voucher.ts';
import { JournalAudit } from './audit-journal.ts';
import type { Breakage } from './breakage.ts';
import type { IncrementSpool } from './increment-spool.ts';

const DAY_SECONDS = 86_400;
/** Entries asked for at once (LedgerReader.readEntries). */
const ENTRIES_AT_ONCE = 64;

export interface ScanOptions {
  readonly ledger: LedgerReader;
  readonly spool: IncrementSpool;
  /** First day (epoch second) whose entries are read; entries of earlier days may have left the store. */
  readonly oldestDay: number;
  readonly onBreakage: (breakage: Breakage) => void;
}

/** Holds one audit per journal and how far each has come. */
export class EntryScan {
  readonly #options: ScanOptions;
  readonly #audits = new Map<string, JournalAudit>();
  /** What claims of closed months became, in the order in which they were read. */
  readonly late: LateClaim[] = [];
  #records = 0;

  constructor(options: ScanOptions) {
    this.#options = options;
  }

  /** Settled records read and recomputed. */
  get records(): number {
    return this.#records;
  }

  /** All entries of a day that the heads cover, in order of journal and number. */
  async takeDay(day: number, heads: LedgerHeads): Promise<void> {
    const { ledger } = this.#options;
    const names = (await ledger.listEntries(day)).filter(({ journal, seq }) => {
      const head = heads.journals[journal];
      return head === undefined || (head !== null && seq <= head.seq);
    });
    for (let i = 0; i < names.length; i += ENTRIES_AT_ONCE) {
      const part = names.slice(i, i + ENTRIES_AT_ONCE);
      const entries = await ledger.readEntries(day, part);
      for (const [at, name] of part.entries()) await this.#take(name, entries[at] ?? null);
    }
  }

  /** After all days: the store must stand where the entries end. */
  checkHeads(heads: LedgerHeads): void {
    for (const [journal, head] of Object.entries(heads.journals)) {
      if (head === null || head.day < this.#options.oldestDay) continue;
      const broken = this.#auditOf(journal).checkHead(head);
      if (broken !== null) this.#options.onBreakage(broken);
    }
  }

  /** Takes what was claimed since, following the links back from the heads. */
  async catchUp(heads: LedgerHeads): Promise<void> {
    for (const [journal, head] of Object.entries(heads.journals)) {
      if (head === null || head.day < this.#options.oldestDay) continue;
      const chain = await this.#readBack(journal, head);
      for (const { name, entry } of chain.toReversed()) await this.#take(name, entry);
    }
  }

  async #readBack(journal: string, head: EntryLink): Promise<{ name: EntryName; entry: LedgerEntry | null }[]> {
    const through = this.#auditOf(journal).last?.seq ?? 0;
    const chain: { name: EntryName; entry: LedgerEntry | null }[] = [];
    let link: EntryLink | null = head;
    while (link !== null && link.seq > through && link.day >= this.#options.oldestDay) {
      const name: EntryName = { journal, seq: link.seq };
      const [entry = null]: readonly (LedgerEntry | null)[] = await this.#options.ledger.readEntries(link.day, [name]);
      chain.push({ name, entry });
      link = entry?.previous ?? null;
    }
    return chain;
  }

  async #take(name: EntryName, entry: LedgerEntry | null): Promise<void> {
    const { claim, records, breakage } = this.#auditOf(name.journal).take(name, entry);
    this.#records += records.length;
    if (breakage !== null) this.#options.onBreakage(breakage);
    if (claim === null || entry === null) return;
    try {
      const effects = relabelClaim(entry.message, claim, entry.closedThrough);
      await this.#options.spool.add(effects);
      if (effects.late !== null) this.late.push(effects.late);
    } catch (err) {
      // An amount that is no integer: the entry was told above, and its cells will not add up.
      if (!(err instanceof SyntaxError)) throw err;
    }
  }

  #auditOf(journal: string): JournalAudit {
    const known = this.#audits.get(journal);
    if (known !== undefined) return known;
    const audit = new JournalAudit(journal, this.#options.oldestDay);
    this.#audits.set(journal, audit);
    return audit;
  }
}

/** First second of the UTC day of an epoch second. */
export function dayOf(second: number): number {
  return Math.floor(second / DAY_SECONDS) * DAY_SECONDS;
}
