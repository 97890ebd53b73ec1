// Recomputes the ledger of a period from its entries: what `ledger verify` answers. Not here: the command line (verify-command.ts).
import type { BooksReader, Period } from '#domain/books.ts';
import type { LedgerHeads, LedgerReader } from '#domain/ledger.ts';
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import type { Breakage } from './breakage.ts';
import { checkSpan } from './check-cells.ts';
import { FreezeAudit } from './check-freezes.ts';
import { checkHour, differenceOf, type HourFacts } from './check-hour.ts';
import { IncrementSpool } from './increment-spool.ts';
import { VoucherAudit } from './audit-vouchers.ts';
import { dayOf, EntryScan } from './scan-entries.ts';

const DAY_SECONDS = 86_400;
/** Hour cells are kept this many days (books.ts). */
const HOUR_CELL_DAYS = 35;
/** A live store may move between two reads; a comparison that fails is repeated until it did not. */
const STEADY_TRIES_MAX = 50;

export interface VerifyRequest {
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  /** Whole hours, epoch seconds; null: everything the store still has. */
  readonly period: { readonly from: number | null; readonly to: number | null };
  /** `retention.records` and `retention.rollups`, milliseconds. */
  readonly recordsMs: number;
  readonly rollupsMs: number;
  /** `share` 0 … 1. */
  readonly onProgress: (share: number, text: string) => void;
}

/** Contract §2. */
export interface VerifyResult {
  readonly ok: boolean;
  /** Settled records recomputed. */
  readonly records: number;
  /** Hours whose books and cells were compared. */
  readonly hours: number;
  /** capacity − idle − unmetered − pending − what teams hold, over those hours. */
  readonly differenceNanoUsd: bigint;
  /** The first breakage: entries in order of their journals, then freezes, then hours, days and months. */
  readonly firstBroken: Breakage | null;
}

/**
 * Checks, in this order: every kept entry (link, records, lines, increments, hash), the chain of freezes, then hour by hour books against frozen and
 * claimed money and cells against claims, days against hours, months against days, vouchers and closed months. Works beside running gateways. Memory: one hour of cells.
 * Rejects with StoreUnavailableError, or an Error when a live store never stands still long enough.
 */
export async function verifyLedger(request: VerifyRequest): Promise<VerifyResult> {
  const heads = await request.ledger.readHeads();
  const plan = planPeriod(request, heads);
  const spool = new IncrementSpool(plan.hours);
  try {
    return await new Verification(request, plan, spool).run(heads);
  } finally {
    await spool.close();
  }
}

interface Plan {
  /** Hours compared. */
  readonly hours: Period;
  /** First day whose entries are read. */
  readonly scanFrom: number;
  /** After today, or the last entry where a gateway's clock is ahead: entries of later days do not exist. */
  readonly scanTo: number;
  /** From here on all claims of an hour are kept. */
  readonly claimsFrom: number;
  /** From here on hour cells are kept. */
  readonly cellsFrom: number;
  /** From here on day cells are kept; months and books stay longer. */
  readonly daysFrom: number;
}

function planPeriod({ period, recordsMs, rollupsMs }: VerifyRequest, heads: LedgerHeads): Plan {
  const now = Math.floor(heads.nowMs / 1000);
  // Not the oldest day: it may leave the store while it is read.
  const daysFrom = dayOf(now - Math.floor(rollupsMs / 1000)) + DAY_SECONDS;
  const cellsFrom = dayOf(now) - (HOUR_CELL_DAYS - 1) * DAY_SECONDS;
  const oldestDay = dayOf(now - Math.floor(recordsMs / 1000));
  const from = period.from ?? Math.min(oldestDay, cellsFrom);
  // A record may end up to half a minute after the last window of the claim before: its counts can stand a day later than its entry.
  const scanFrom = Math.max(oldestDay, dayOf(from - SECONDS_PER_HOUR));
  const frontierHour = heads.frontier === null ? now : hourOf(heads.frontier);
  return {
    hours: {
      from,
      to: Math.max(from, Math.min(period.to ?? Number.MAX_SAFE_INTEGER, frontierHour + SECONDS_PER_HOUR)),
    },
    scanFrom,
    scanTo:
      Object.values(heads.journals).reduce((last, head) => Math.max(last, head?.day ?? 0), dayOf(now)) + DAY_SECONDS,
    claimsFrom: Math.max(heads.entriesFrom, scanFrom + SECONDS_PER_HOUR),
    cellsFrom,
    daysFrom,
  };
}

