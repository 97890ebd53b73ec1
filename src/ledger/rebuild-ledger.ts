// Refills an empty store from the archive and the journals: `ledger rebuild`. Not here: flags and words (rebuild-command.ts).
import type { FactBook } from '#domain/pool-facts.ts';
import type { RestoredState, StoreRestorer } from '#domain/restore-store.ts';
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import { IncrementSpool } from './increment-spool.ts';
import { JournalFacts } from './journal-facts.ts';
import type { JournalSource } from './journal-folder.ts';
import { JournalReplay } from './rebuild-journals.ts';
import { CellWriter } from './rebuild-figures.ts';
import { RebuildSources } from './rebuild-sources.ts';

/** Nothing was changed: the store has books of its own, or there is nothing to rebuild from. The message says what to do. */
export class RebuildRefusedError extends Error {
  override name = 'RebuildRefusedError';
}

export interface RebuildRequest {
  readonly restorer: StoreRestorer;
  readonly journals: readonly JournalSource[];
  /** Epoch milliseconds of the store's clock. */
  readonly nowMs: number;
  /** `share` 0 … 1. */
  readonly onProgress: (share: number, text: string) => void;
}

export interface RebuildResult {
  readonly epoch: string;
  /** Records restored. */
  readonly records: number;
  readonly hours: number;
  /** First epoch second that is restored exactly, and whether the books began there. */
  readonly from: number;
  readonly isComplete: boolean;
  /** Last frozen window. */
  readonly frontier: number;
  /** Journals that hold money nobody claimed and whose folder was not given. */
  readonly missingJournals: readonly string[];
}

/**
 * Two passes over the journals: what the store had, then its content. Rejects with RebuildRefusedError, JournalFolderError or
 * StoreUnavailableError; after the latter it can be run again.
 */
export async function rebuildLedger(request: RebuildRequest): Promise<RebuildResult> {
  const { restorer, journals, onProgress } = request;
  const facts = readFacts(journals, (share) => onProgress(0.4 * share, 'reading journals'));
  const { epoch } = facts;
  if (epoch === null)
    throw new RebuildRefusedError('the journals hold no message that a store ever took: there is nothing to rebuild');
  const sources = new RebuildSources(facts, epoch, new Map());
  const tip = sources.path.at(-1);
  const book = facts.bookOf(epoch);
  if (tip === undefined || book === null)
    throw new RebuildRefusedError(
      'no frozen hour stands in the journals: name the journal.dir of every gateway with --journal',
    );
  if (!(await restorer.beginRestore()))
    throw new RebuildRefusedError(
      'the store is not empty: books have begun in it. Empty it, or use another store.prefix (SQLite: another file)',
    );
  const period = { from: sources.journalsFrom, to: hourOf(tip.to) + 2 * SECONDS_PER_HOUR };
  const spool = new IncrementSpool(period);
  try {
    const replay = new JournalReplay({ restorer, sources, spool, frontier: tip.to });
    await replay.run(journals, (share) => onProgress(0.4 + 0.4 * share, `${replay.records} records`));
    const hours = await writeFigures(request, { replay, spool, period });
    await writeFreezes(restorer, sources);
    const state = replay.finish();
    await restorer.finishRestore(toState({ sources, book, replay, members: state }));
    onProgress(1, `${replay.records} records, ${hours} hours`);
    return {
      epoch,
      records: replay.records,
      hours,
      from: sources.journalsFrom,
      isComplete: sources.isComplete,
      frontier: tip.to,
      missingJournals: replay.missingJournals,
    };
  } finally {
    await spool.close();
  }
}

function readFacts(journals: readonly JournalSource[], onProgress: (share: number) => void): JournalFacts {
  const facts = new JournalFacts();
  const total = journals.reduce((sum, { bytes }) => sum + bytes, 0);
  let read = 0;
  for (const journal of journals) {
    const take = facts.openFolder(journal.incarnation);
    const entries = journal.read((bytes) => {
      read += bytes;
      onProgress(read / Math.max(1, total));
    });
    for (const entry of entries) take(entry);
  }
  return facts;
}

async function writeFigures(
  { restorer, nowMs, onProgress }: RebuildRequest,
  { replay, spool, period }: { replay: JournalReplay; spool: IncrementSpool; period: { from: number; to: number } },
): Promise<number> {
  const writer = new CellWriter(restorer, Math.floor(nowMs / 1000));
  let hours = 0;
  for (let hour = period.from; hour < period.to; hour += SECONDS_PER_HOUR) {
    const { cells, claimed } = await spool.sum(hour);
    const books = replay.books.read(hour, claimed);
    if (books.length > 0) await restorer.restoreBooks(books);
    if (cells.size > 0) await writer.add(hour, cells);
    if (books.length > 0 || cells.size > 0) hours += 1;
    onProgress(0.8 + (0.15 * (hour - period.from)) / (period.to - period.from), `${hours} hours`);
  }
  await writer.finish();
  return hours;
}

async function writeFreezes(restorer: StoreRestorer, { path }: RebuildSources): Promise<void> {
  for (const [hour, freezes] of Map.groupBy(path, ({ to }) => hourOf(to))) {
    const first = freezes[0];
    if (first === undefined) continue;
    const { k: firstK, previousHash } = first;
    await restorer.restoreFreezes({ hour, firstK, previousHash, digests: freezes.map(({ digest }) => digest) });
  }
}

function toState({
  sources,
  book,
  replay,
  members,
}: {
  readonly sources: RebuildSources;
  readonly book: FactBook;
  readonly replay: JournalReplay;
  readonly members: RestoredState['members'];
}): RestoredState {
  const tip = sources.path.at(-1);
  return {
    epoch: sources.epoch,
    frontier: tip?.to ?? 0,
    k: tip?.k ?? 0,
    freezeHash: tip?.hash ?? '',
    entriesFrom: sources.isComplete ? 0 : sources.journalsFrom,
    facts: book,
    chain: sources.path.map(({ k, hash }) => ({ k, hash })),
    members,
    board: replay.board,
    health: replay.health,
  };
}
