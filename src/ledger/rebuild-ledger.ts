// Refills an empty store from the archive and the journals: `ledger rebuild`. Not here: flags and words (rebuild-command.ts).
import type { FactBook } from '#domain/pool-facts.ts';
import type { RestoredState, StoreRestorer } from '#domain/restore-store.ts';
import type { LateClaim } from '#domain/voucher.ts';
import { hourOf, SECONDS_PER_HOUR } from '#domain/window.ts';
import type { ArchivedDay } from './archive-books.ts';
import { IncrementSpool } from './increment-spool.ts';
import { JournalFacts } from './journal-facts.ts';
import type { JournalSource } from './journal-folder.ts';
import type { Archive } from './open-archive.ts';
import { restoreArchivedRecords, writeFigures } from './rebuild-archive.ts';
import { toWriteOffIncrements } from './write-off.ts';
import { JournalReplay } from './rebuild-journals.ts';
import { RebuildSources } from './rebuild-sources.ts';

const DAY_SECONDS = 86_400;

/** Nothing was changed: the store has books of its own, or there is nothing to rebuild from. The message says what to do. */
export class RebuildRefusedError extends Error {
  override name = 'RebuildRefusedError';
}

export interface RebuildRequest {
  readonly restorer: StoreRestorer;
  readonly journals: readonly JournalSource[];
  readonly archive: Archive;
  /** Epoch milliseconds of the store's clock. */
  readonly nowMs: number;
  /** `retention.records`, milliseconds: older records stay in the archive alone. */
  readonly recordsMs: number;
  /** `share` 0 … 1. */
  readonly onProgress: (share: number, text: string) => void;
}

export interface RebuildResult {
  readonly epoch: string;
  /** Records restored. */
  readonly records: number;
  readonly hours: number;
  /** Days that came from the archive, first epoch seconds. */
  readonly archivedDays: readonly number[];
  /** First epoch second from which the journals hold everything, and whether the books began there; null where no journal helped. */
  readonly from: number | null;
  readonly isComplete: boolean;
  /** Last frozen window. */
  readonly frontier: number;
  /** Journals that hold money nobody claimed and whose folder was not given. */
  readonly missingJournals: readonly string[];
}

/**
 * Two passes over the journals: what the store had, then its content. Rejects with RebuildRefusedError, JournalFolderError, ArchiveDamagedError or
 * StoreUnavailableError; after the latter it can be run again.
 */
export async function rebuildLedger(request: RebuildRequest): Promise<RebuildResult> {
  const { restorer, journals, archive, onProgress } = request;
  const facts = readFacts(journals, (share) => onProgress(0.3 * share, 'reading journals'));
  const days = await readHeads(archive, facts.epoch);
  const newest = days.last;
  const epoch = facts.epoch ?? newest?.epoch ?? null;
  if (epoch === null)
    throw new RebuildRefusedError('neither the journals nor the archive hold anything: there is nothing to rebuild');
  const { vouchers } = archive;
  const sources = new RebuildSources(facts, epoch, { heads: days.heads, vouchers });
  const tip = sources.path.at(-1) ?? archiveTip(newest);
  const book = facts.bookOf(epoch) ?? newest?.facts ?? null;
  if (tip === null || book === null)
    throw new RebuildRefusedError(
      'no freeze stands in the journals: name the journal.dir of every gateway with --journal',
    );
  if (!(await restorer.beginRestore()))
    throw new RebuildRefusedError(
      'the store is not empty: books have begun in it. Empty it, or use another store.prefix (SQLite: another file)',
    );
  const first = Math.min(sources.journalsFrom, ...[...days.heads.keys()].slice(0, 1));
  const period = { from: Number.isFinite(first) ? first : hourOf(tip.to), to: hourOf(tip.to) + 2 * SECONDS_PER_HOUR };
  const spool = new IncrementSpool(period);
  try {
    const replay = new JournalReplay({ restorer, sources, spool, frontier: tip.to });
    await replay.run(journals, (share) => onProgress(0.3 + 0.3 * share, `${replay.records} records`));
    await addWriteOffs(spool, sources, archive);
    const late: LateClaim[] = [];
    const hours = await writeFigures(request, { sources, replay, spool, period, late });
    const archived = await restoreArchivedRecords(request, { days: [...days.heads.keys()], replay });
    await writeFreezes(restorer, sources);
    const members = replay.finish();
    const lateClaims = [...late, ...replay.late];
    await restorer.finishRestore(toState({ sources, tip, book, replay, members, vouchers, lateClaims }));
    const records = replay.records + archived;
    onProgress(1, `${records} records, ${hours} hours`);
    return {
      epoch,
      records,
      hours,
      archivedDays: [...days.heads.keys()],
      from: Number.isFinite(sources.journalsFrom) ? sources.journalsFrom : null,
      isComplete: sources.isComplete,
      frontier: tip.to,
      missingJournals: replay.missingJournals,
    };
  } finally {
    await spool.close();
  }
}

