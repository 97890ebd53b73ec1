// Figures of an archived UTC day beside its records: hour cells, books and where the chains stood, so that a lost store can be rebuilt.
// Not here: the records (archive-rows.ts), the rebuild (rebuild-ledger.ts).
import { readFile, writeFile } from 'node:fs/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import type { BookCell, BooksReader } from '#domain/books.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { BOOK_METRICS, type BookMetric, CELL_METRICS } from '#domain/settlement.ts';
import type { LateClaim } from '#domain/voucher.ts';
import { addToCell, type CellSums, nameCell } from './cell-sums.ts';
import { formatDay } from './ledger-period.ts';

const DAY_SECONDS = 86_400;
const TRIES_MAX = 20;

/** Numbers as decimal strings. */
interface BooksJson {
  readonly schema: 'inferometer.books/1';
  readonly day: string;
  readonly epoch: string;
  /** Last entry of each journal whose figures are in here. */
  readonly heads: Readonly<Record<string, number>>;
  /** Hour, dimensions as JSON, values in the order of CELL_METRICS. */
  readonly cells: readonly (readonly [hour: number, dims: string, ...values: string[]])[];
  /** Hour, pool, deployments, GPU, values in the order of BOOK_METRICS. */
  readonly books: readonly (readonly [
    hour: number,
    pool: string,
    deployments: string,
    gpu: string,
    ...values: string[],
  ])[];
  readonly late: readonly LateClaim[];
  readonly facts: FactBook;
  /** The freeze chain when it was written, at or after the end of the day. */
  readonly freezes: { readonly k: number; readonly hash: string };
}

/** One archived day. */
export interface ArchivedDay {
  readonly day: number;
  readonly epoch: string;
  readonly heads: Readonly<Record<string, number>>;
  /** By hour. */
  readonly cells: ReadonlyMap<number, CellSums>;
  readonly books: readonly BookCell[];
  readonly late: readonly LateClaim[];
  readonly facts: FactBook;
  /** The freeze chain when it was written, at or after the end of the day. */
  readonly freezes: { readonly k: number; readonly hash: string };
}

/** `books-2026-11-22.json.gz`. */
export function booksFileName(day: number): string {
  return `books-${formatDay(day)}.json.gz`;
}

/**
 * Writes the day's figures, unless the file says the same of them already; false where the store has no hour figures of the day any more. Rejects
 * with StoreUnavailableError or the file system's error.
 */
export async function writeBooksFile(
  path: string,
  { ledger, books, day }: { readonly ledger: LedgerReader; readonly books: BooksReader; readonly day: number },
): Promise<boolean> {
  const period = { from: day, to: day + DAY_SECONDS };
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const figures = await readFigures(books, day);
    const { epoch, journals, k, freezeHash } = await ledger.readHeads();
    // Equal before and after: what the heads cover is in the figures, or does not touch the day.
    if (canonicalJson(figures) !== canonicalJson(await readFigures(books, day))) continue;
    if (figures.cells.length === 0 && (await books.readRollups(period, 'day')).length > 0) return false;
    if (await saysTheSame(path, figures)) return true;
    const heads = Object.fromEntries(Object.entries(journals).map(([journal, link]) => [journal, link?.seq ?? 0]));
    const content: BooksJson = {
      schema: 'inferometer.books/1',
      day: formatDay(day),
      epoch,
      heads,
      ...figures,
      facts: await books.readFacts(),
      freezes: { k, hash: freezeHash },
    };
    await writeFile(path, gzipSync(JSON.stringify(content)));
    return true;
  }
  throw new Error(`claims of ${formatDay(day)} came in faster than it could be read: export it at a quieter time`);
}

/** Throws SyntaxError on anything but what `writeBooksFile` wrote. */
export async function readBooksFile(path: string): Promise<ArchivedDay> {
  const json = parseFile(await readFile(path));
  const cells = new Map<number, CellSums>();
  for (const [hour, dims, ...values] of json.cells) {
    const sums: CellSums = cells.get(hour) ?? new Map();
    cells.set(hour, sums);
    addToCell(sums, dims, Object.fromEntries(CELL_METRICS.map((metric, i) => [metric, BigInt(values[i] ?? '0')])));
  }
  const books = json.books.map(([hour, pool, deployments, gpu, ...values]): BookCell => {
    const metrics = BOOK_METRICS.map((metric, i) => [metric, BigInt(values[i] ?? '0')] as const);
    return { hour, pool, deployments, gpu, metrics: Object.fromEntries(metrics) as Record<BookMetric, bigint> };
  });
  const { epoch, heads, late, facts, freezes } = json;
  return { day: Date.parse(json.day) / 1000, epoch, heads, cells, books, late, facts, freezes };
}

function parseFile(bytes: Buffer): BooksJson {
  const json = JSON.parse(gunzipSync(bytes).toString()) as BooksJson;
  if (json.schema !== 'inferometer.books/1') throw new SyntaxError('not a file of archived books');
  return json;
}

type Figures = Pick<BooksJson, 'cells' | 'books' | 'late'>;

async function readFigures(books: BooksReader, day: number): Promise<Figures> {
  const period = { from: day, to: day + DAY_SECONDS };
  const cells = (await books.readRollups(period, 'hour')).map(
    (cell) => [cell.start, nameCell(cell), ...CELL_METRICS.map((metric) => String(cell.metrics[metric]))] as const,
  );
  const booked = (await books.readBooks(period)).map(
    ({ hour, pool, deployments, gpu, metrics }) =>
      [hour, pool, deployments, gpu, ...BOOK_METRICS.map((metric) => String(metrics[metric]))] as const,
  );
  const late = await books.readLateClaims(period);
  return {
    cells: cells.toSorted((a, b) => a[0] - b[0] || compareText(a[1], b[1])),
    books: booked.toSorted((a, b) => a[0] - b[0] || compareText(a[1], b[1])),
    late: late.toSorted((a, b) => compareText(a.journal, b.journal) || a.seq - b.seq),
  };
}

async function saysTheSame(path: string, { cells, books, late }: Figures): Promise<boolean> {
  try {
    const before = parseFile(await readFile(path));
    const told = { cells: before.cells, books: before.books, late: before.late };
    return canonicalJson(told) === canonicalJson({ cells, books, late });
  } catch {
    // None yet, or one that cannot be read: it is written anew.
    return false;
  }
}

function compareText(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
