// Reads everything a report is computed from out of the books, as one consistent picture. Computing it is chargeback.ts's.
import type { BookCell, BooksReader, BooksStatus, Granularity, Period, RollupCell } from '#domain/books.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import type { CorrectionSource } from './corrections.ts';
import { coverPeriod } from './cover-period.ts';
import type { Dimension } from './dimensions.ts';
import { needsRecords } from './dimensions.ts';
import { ReportParameterError } from './report-error.ts';
import { ceilHour } from './report-period.ts';
import type { ReportPeriod } from './report-period.ts';

/** What the books hold of a period. `cells` are of mixed granularity and cover it once. */
export interface ReportSource extends CorrectionSource {
  readonly cells: readonly RollupCell[];
  readonly books: readonly BookCell[];
  readonly facts: FactBook;
  readonly status: BooksStatus;
  /** Records whose attempt ended in the period; null where the grouping does not need them. */
  readonly records: readonly SettledRecordJson[] | null;
}

/** A claim may fall between two reads; it comes about every 10 s per gateway, so a few repeats find a quiet moment. */
const READ_TRIES = 6;

/** Most records of one report by user or tag: more do not fit in memory beside traffic. */
const RECORDS_MAX = 500_000;

/**
 * Rejects with StoreUnavailableError, or with ReportParameterError when the period needs figures no longer kept. `readPeriod` of the
 * result's cells is [from, next whole hour at or after to).
 */
export async function readReportSource(
  books: BooksReader,
  period: ReportPeriod,
  groupBy: readonly Dimension[],
): Promise<ReportSource> {
  const hours: Period = { from: period.from, to: ceilHour(period.to) };
  const coarsest = coarsestFor(period, groupBy);
  let picture = await readPicture(books, hours, coarsest);
  for (let tries = 1; tries < READ_TRIES && !picture.isConsistent; tries += 1) {
    picture = await readPicture(books, hours, coarsest);
  }
  const records = needsRecords(groupBy) ? await readAllRecords(books, hours) : null;
  // After the cells: a close that comes in between leaves them as they are.
  const [vouchers, lateClaims] = await Promise.all([books.readVouchers(), books.readLateClaims(hours)]);
  const { cells, facts, status } = picture;
  return { cells, books: picture.books, facts, status, records, vouchers, lateClaims };
}

/** Cells of a period at most as coarse as `coarsest`; used by the usage API too. */
export async function readCells(
  books: BooksReader,
  request: { readonly period: Period; readonly coarsest: Granularity; readonly nowMs: number },
): Promise<readonly RollupCell[]> {
  const parts = coverPeriod({ ...request, now: Math.floor(request.nowMs / 1000) });
  const cells = await Promise.all(parts.map((part) => books.readRollups(part.period, part.granularity)));
  return cells.flat();
}

interface Picture extends Omit<ReportSource, 'records' | keyof CorrectionSource> {
  readonly isConsistent: boolean;
}

async function readPicture(books: BooksReader, period: Period, coarsest: Granularity): Promise<Picture> {
  // The frontier is read first: what is booked later can only make the answer fresher than it says, never staler.
  const status = await books.readStatus();
  const cells = await readCells(books, { period, coarsest, nowMs: status.nowMs });
  const [booked, facts] = await Promise.all([books.readBooks(period), books.readFacts()]);
  // A claim moves money in both, so that they belong together only if none came in between.
  const isConsistent = (await books.readStatus()).claimState === status.claimState;
  return { cells, books: booked, facts, status, isConsistent };
}

/** Days of another zone than UTC begin inside UTC days: only hours tell them apart. */
function coarsestFor(period: ReportPeriod, groupBy: readonly Dimension[]): Granularity {
  if (!groupBy.includes('day')) return 'month';
  return /^(Etc\/)?(UTC|UCT|Universal|Zulu|GMT)$/i.test(period.timezone.name) ? 'day' : 'hour';
}

async function readAllRecords(books: BooksReader, period: Period): Promise<readonly SettledRecordJson[]> {
  const all: SettledRecordJson[] = [];
  let cursor: string | null = null;
  do {
    const page: Awaited<ReturnType<BooksReader['readRecords']>> = await books.readRecords({
      fromMs: period.from * 1000,
      toMs: period.to * 1000,
      limit: 1000,
      ...(cursor === null ? {} : { cursor }),
    });
    all.push(...page.records);
    cursor = page.next;
    if (all.length > RECORDS_MAX) {
      throw new ReportParameterError(
        'groupBy',
        `user and tag read single records; the period has more than ${RECORDS_MAX}`,
      );
    }
  } while (cursor !== null);
  return all;
}
