// `inferometer ledger rebuild`: flags to a refilled store and a proof of it. Opening the store is the caller's (commands/ledger.ts).
import { listJournals } from '#accounting/journal-slots.ts';
import { type ArchiveMarks, RESTORED } from '#domain/archive-marks.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import type { StoreRestorer } from '#domain/restore-store.ts';
import { formatSecond } from '#domain/window.ts';
import { openArchive } from './open-archive.ts';
import { JournalFolderError, openJournalFolder } from './journal-folder.ts';
import { rebuildLedger, type RebuildResult } from './rebuild-ledger.ts';
import { renderVerdict, toVerdictJson } from './verify-command.ts';
import { verifyLedger } from './verify-ledger.ts';

export interface RebuildArguments {
  readonly journal?: readonly string[] | undefined;
  /** Folder; default `retention.archive`. */
  readonly archive?: string | undefined;
  readonly json?: boolean | undefined;
}

export interface RebuildCommandRequest {
  readonly restorer: StoreRestorer;
  readonly ledger: LedgerReader;
  readonly books: BooksReader;
  /** `journal.dir` of the config. */
  readonly journalDir: string;
  /** `retention.archive`; empty for none. */
  readonly archiveDir: string;
  readonly marks: ArchiveMarks;
  readonly recordsMs: number;
  readonly rollupsMs: number;
  /** Epoch milliseconds of the store's clock. */
  readonly nowMs: number;
  readonly args: RebuildArguments;
  readonly write: (text: string) => void;
  readonly onProgress: (share: number, text: string) => void;
}

/** Rebuilds, verifies and says both; exit code 0 the books add up, 1 they do not. Rejects with RebuildRefusedError or JournalFolderError. */
export async function runRebuildCommand(request: RebuildCommandRequest): Promise<0 | 1> {
  const { args, write, ledger, books, recordsMs, rollupsMs, onProgress } = request;
  const roots = args.journal === undefined || args.journal.length === 0 ? [request.journalDir] : args.journal;
  const archive = await openArchive(args.archive ?? request.archiveDir);
  // Where the journals are lost too, the archive alone brings back what it has.
  const isGiven = (args.journal ?? []).length > 0 || archive.days.length === 0;
  const journals = roots.flatMap((root) => listFolders(root, isGiven)).map(openJournalFolder);
  const rebuilt = await rebuildLedger({
    ...request,
    journals,
    archive,
    onProgress: (share, text) => onProgress(share * 0.7, text),
  });
  for (const day of rebuilt.archivedDays) {
    await request.marks.beginExport(day);
    await request.marks.finishExport(day, RESTORED);
  }
  const verdict = await verifyLedger({
    ledger,
    books,
    recordsMs,
    rollupsMs,
    period: { from: null, to: null },
    onProgress: (share, text) => onProgress(0.7 + share * 0.3, text),
  });
  const verified = toVerdictJson(verdict);
  if (args.json === true) write(`${JSON.stringify({ ...toJson(rebuilt), verified })}\n`);
  else write(`${describe(rebuilt)}${renderVerdict(verdict)}`);
  return verdict.ok ? 0 : 1;
}

/** The journals below a `journal.dir`, or the folder itself where it is one. */
function listFolders(root: string, isNeeded: boolean): readonly string[] {
  const folders = listJournals(root);
  if (folders.length === 0 && isNeeded)
    throw new JournalFolderError(`${root} holds no journal: --journal must name the journal.dir of a gateway`);
  return folders;
}

function toJson(result: RebuildResult): Readonly<Record<string, unknown>> {
  const { epoch, records, hours, archivedDays, from, isComplete, frontier, missingJournals } = result;
  return {
    epoch,
    records,
    hours,
    archivedDays: archivedDays.length,
    from: from === null ? null : formatSecond(from),
    complete: isComplete,
    settledThrough: formatSecond(frontier + 1),
    missingJournals,
  };
}

function describe(result: RebuildResult): string {
  const { records, hours, archivedDays, from, isComplete, frontier, missingJournals } = result;
  const days = archivedDays.length === 0 ? '' : `${archivedDays.length} days from the archive, `;
  const reach =
    from === null
      ? `${days}nothing from journals`
      : isComplete
        ? `${days}everything since the books began`
        : `${days}everything from ${formatSecond(from)} on from the journals that were given`;
  const missing =
    missingJournals.length === 0
      ? ''
      : `Money of ${missingJournals.join(', ')} stays pending: give the journal.dir of every gateway with --journal.\n`;
  return `Rebuilt: ${records} records and ${hours} hours through ${formatSecond(frontier + 1)}, ${reach}.\n${missing}`;
}
