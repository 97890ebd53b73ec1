// `inferometer ledger export`: flags to days, each to its file. Opening the store is the caller's (commands/ledger.ts).
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import type { LeaseStore } from '#domain/lease-store.ts';
import { writeVouchers } from './archive-vouchers.ts';
import { exportDue } from './export-due.ts';
import { type DayManifest, exportDay } from './export-day.ts';
import { formatDay, LedgerFlagError, listDays, parseDay } from './ledger-period.ts';

export interface ExportArguments {
  readonly day?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly format?: string | undefined;
  readonly out?: string | undefined;
  readonly gzip?: boolean | undefined;
  readonly partial?: boolean | undefined;
  /** Every settled day that is not in the archive yet; then days past their retention leave the store. */
  readonly due?: boolean | undefined;
  readonly json?: boolean | undefined;
}

export interface ExportCommandRequest {
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  readonly args: ExportArguments;
  readonly marks: ArchiveMarks;
  readonly leases: LeaseStore;
  /** `retention.records`, milliseconds. */
  readonly recordsMs: number;
  /** `retention.archive`; empty for none. */
  readonly archive: string;
  readonly write: (text: string) => void;
  readonly onProgress: (share: number, text: string) => void;
}

/** Exports the days oldest first and says what was written; exit code 0. Rejects with LedgerFlagError, DayNotSettledError or what kept it from writing. */
export async function runExportCommand(request: ExportCommandRequest): Promise<0> {
  const { args, onProgress, write } = request;
  if (args.due === true) return exportDueDays(request);
  const days = readDays(args);
  const folder = args.out ?? request.archive;
  if (folder === '') throw new LedgerFlagError('--out DIR is needed, since retention.archive is empty');
  const format = args.format ?? 'ndjson';
  if (format !== 'ndjson' && format !== 'parquet') throw new LedgerFlagError('--format must be ndjson or parquet');
  if (format === 'parquet' && args.gzip === true)
    throw new LedgerFlagError('--gzip is for ndjson: Parquet is compressed inside');
  const isArchive = folder === request.archive;
  const manifests: DayManifest[] = [];
  for (const [i, day] of days.entries()) {
    if (isArchive) await request.marks.beginExport(day);
    const manifest = await exportDay({
      ledger: request.ledger,
      books: request.books,
      day,
      folder,
      format,
      gzip: args.gzip === true,
      partial: args.partial === true,
      onProgress: (share) => onProgress((i + share) / days.length, formatDay(day)),
    });
    // Only whole days of the archive may leave the store one day.
    if (isArchive && manifest.complete) await request.marks.finishExport(day, manifest.ledgerHash);
    manifests.push(manifest);
    if (args.json !== true) write(describe(manifest, folder));
  }
  if (isArchive) await writeVouchers(folder, request.books);
  if (args.json === true) write(`${JSON.stringify({ folder, days: manifests })}\n`);
  return 0;
}

async function exportDueDays({ args, archive, write, ...request }: ExportCommandRequest): Promise<0> {
  const others = [args.day, args.from, args.to, args.out, args.partial].filter((value) => value !== undefined);
  if (others.length > 0) throw new LedgerFlagError('--due cannot stand beside --day, --from, --to, --out or --partial');
  if (archive === '') throw new LedgerFlagError('--due writes to retention.archive, which is empty');
  const format = args.format === 'parquet' ? 'parquet' : 'ndjson';
  const result = await exportDue({ ...request, folder: archive, format, gzip: format === 'ndjson' });
  if (args.json === true) {
    write(`${JSON.stringify({ folder: archive, ...result })}\n`);
    return 0;
  }
  if (!result.held) write('Another process is exporting.\n');
  for (const manifest of result.exported) write(describe(manifest, archive));
  for (const { day, reason } of result.waiting) write(`${day} waits: ${reason}\n`);
  for (const day of result.dropped) write(`${day} left the store: it is in ${archive}\n`);
  if (result.held && result.exported.length === 0 && result.dropped.length === 0) write('Nothing is due.\n');
  return 0;
}

function readDays({ day, from, to }: ExportArguments): readonly number[] {
  if (day !== undefined) {
    if (from !== undefined || to !== undefined) throw new LedgerFlagError('--day cannot stand beside --from or --to');
    return [parseDay('--day', day)];
  }
  if (from === undefined || to === undefined)
    throw new LedgerFlagError('--day, or --from and --to, must say which days');
  const days = listDays(parseDay('--from', from), parseDay('--to', to));
  if (days.length === 0) throw new LedgerFlagError('--from must be before --to');
  return days;
}

function describe({ day, records, complete, sums, files }: DayManifest, folder: string): string {
  const mark = complete ? '' : ' (partial: not settled)';
  const names = files.map(({ name }) => name).join(', ');
  return `${day}: ${records} records, ${sums['costNanoUsd']} nanodollars${mark}: ${folder}/${names}\n`;
}
