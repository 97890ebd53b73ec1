// Moves the frontier: computes the next freeze from a snapshot (pure) and commits it by compare-and-set.
// Not here: one pool's sums (pool-books.ts), one window's arithmetic (attribution/freeze-window.ts), when to call (compose).
import { chainFreeze, digestFreeze } from '#attribution/freeze-chain.ts';
import type { JournalPublication } from '#attribution/freeze-window.ts';
import type { BookCell, BooksReader } from '#domain/books.ts';
import type { SettlementListener } from '#domain/settlement-listener.ts';
import type { BookIncrement, FreezeCommit, FreezeInput, ShareEntry, ShareWindow } from '#domain/settlement.ts';
import type { SettlementStore } from '#domain/settlement-store.ts';
import { hourOf, SECONDS_PER_HOUR, windowOf } from '#domain/window.ts';
import type { CommitWitness } from './freeze-witness.ts';
import { computePoolBooks } from './pool-books.ts';
import { reclassifyUnmetered } from './unmetered.ts';

/** Windows younger than this many seconds are never frozen (settlement.md: now − 2). */
const FREEZE_DELAY_WINDOWS = 2;
/**
 * Windows with publications that one freeze takes: a backlog is frozen second by second, as it would have been without one, and neither a freeze
 * nor a share, which is claimed whole, grows with it. More at once would make claims that a store's time limit does not hold: one second of
 * full load is 6,000 slices.
 */
const WORKING_WINDOWS_PER_FREEZE_MAX = 1;
const COMMITS_PER_CALL_MAX = 256;
const STALE_RETRIES_MAX = 8;

/** Rules of one deployment of the product. */
export interface FreezeOptions {
  /** D: seconds of aliveClock silence after which a member no longer holds the frontier. */
  readonly silenceSeconds: number;
}

/** Told of a freeze that this process committed: the snapshot it was computed from, and its last window. Must not throw. */
export type OnFreeze = (input: FreezeInput, to: number) => void;

/** How far one call of advanceFrontier came. */
export interface FrontierProgress {
  /** Last frozen window; null before the first member joined. */
  readonly frozenThrough: number | null;
  readonly commits: number;
}

/**
 * The next freeze, or null when the frontier may not move: t = the least sealedThrough of the members heard within `silenceSeconds`, at most
 * window(now) − 2, not across a UTC hour edge, with one window in which anybody published (call again for the next). Members silent for longer are named in `dropMembers`;
 * with no other member nothing moves, nor does anything while the store holds the frontier after a failover. Publications of dropped members that reached the board are priced like all others.
 * `closedHour`: books of the hour before the frontier's next window where that begins an hour; what was unmetered in it is told by this freeze.
 * Pure: the same snapshot gives the same commit in every process. Source: settlement.md, advance.
 */
export function computeFreeze(
  input: FreezeInput,
  options: FreezeOptions,
  closedHour: readonly BookCell[] = [],
): FreezeCommit | null {
  const { frontier } = input;
  if (frontier === null || input.isHeld === true) return null;
  const live = input.members.filter((member) => member.silentSeconds <= options.silenceSeconds);
  const to = findFreezeEnd(input, frontier, live);
  if (to === null) return null;
  const from = frontier + 1;
  const board = groupBoard(input, from, to);
  const books: BookIncrement[] = [...reclassifyUnmetered(closedHour)];
  const sharesByJournal = new Map<string, ShareWindow[]>();
  const pools = new Set([...Object.keys(input.facts.pools), ...board.keys()]);
  for (const pool of [...pools].toSorted()) {
    const publications = board.get(pool) ?? new Map<number, JournalPublication[]>();
    const result = computePoolBooks({ pool, from, to, input: { ...input, members: live }, publications });
    books.push(...result.books);
    for (const { journal, share } of result.shares) {
      const windows = sharesByJournal.get(journal);
      if (windows === undefined) sharesByJournal.set(journal, [share]);
      else windows.push(share);
    }
  }
  const shares = totalShares(sharesByJournal);
  const contentDigest = digestFreeze({ to, books, shares });
  const hash = chainFreeze(input.hash, contentDigest);
  return {
    expected: {
      frontier,
      k: input.k,
      boardVersion: input.boardVersion,
      factsVersion: input.facts.version,
    },
    to,
    hash,
    contentDigest,
    books,
    shares: Object.fromEntries(
      Object.entries(shares).map(([journal, share]) => [journal, { k: input.k + 1, to, hash, ...share }]),
    ),
    dropMembers: input.members.filter((member) => !live.includes(member)).map((member) => member.journal),
  };
}