class Verification {
  readonly #request: VerifyRequest;
  readonly #plan: Plan;
  readonly #spool: IncrementSpool;
  readonly #scan: EntryScan;
  readonly #vouchers: VoucherAudit;
  #first: Breakage | null = null;
  #hours = 0;
  #difference = 0n;
  #unclaimed: { readonly state: string; readonly byHour: UnclaimedSums } | null = null;

  constructor(request: VerifyRequest, plan: Plan, spool: IncrementSpool) {
    this.#request = request;
    this.#plan = plan;
    this.#spool = spool;
    const { ledger, books } = request;
    this.#vouchers = new VoucherAudit(ledger, books);
    const onBreakage = (breakage: Breakage) => void (this.#first ??= breakage);
    this.#scan = new EntryScan({ ledger, spool, oldestDay: plan.scanFrom, onBreakage });
  }

  async run(heads: LedgerHeads): Promise<VerifyResult> {
    const { scanFrom, scanTo, hours, cellsFrom, daysFrom } = this.#plan;
    this.#first ??= await this.#vouchers.read();
    for (const writeOff of this.#vouchers.listWriteOffs()) await this.#spool.add(writeOff);
    const { onProgress } = this.#request;
    const days = (scanTo - scanFrom) / DAY_SECONDS;
    for (let day = scanFrom; day < scanTo; day += DAY_SECONDS) {
      await this.#scan.takeDay(day, heads);
      onProgress((0.7 * ((day - scanFrom) / DAY_SECONDS + 1)) / days, `${this.#scan.records} records`);
    }
    this.#scan.checkHeads(heads);
    this.#first ??= await new FreezeAudit(this.#request.ledger).check(hours.from, hours.to);
    onProgress(0.75, 'freezes');
    for (let hour = hours.from; hour < hours.to; hour += SECONDS_PER_HOUR) {
      await this.#checkHour(hour);
      onProgress(0.75 + (0.2 * (hour - hours.from)) / (hours.to - hours.from), `${this.#hours} hours`);
    }
    for (const span of listSpans(hours, 'day')) {
      if (span.from >= Math.max(cellsFrom, daysFrom))
        await this.#checkSteadily(() => this.#checkSpan(span, ['day', 'hour']));
    }
    for (const span of listSpans(hours, 'month')) {
      if (span.from >= daysFrom) await this.#checkSteadily(() => this.#checkSpan(span, ['month', 'day']));
    }
    this.#first ??= await this.#vouchers.checkLate(this.#scan.late);
    this.#first ??= await this.#vouchers.checkCloses(daysFrom);
    onProgress(1, `${this.#scan.records} records, ${this.#hours} hours`);
    return {
      ok: this.#first === null && this.#difference === 0n,
      records: this.#scan.records,
      hours: this.#hours,
      differenceNanoUsd: this.#difference,
      firstBroken: this.#first,
    };
  }

  async #checkHour(hour: number): Promise<void> {
    let facts: HourFacts | null = null;
    await this.#checkSteadily(async (heads) => {
      facts = await this.#readHour(hour, heads);
      return checkHour(facts);
    });
    if (facts === null) return;
    const { books, cells } = facts as HourFacts;
    if (books.length === 0 && (cells === null || cells.length === 0)) return;
    this.#hours += 1;
    if (cells !== null) this.#difference += differenceOf({ books, cells });
  }

  async #readHour(hour: number, heads: LedgerHeads): Promise<HourFacts> {
    const { books } = this.#request;
    const period = { from: hour, to: hour + SECONDS_PER_HOUR };
    const isFrozen = heads.frontier !== null && hour < hourOf(heads.frontier + 1);
    const hasCells = hour >= this.#plan.cellsFrom;
    return {
      hour,
      books: await books.readBooks(period),
      cells: hasCells ? await books.readRollups(period, 'hour') : null,
      claimed: hasCells && hour >= this.#plan.claimsFrom ? await this.#spool.sum(hour) : null,
      unclaimed: isFrozen ? await this.#sumUnclaimed(hour, heads) : null,
      writtenOff: this.#vouchers.writtenOff(hour),
    };
  }

  /** Nanodollars of the hour in unclaimed shares, by pool. Shares of frozen hours change with claims only, so they are read once between two. */
  async #sumUnclaimed(hour: number, heads: LedgerHeads): Promise<ReadonlyMap<string, bigint>> {
    const state = describeState(heads);
    if (this.#unclaimed?.state !== state) {
      this.#unclaimed = { state, byHour: await readUnclaimedSums(this.#request.ledger, Object.keys(heads.journals)) };
    }
    return this.#unclaimed.byHour.get(hour) ?? new Map();
  }

  #checkSpan(span: Period, grains: Parameters<typeof checkSpan>[2]): Promise<Breakage | null> {
    return checkSpan(this.#request.books, span, grains);
  }

  /** Repeats a check that found something until no claim came between the reads it compared. */
  async #checkSteadily(check: (heads: LedgerHeads) => Promise<Breakage | null>): Promise<void> {
    const { ledger } = this.#request;
    for (let tries = 0; tries < STEADY_TRIES_MAX; tries += 1) {
      const before = await ledger.readHeads();
      await this.#scan.catchUp(before);
      const broken = await check(before);
      if (broken === null) return;
      const after = await ledger.readHeads();
      if (describeState(before) === describeState(after)) {
        this.#first ??= broken;
        return;
      }
    }
    throw new Error('claims came in faster than the books could be read: verify at a quieter time');
  }
}

