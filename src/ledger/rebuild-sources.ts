// What a rebuild is made of: which hours stand in the archive, which follow from the journals, and which claims count where. Pure.
import type { CloseContent, Voucher } from '#domain/voucher.ts';
import { SECONDS_PER_HOUR } from '#domain/window.ts';
import {
  type JournalFacts,
  type KnownAnswer,
  type KnownFreeze,
  type KnownMessage,
  listApplied,
  listAppliedClaims,
} from './journal-facts.ts';
import { dayOf } from './scan-entries.ts';

/** Counts of a record may come this much after its hour (H and the next claim, settlement.md). */
const RECORD_MARGIN_SECONDS = 60;

/** By UTC day (first epoch second) the last entry of each journal that the archived figures contain. */
export type ArchivedHeads = ReadonlyMap<number, Readonly<Record<string, number>>>;

export interface AppliedJournal {
  readonly journal: string;
  readonly incarnation: number;
  /** Ascending. */
  readonly applied: readonly KnownMessage[];
  readonly bySeq: ReadonlyMap<number, KnownMessage>;
  readonly claims: ReadonlySet<number>;
  /** Freezes claimed; null where the journals tell of no claim. */
  readonly claimed: number | null;
  /** Answers by number, for those that resend. */
  readonly answers: ReadonlyMap<number, KnownAnswer>;
}

/** The plan of one rebuild. */
export class RebuildSources {
  readonly epoch: string;
  readonly path: readonly KnownFreeze[];
  readonly journals: ReadonlyMap<string, AppliedJournal>;
  /** From this hour (epoch second) on the journals hold everything. */
  readonly journalsFrom: number;
  /** True when the journals reach back to the beginning of the books. */
  readonly isComplete: boolean;
  readonly #heads: ArchivedHeads;
  readonly #closes: readonly CloseContent[];

  constructor(
    facts: JournalFacts,
    epoch: string,
    archive: { readonly heads: ArchivedHeads; readonly vouchers: readonly Voucher[] },
  ) {
    this.epoch = epoch;
    this.#heads = archive.heads;
    this.#closes = archive.vouchers.flatMap(({ content }) => (content.kind === 'close' ? [content] : []));
    const journals = [...facts.journals.values()].map((known): AppliedJournal => {
      const { journal, incarnation, answers } = known;
      const applied = listApplied(known, epoch);
      const claims = listAppliedClaims(known, applied);
      const claimed = applied.findLast(({ seq }) => claims.has(seq))?.claimTo?.k ?? null;
      const bySeq = new Map(applied.map((message) => [message.seq, message]));
      return { journal, incarnation, applied, bySeq, answers, claims, claimed };
    });
    this.journals = new Map(
      journals.filter(({ applied }) => applied.length > 0).map((known) => [known.journal, known]),
    );
    const claimed = new Map<string, number>();
    for (const [hash, atMs] of journals.flatMap(listClaimed)) claimed.set(hash, Math.max(atMs, claimed.get(hash) ?? 0));
    this.path = facts.pathOf(epoch, claimed);
    const first = this.path[0];
    const late = [...this.journals.values()].flatMap(({ applied }) => {
      const oldest = applied[0];
      // What came before the oldest message is gone, with claims of windows up to then.
      return oldest === undefined || oldest.seq === 1 ? [] : [oldest.sealedThrough + RECORD_MARGIN_SECONDS];
    });
    this.isComplete = first?.k === 1 && late.length === 0;
    const begin = first === undefined ? Number.POSITIVE_INFINITY : first.after + 1;
    this.journalsFrom = this.isComplete
      ? Math.floor(begin / SECONDS_PER_HOUR) * SECONDS_PER_HOUR
      : ceilHour(late.reduce((latest, second) => Math.max(latest, second), first?.k === 1 ? 0 : begin));
  }

  /** Epoch second before which everything was closed when the claim was applied; 0 for nothing. */
  closedThroughAt(journal: string, seq: number): number {
    return this.#closes.findLast(({ heads }) => seq > (heads[journal]?.seq ?? 0))?.to ?? 0;
  }

  /** End of the last archived day, epoch seconds; 0 without any. */
  get archivedThrough(): number {
    return [...this.#heads.keys()].reduce((last, day) => Math.max(last, day + 86_400), 0);
  }

  /** Whether an hour's figures come from the archive. */
  isArchived(hour: number): boolean {
    return this.#heads.has(dayOf(hour));
  }

  /** Whether an applied claim's figures of an hour are still to be added. */
  counts(journal: string, seq: number, hour: number): boolean {
    const heads = this.#heads.get(dayOf(hour));
    if (heads === undefined) return hour >= this.journalsFrom;
    return seq > (heads[journal] ?? 0);
  }

  /** Whether the archive has what an entry of that day delivered. */
  isArchivedEntry(journal: string, seq: number, day: number): boolean {
    const heads = this.#heads.get(day);
    return heads !== undefined && seq <= (heads[journal] ?? 0);
  }
}

/** Chain hashes of the freezes that applied claims reach to, with the time of the answer; 0 where it is only inferred that they were applied. */
function listClaimed({ applied, claims, answers }: AppliedJournal): readonly (readonly [string, number])[] {
  return applied.flatMap(({ seq, claimTo }) =>
    claimTo !== null && claims.has(seq) ? [[claimTo.hash, answers.get(seq)?.atMs ?? 0] as const] : [],
  );
}

function ceilHour(second: number): number {
  return Math.ceil(second / SECONDS_PER_HOUR) * SECONDS_PER_HOUR;
}