/**
 * Reads, computes and commits freezes while there is progress; at most `maxCommits` (256) of them, so that a gap of months is walked over several calls.
 * A commit that others overtook is read again, a few times. Each committed book is told once to the listener. Safe to call from any process
 * at any time. With `books` the unmetered part of each closed hour is moved out of its idle. Rejects with StoreUnavailableError; a commit whose reply was lost is not told to the listener.
 */
export async function advanceFrontier(
  store: Pick<SettlementStore, 'readFreezeInput' | 'commitFreeze'>,
  options: FreezeOptions & {
    readonly maxCommits?: number;
    readonly witness?: CommitWitness;
    readonly books?: Pick<BooksReader, 'readBooks'> | undefined;
    readonly onFreeze?: OnFreeze;
  },
  listener: Pick<SettlementListener, 'booksCommitted'>,
): Promise<FrontierProgress> {
  let commits = 0;
  let stale = 0;
  let frozenThrough: number | null = null;
  while (commits < (options.maxCommits ?? COMMITS_PER_CALL_MAX) && stale <= STALE_RETRIES_MAX) {
    const input = await store.readFreezeInput();
    frozenThrough = input.frontier;
    const commit = computeFreeze(input, options, await readClosedHour(input, options.books));
    if (commit === null) break;
    options.witness?.committing(commit, { previousHash: input.hash, facts: input.facts });
    if ((await store.commitFreeze(commit)) === 'stale') {
      stale += 1;
      continue;
    }
    options.witness?.committed(commit);
    commits += 1;
    frozenThrough = commit.to;
    listener.booksCommitted(commit.books);
    options.onFreeze?.(input, commit.to);
  }
  return { frozenThrough, commits };
}

/**
 * Books of the hour that closes with the frontier's next window, read after the snapshot: they change with a freeze, which makes the commit stale.
 * Empty within an hour: the frontier crosses each hour edge once, so that each hour is looked at once.
 */
async function readClosedHour(
  { frontier, nowMs }: FreezeInput,
  books: Pick<BooksReader, 'readBooks'> | undefined,
): Promise<readonly BookCell[]> {
  if (books === undefined || frontier === null || hourOf(frontier + 1) !== frontier + 1) return [];
  if (frontier >= windowOf(nowMs) - FREEZE_DELAY_WINDOWS) return [];
  return books.readBooks({ from: hourOf(frontier), to: frontier + 1 });
}

function findFreezeEnd(input: FreezeInput, frontier: number, live: FreezeInput['members']): number | null {
  if (live.length === 0) return null;
  const sealed = live.reduce((least, member) => Math.min(least, member.sealedThrough), Number.POSITIVE_INFINITY);
  const hourEnd = hourOf(frontier + 1) + SECONDS_PER_HOUR - 1;
  const read = input.boardThrough ?? Number.POSITIVE_INFINITY;
  const to = Math.min(sealed, windowOf(input.nowMs) - FREEZE_DELAY_WINDOWS, hourEnd, read);
  if (!(to > frontier)) return null;
  return limitWork(input, frontier, to);
}

/** The last window before those with more work than one freeze takes; quiet windows cost nothing. */
function limitWork({ board }: FreezeInput, frontier: number, to: number): number {
  const working = new Set<number>();
  for (const { publication } of board) {
    const { window } = publication;
    if (Number.isSafeInteger(window) && window > frontier && window <= to) working.add(window);
  }
  const tooMany = [...working].toSorted((a, b) => a - b)[WORKING_WINDOWS_PER_FREEZE_MAX];
  return tooMany === undefined ? to : tooMany - 1;
}

function groupBoard(
  input: FreezeInput,
  from: number,
  to: number,
): ReadonlyMap<string, ReadonlyMap<number, readonly JournalPublication[]>> {
  const board = new Map<string, Map<number, JournalPublication[]>>();
  for (const entry of input.board) {
    const { pool, window } = entry.publication;
    // A window that is no integer can only be a defect: it is never priced, and the store drops it with the frontier.
    if (!Number.isSafeInteger(window) || window < from || window > to) continue;
    const byWindow = board.get(pool) ?? new Map<number, JournalPublication[]>();
    board.set(pool, byWindow);
    byWindow.set(window, [...(byWindow.get(window) ?? []), entry]);
  }
  return board;
}

function totalShares(
  sharesByJournal: ReadonlyMap<string, readonly ShareWindow[]>,
): Record<string, Pick<ShareEntry, 'totalNanoUsd' | 'windows'>> {
  return Object.fromEntries(
    [...sharesByJournal].map(([journal, windows]) => {
      const total = windows.reduce((sum, share) => sum + BigInt(share.nanoUsd), 0n);
      return [journal, { totalNanoUsd: total.toString(), windows }];
    }),
  );
}