/** Equal while no claim was applied and the frontier stayed within its hour. */
function describeState({ journals, frontier }: LedgerHeads): string {
  return JSON.stringify([journals, hourOf(frontier ?? 0)]);
}

/** By hour and pool. */
type UnclaimedSums = ReadonlyMap<number, ReadonlyMap<string, bigint>>;

async function readUnclaimedSums(ledger: LedgerReader, journals: readonly string[]): Promise<UnclaimedSums> {
  const byHour = new Map<number, Map<string, bigint>>();
  for (const journal of journals) {
    let afterK = -1;
    for (;;) {
      const shares = await ledger.readUnclaimed(journal, afterK);
      for (const { pool, window, nanoUsd } of shares.flatMap(({ windows }) => windows)) {
        const sums = byHour.get(hourOf(window)) ?? new Map<string, bigint>();
        byHour.set(hourOf(window), sums);
        if (nanoUsd !== '0') sums.set(pool, (sums.get(pool) ?? 0n) + BigInt(nanoUsd));
      }
      const last = shares.at(-1);
      if (last === undefined) break;
      afterK = last.k;
    }
  }
  return byHour;
}

/** UTC days or months that overlap the hours, whole. */
function listSpans(hours: Period, grain: 'day' | 'month'): Period[] {
  const spans: Period[] = [];
  for (let from = startOf(hours.from, grain); from < hours.to;) {
    const to = startOf(from + (grain === 'day' ? 1 : 32) * DAY_SECONDS, grain);
    spans.push({ from, to });
    from = to;
  }
  return spans;
}

function startOf(second: number, grain: 'day' | 'month'): number {
  if (grain === 'day') return dayOf(second);
  const date = new Date(second * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) / 1000;
}