interface Tip {
  readonly k: number;
  readonly hash: string;
  readonly to: number;
}

function archiveTip(newest: ArchivedDay | null): Tip | null {
  return newest === null ? null : { ...newest.freezes, to: newest.day + DAY_SECONDS - 1 };
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

/** Heads of the archived days of these books, and the newest of them. */
async function readHeads(
  archive: Archive,
  epoch: string | null,
): Promise<{ readonly heads: Map<number, Readonly<Record<string, number>>>; readonly last: ArchivedDay | null }> {
  const heads = new Map<number, Readonly<Record<string, number>>>();
  let last: ArchivedDay | null = null;
  let wanted = epoch;
  // Newest first: without journals its epoch is that of the books.
  for (const day of archive.days.toReversed()) {
    const archived = await archive.read(day);
    wanted ??= archived.epoch;
    if (archived.epoch !== wanted) continue;
    last ??= archived;
    heads.set(day, archived.heads);
  }
  return { heads: new Map([...heads].toReversed()), last };
}

/** What closes gave to nobody in hours that do not come from the archive. */
async function addWriteOffs(spool: IncrementSpool, sources: RebuildSources, { vouchers }: Archive): Promise<void> {
  for (const { content } of vouchers) {
    if (content.kind !== 'close') continue;
    const parts = content.writeOff.filter(({ hour }) => !sources.isArchived(hour) && hour >= sources.journalsFrom);
    await spool.add({ pools: parts, increments: toWriteOffIncrements(parts) });
  }
}

async function writeFreezes(restorer: StoreRestorer, { path }: RebuildSources): Promise<void> {
  for (const [hour, freezes] of Map.groupBy(path, ({ to }) => hourOf(to))) {
    const first = freezes[0];
    if (first === undefined) continue;
    const { k: firstK, previousHash } = first;
    await restorer.restoreFreezes({ hour, firstK, previousHash, digests: freezes.map(({ digest }) => digest) });
  }
}

interface StateParts extends Pick<RestoredState, 'members' | 'vouchers' | 'lateClaims'> {
  readonly sources: RebuildSources;
  readonly tip: Tip;
  readonly book: FactBook;
  readonly replay: JournalReplay;
}

function toState({ sources, tip, book, replay, ...rest }: StateParts): RestoredState {
  const close = rest.vouchers.findLast(({ content }) => content.kind === 'close')?.content;
  const reach = Number.isFinite(sources.journalsFrom) ? sources.journalsFrom : hourOf(tip.to + 1);
  // Claims of archived hours are in the archive's figures, not in the store; nor are those of strays, which count in the hour after.
  const archivedTo = sources.archivedThrough + (replay.strays.size > 0 ? SECONDS_PER_HOUR : 0);
  const entriesFrom = sources.archivedThrough > 0 ? Math.max(reach, archivedTo) : sources.isComplete ? 0 : reach;
  return {
    ...rest,
    epoch: sources.epoch,
    frontier: tip.to,
    k: tip.k,
    freezeHash: tip.hash,
    entriesFrom,
    facts: book,
    closedThrough: close?.kind === 'close' ? close.to : 0,
    chain: sources.path.map(({ k, hash }) => ({ k, hash })),
    board: replay.board,
    health: replay.health,
  };
}
