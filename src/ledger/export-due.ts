// Exports every settled day that is not in the archive yet, then lets days leave the store whose retention is over. Not here: one day (export-day.ts).
import { randomUUID } from 'node:crypto';
import type { ArchiveMarks } from '#domain/archive-marks.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LeaseStore } from '#domain/lease-store.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { writeVouchers } from './archive-vouchers.ts';
import { type ArchiveFormat, DayNotSettledError, type DayManifest, exportDay } from './export-day.ts';
import { formatDay } from './ledger-period.ts';
import { dayOf } from './scan-entries.ts';

const DAY_SECONDS = 86_400;
/** Days that could not be exported are looked for this long beyond their retention. */
const LATE_DAYS = 60;
const LEASE = 'archive';
/** Renewed with every day; a process that died is followed after this. */
const LEASE_MS = 15 * 60_000;

export interface ExportDueRequest {
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  readonly marks: ArchiveMarks;
  readonly leases: LeaseStore;
  /** `retention.archive`. */
  readonly folder: string;
  readonly recordsMs: number;
  readonly format: ArchiveFormat;
  readonly gzip: boolean;
  /** `share` 0 … 1. */
  readonly onProgress: (share: number, text: string) => void;
}

export interface ExportDueResult {
  /** False: another process is at it. */
  readonly held: boolean;
  readonly exported: readonly DayManifest[];
  /** Days that left the store. */
  readonly dropped: readonly string[];
  /** Days that are not settled or do not add up, with the reason; they stay in the store. */
  readonly waiting: readonly { readonly day: string; readonly reason: string }[];
}

/** Safe to repeat and to run on every gateway. Rejects with the file system's error or StoreUnavailableError. */
export async function exportDue(request: ExportDueRequest): Promise<ExportDueResult> {
  const { leases } = request;
  const holder = randomUUID();
  const hold = async () => (await leases.acquireLeases({ holder, names: [LEASE], ttlMs: LEASE_MS })).length > 0;
  if (!(await hold())) return { held: false, exported: [], dropped: [], waiting: [] };
  try {
    return await runDue(request, hold);
  } finally {
    await leases.releaseLeases({ holder, names: [LEASE] });
  }
}

async function runDue(request: ExportDueRequest, hold: () => Promise<boolean>): Promise<ExportDueResult> {
  const { ledger, marks, recordsMs, onProgress } = request;
  const { nowMs, frontier } = await ledger.readHeads();
  const now = Math.floor(nowMs / 1000);
  const first = dayOf(now - Math.floor(recordsMs / 1000)) - LATE_DAYS * DAY_SECONDS;
  const end = dayOf(Math.min(now, frontier ?? 0));
  const done = await marks.readExported();
  const retained = now - Math.ceil(recordsMs / 1000);
  const exported: DayManifest[] = [];
  const waiting: { day: string; reason: string }[] = [];
  for (let day = first; day < end; day += DAY_SECONDS) {
    onProgress((0.9 * (day - first)) / Math.max(1, end - first), formatDay(day));
    if (done.has(day) || (await isEmpty(request, { day, retained }))) continue;
    if (!(await hold())) return { held: false, exported, dropped: [], waiting };
    try {
      const manifest = await exportMarked(request, day);
      if (manifest !== null) exported.push(manifest);
    } catch (err) {
      if (!(err instanceof DayNotSettledError)) throw err;
      waiting.push({ day: formatDay(day), reason: err.message });
    }
  }
  await writeVouchers(request.folder, request.books);
  const dropped = await dropOld(marks, retained);
  onProgress(1, `${exported.length} days exported, ${dropped.length} left the store`);
  return { held: true, exported, dropped, waiting };
}

/** Exports a day and marks it; null where something came meanwhile, which the next run exports. */
async function exportMarked(request: ExportDueRequest, day: number): Promise<DayManifest | null> {
  const { ledger, books, marks, folder, format, gzip } = request;
  await marks.beginExport(day);
  const manifest = await exportDay({ ledger, books, day, folder, format, gzip, partial: false, onProgress: () => {} });
  return (await marks.finishExport(day, manifest.ledgerHash)) ? manifest : null;
}

/** Nothing to be exported: no books, or, of a day before `retained` (epoch second), nothing but its books, since it has left the store. */
async function isEmpty(
  { books, ledger }: ExportDueRequest,
  { day, retained }: { readonly day: number; readonly retained: number },
): Promise<boolean> {
  const to = day + DAY_SECONDS;
  if ((await ledger.listEntries(day)).length > 0) return false;
  if ((await books.readBooks({ from: day, to })).length === 0) return true;
  if (to > retained) return false;
  return (await books.readRecords({ fromMs: day * 1000, toMs: to * 1000, limit: 1 })).records.length === 0;
}

/** Days whose last second is before `before` (epoch second) and that were exported, oldest first. */
async function dropOld(marks: ArchiveMarks, before: number): Promise<string[]> {
  const dropped: string[] = [];
  for (const day of [...(await marks.readExported()).keys()].toSorted((a, b) => a - b)) {
    if (day + DAY_SECONDS > before) continue;
    while (!(await marks.dropDay(day)));
    dropped.push(formatDay(day));
  }
  return dropped;
}
