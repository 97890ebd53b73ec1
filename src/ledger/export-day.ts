// Exports one UTC day of settled records to a file with a manifest beside it. Not here: the days and the progress bar (export-command.ts).
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import { BOOK_METRICS, type BookMetric } from '#domain/settlement.ts';
import type { BooksReader, Period } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { countMovedIn } from './count-moved.ts';
import { booksFileName, writeBooksFile } from './archive-books.ts';
import { ArchiveSums, readDayRecords } from './archive-rows.ts';
import { readChainHeads } from './chain-heads.ts';
import { formatDay } from './ledger-period.ts';
import { createParquetSink } from './parquet-records.ts';
import { createNdjsonSink, type RecordSink } from './record-sink.ts';

const DAY_SECONDS = 86_400;
/** A record may settle this much after its day's last window was frozen: H and the next claim (settlement.md). */
const SETTLED_MARGIN_SECONDS = 60;

export type ArchiveFormat = 'ndjson' | 'parquet';

export interface ExportDayRequest {
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  /** First epoch second of the UTC day. */
  readonly day: number;
  readonly folder: string;
  readonly format: ArchiveFormat;
  readonly gzip: boolean;
  /** True: a day that is not settled is exported as far as it is, and marked. */
  readonly partial: boolean;
  /** `share` 0 … 1. */
  readonly onProgress: (share: number) => void;
}

export interface ArchiveFile {
  readonly name: string;
  readonly bytes: number;
  /** Hex, of the file as it lies there. */
  readonly sha256: string;
}

/** `manifest-<day>.json`. Money in decimal strings of nanodollars. */
export interface DayManifest {
  readonly schema: 'inferometer.archive/1';
  readonly day: string;
  /** False: exported with `--partial` before the day was settled. */
  readonly complete: boolean;
  readonly records: number;
  readonly sums: Readonly<Record<string, string>>;
  readonly tokens: Readonly<Record<string, string>>;
  /** The day's books by pool. */
  readonly pools: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly chains: Awaited<ReturnType<typeof readChainHeads>>;
  /** Hex SHA-256 of the canonical JSON of everything above. */
  readonly ledgerHash: string;
  readonly files: readonly ArchiveFile[];
  /** Hour figures of the day for a rebuild; absent in a partial export. */
  readonly books?: ArchiveFile;
}

/** The day cannot be exported as it is; the message says why and what to do. */
export class DayNotSettledError extends Error {
  override name = 'DayNotSettledError';
}

/**
 * Writes `records-<day>.ndjson[.gz]` or `.parquet` and the manifest, each under another name first. The same day exports to the same bytes.
 * Rejects with DayNotSettledError unless `partial`, and where the folder has more of the day than the store, with StoreUnavailableError, or with the file system's error.
 */
export async function exportDay(request: ExportDayRequest): Promise<DayManifest> {
  const { day, folder, format, gzip } = request;
  const unsettled = await findUnsettled(request.books, day);
  if (unsettled !== null && !request.partial) throw new DayNotSettledError(unsettled);
  await mkdir(folder, { recursive: true });
  const suffix = format === 'parquet' ? '.parquet' : gzip ? '.ndjson.gz' : '.ndjson';
  const name = `records-${formatDay(day)}${suffix}`;
  const part = join(folder, `${name}.part`);
  try {
    const sink = format === 'parquet' ? await createParquetSink(part) : createNdjsonSink(part, gzip);
    const sums = await writeRecords(request, sink);
    const missing = unsettled ?? (await findMissing(request, sums.records));
    if (missing !== null && !request.partial) throw new DayNotSettledError(missing);
    const there = missing === null ? 0 : await countExported(folder, day);
    if (there > sums.records)
      throw new DayNotSettledError(
        `${formatDay(day)} stands in ${folder} with ${there} records, the store has ${sums.records} of them: they would be lost; export it with another --out`,
      );
    const manifest = await writeManifest(request, { part, name, sums, complete: missing === null });
    return manifest;
  } finally {
    await rm(part, { force: true });
  }
}

/** Why the day is not settled, in words; null when it is. */
async function findUnsettled(books: BooksReader, day: number): Promise<string | null> {
  const { frontier } = await books.readStatus();
  const needed = day + DAY_SECONDS + SETTLED_MARGIN_SECONDS;
  if (frontier === null || frontier < needed)
    return `${formatDay(day)} is not settled yet: export it later, or with --partial`;
  const cells = await books.readBooks(spanOf(day));
  const pending = cells.reduce((sum, { metrics }) => sum + metrics.chargedNanoUsd - metrics.claimedNanoUsd, 0n);
  if (pending === 0n) return null;
  return `${formatDay(day)} has ${pending} nanodollars that no team holds yet: export it later, or with --partial`;
}

