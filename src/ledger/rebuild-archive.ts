// The part of a rebuild that writes figures and archived records, hour by hour and day by day. Not here: what the journals say.
import type { LateClaim } from '#domain/voucher.ts';
import { SECONDS_PER_HOUR } from '#domain/window.ts';
import type { ArchivedDay } from './archive-books.ts';
import { addToCell, type CellSums } from './cell-sums.ts';
import type { IncrementSpool } from './increment-spool.ts';
import type { JournalReplay } from './rebuild-journals.ts';
import type { RebuildRequest } from './rebuild-ledger.ts';
import { CellWriter } from './rebuild-figures.ts';
import type { RebuildSources } from './rebuild-sources.ts';
import { dayOf } from './scan-entries.ts';

const DAY_SECONDS = 86_400;

interface FigureParts {
  readonly sources: RebuildSources;
  readonly replay: JournalReplay;
  readonly spool: IncrementSpool;
  readonly period: { readonly from: number; readonly to: number };
  /** Takes the late claims of archived days. */
  readonly late: LateClaim[];
}

/** Cells and books of all hours, those of archived days from there; returns how many hours there were. */
export async function writeFigures(
  { restorer, archive, nowMs, onProgress }: RebuildRequest,
  { sources, replay, spool, period, late }: FigureParts,
): Promise<number> {
  const writer = new CellWriter(restorer, Math.floor(nowMs / 1000));
  let hours = 0;
  let archived: ArchivedDay | null = null;
  for (let hour = period.from; hour < period.to; hour += SECONDS_PER_HOUR) {
    const { cells, claimed } = await spool.sum(hour);
    if (!sources.isArchived(hour)) archived = null;
    else if (archived?.day !== dayOf(hour)) {
      archived = await archive.read(dayOf(hour));
      late.push(...archived.late);
      for (const book of archived.books) {
        const metrics = Object.fromEntries(Object.entries(book.metrics).map(([name, value]) => [name, String(value)]));
        replay.books.add({ ...book, metrics });
      }
    }
    addAll(cells, archived?.cells.get(hour));
    const books = replay.books.read(hour, claimed);
    if (books.length > 0) await restorer.restoreBooks(books);
    if (cells.size > 0) await writer.add(hour, cells);
    if (books.length > 0 || cells.size > 0) hours += 1;
    onProgress(0.6 + (0.25 * (hour - period.from)) / (period.to - period.from), `${hours} hours`);
  }
  await writer.finish();
  return hours;
}

function addAll(cells: CellSums, more: CellSums | undefined): void {
  for (const [name, metrics] of more ?? []) addToCell(cells, name, metrics);
}

/** Records of the archived days that the store still keeps, but for those that came with a claim, and the strays of their entries; returns how many. */
export async function restoreArchivedRecords(
  { restorer, archive, nowMs, recordsMs, onProgress }: RebuildRequest,
  {
    days,
    replay: { archivedIds, strays },
  }: { readonly days: readonly number[]; readonly replay: Pick<JournalReplay, 'archivedIds' | 'strays'> },
): Promise<number> {
  const oldest = dayOf(Math.floor((nowMs - recordsMs) / 1000));
  let count = 0;
  for (const [i, day] of days.entries()) {
    onProgress(0.85 + (0.1 * i) / days.length, `${count} archived records`);
    let part = 0;
    // They are of the day after, which the store may keep where it no longer keeps this one.
    const strayed = strays.get(day) ?? [];
    if (strayed.length > 0) {
      await restorer.restoreRecords(day, part, strayed);
      part += 1;
      count += strayed.length;
    }
    if (day + DAY_SECONDS <= oldest) continue;
    for await (const records of archive.readRecords(day)) {
      const wanted = records.filter(({ recordId }) => !archivedIds.has(recordId));
      await restorer.restoreRecords(day, part, wanted);
      part += 1;
      count += wanted.length;
    }
  }
  return count;
}