/** The day's cells say how many attempts there were: fewer in the store means that records have left it. */
async function findMissing({ books, ledger, day }: ExportDayRequest, records: number): Promise<string | null> {
  const cells = await books.readRollups(spanOf(day), 'day');
  const counted = cells.reduce((sum, { metrics }) => sum + metrics.attempts + metrics.rejectedRequests, 0n);
  if (counted === BigInt(records)) return null;
  const { closedThrough } = await ledger.readHeads();
  // Attempts that settled after their month was closed are counted in the month that was open (domain/relabel-claim.ts).
  if (day < closedThrough && BigInt(records) > counted) return null;
  if (closedThrough > 0 && counted - (await countMovedIn(ledger, day)) === BigInt(records)) return null;
  return `${formatDay(day)} has ${counted} attempts in its books and ${records} records in the store: run ledger verify, or export it with --partial`;
}

async function writeRecords({ books, day, onProgress }: ExportDayRequest, sink: RecordSink): Promise<ArchiveSums> {
  const sums = new ArchiveSums();
  for await (const { records, share } of readDayRecords(books, day)) {
    for (const record of records) {
      sums.add(record);
      await sink.add(record);
    }
    onProgress(share);
  }
  await sink.close();
  return sums;
}

async function writeManifest(
  { ledger, books, day, folder }: ExportDayRequest,
  written: { readonly part: string; readonly name: string; readonly sums: ArchiveSums; readonly complete: boolean },
): Promise<DayManifest> {
  const { part, name, sums, complete } = written;
  const file: ArchiveFile = { name, bytes: (await stat(part)).size, sha256: await hashFile(part) };
  const content = {
    schema: 'inferometer.archive/1' as const,
    day: formatDay(day),
    complete,
    records: sums.records,
    ...sums.read(),
    pools: await sumPools(books, day),
    chains: await readChainHeads({ ledger, books }, day),
  };
  const ledgerHash = createHash('sha256').update(canonicalJson(content)).digest('hex');
  const path = manifestPath(folder, day);
  const others = await readOtherFiles(path, { ledgerHash, name });
  const files = [...others, file].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const booked = complete ? await addBooks({ ledger, books, day, folder }) : null;
  const manifest: DayManifest = { ...content, ledgerHash, files, ...(booked === null ? {} : { books: booked }) };
  await writeFile(`${path}.part`, `${JSON.stringify(manifest, null, 2)}\n`);
  await rename(part, join(folder, name));
  await rename(`${path}.part`, path);
  return manifest;
}

/** Null where the store has no hour figures of the day any more. */
async function addBooks(
  request: Pick<ExportDayRequest, 'ledger' | 'books' | 'day' | 'folder'>,
): Promise<ArchiveFile | null> {
  const name = booksFileName(request.day);
  const path = join(request.folder, name);
  if (!(await writeBooksFile(path, request))) return null;
  return { name, bytes: (await stat(path)).size, sha256: await hashFile(path) };
}

/** Records of the day that the folder has by its manifest; 0 without one. */
async function countExported(folder: string, day: number): Promise<number> {
  try {
    return (JSON.parse(await readFile(manifestPath(folder, day), 'utf8')) as DayManifest).records;
  } catch {
    return 0;
  }
}

function manifestPath(folder: string, day: number): string {
  return join(folder, `manifest-${formatDay(day)}.json`);
}

/** Files of the same day in other formats stay in the manifest as long as the ledger says the same of it. */
async function readOtherFiles(
  path: string,
  { ledgerHash, name }: { ledgerHash: string; name: string },
): Promise<readonly ArchiveFile[]> {
  try {
    const before = JSON.parse(await readFile(path, 'utf8')) as DayManifest;
    return before.ledgerHash === ledgerHash ? before.files.filter((file) => file.name !== name) : [];
  } catch {
    // No manifest yet, or one that cannot be read: it is written anew.
    return [];
  }
}

async function sumPools(books: BooksReader, day: number): Promise<DayManifest['pools']> {
  const pools = new Map<string, Record<BookMetric, bigint>>();
  for (const { pool, metrics } of await books.readBooks(spanOf(day))) {
    const sums = pools.get(pool);
    if (sums === undefined) pools.set(pool, { ...metrics });
    else for (const metric of BOOK_METRICS) sums[metric] += metrics[metric];
  }
  const spell = (sums: Record<BookMetric, bigint>) =>
    Object.fromEntries(BOOK_METRICS.map((metric) => [metric, sums[metric].toString()]));
  return Object.fromEntries([...pools].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([pool, s]) => [pool, spell(s)]));
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

function spanOf(day: number): Period {
  return { from: day, to: day + DAY_SECONDS };
}
