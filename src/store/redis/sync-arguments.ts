// Lays out the keys and arguments of sync-message.lua and commit-freeze.lua. Pure: no connection.
import { BOOK_METRICS, type Claim, type FreezeCommit, type SyncMessage } from '#domain/settlement.ts';
import { relabelClaim } from '#domain/relabel-claim.ts';
import type { LateClaim } from '#domain/voucher.ts';
import { hourOf } from '#domain/window.ts';
import { formatLink } from '../claim-entries.ts';
import { cellStart, spreadIncrements } from '../rollup-cells.ts';
import { CHAIN_KEPT, HASHES_PER_JOURNAL, type StoreRetention } from '../store-options.ts';
import { booksExpiry, cellsExpiry, digestsExpiry, recordsExpiry } from './expiries.ts';
import type { RedisKeys } from './keys.ts';
import type { PackedClaim } from './pack-claim.ts';
import { SCRIPTS } from './scripts.ts';

export interface ScriptInput {
  readonly keys: string[];
  readonly args: (string | Buffer)[];
}

interface Layout {
  readonly keys: RedisKeys;
  readonly retention: StoreRetention;
  readonly runId: string;
  /** Epoch second before which everything is closed, as this client last read it. */
  readonly closedThrough: number;
}

const CLAIMED = BOOK_METRICS.indexOf('claimedNanoUsd');

/** Numbers keys after the fixed ones, each once; Lua counts from 1. */
export class KeyNumbers {
  readonly keys: string[];
  readonly #numbers = new Map<string, number>();

  constructor(fixed: readonly string[]) {
    this.keys = [...fixed];
  }

  numberOf(key: string): number {
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.keys.push(key);
    this.#numbers.set(key, number);
    return number;
  }
}

/** Keys and arguments of sync-message.lua for one message; `packed` is its claim's, for the same `closedThrough`. */
export function layOutSync(
  message: SyncMessage,
  packed: PackedClaim | null,
  { keys, retention, runId, closedThrough }: Layout,
): ScriptInput {
  const { journal } = message;
  const numbers = new KeyNumbers([
    keys.meta,
    keys.journals,
    keys.live,
    keys.pending(journal),
    keys.board,
    keys.boardIndex,
    keys.health,
    keys.chain,
    keys.hashes(journal),
    keys.dims,
    keys.archive,
  ]);
  const bodies: Buffer[] = [];
  const claim =
    message.claim === null || packed === null
      ? ''
      : JSON.stringify(
          layOutClaim(message, message.claim, { keys, retention, closedThrough, numbers, bodies, packed }),
        );
  const args = [
    journal,
    String(message.incarnation),
    message.epoch,
    String(message.seq),
    message.prevHash,
    message.hash,
    String(message.sealedThrough),
    firstTouched(message),
    message.leave ? '1' : '0',
    runId,
    JSON.stringify(layOutParts(message)),
    claim,
    ...bodies,
  ];
  return { keys: numbers.keys, args };
}

/** The earliest window that the message says something of; empty without any. */
function firstTouched({ publications, healthChanges, blind }: SyncMessage): string {
  const touched = [
    ...publications.map(({ window }) => window),
    ...healthChanges.map(({ window }) => window),
    ...blind.map(([from]) => from),
  ];
  return touched.length === 0 ? '' : String(touched.reduce((least, window) => Math.min(least, window)));
}

/** What stands on the board and beside it. */
function layOutParts({ journal, publications, healthChanges, blind }: SyncMessage): unknown {
  return {
    publications: publications.map((publication) => [
      publication.window,
      `${publication.window}|${journal}|${publication.pool}`,
      JSON.stringify(publication),
    ]),
    health: healthChanges.map(({ pool, window, healthy }) => [`${journal}|${window}|${pool}`, healthy ? '1' : '0']),
    blind,
    hashesKept: HASHES_PER_JOURNAL,
  };
}

interface ClaimLayout {
  readonly keys: RedisKeys;
  readonly retention: StoreRetention;
  readonly closedThrough: number;
  readonly numbers: KeyNumbers;
  readonly bodies: Buffer[];
  readonly packed: PackedClaim;
}

function layOutClaim(message: SyncMessage, claim: Claim, layout: ClaimLayout): unknown {
  const { keys, retention, closedThrough, numbers } = layout;
  const head = {
    k0: claim.k0,
    k: claim.k,
    hash: claim.hash,
    total: claim.totalNanoUsd,
    closedThrough: String(closedThrough),
  };
  if (!layout.packed.balances) {
    return { ...head, negated: '0', balances: false, books: [], cells: [], batches: [], entry: [], late: [], days: [] };
  }
  const effects = relabelClaim(message, claim, closedThrough);
  const { batches, entry, days } = layOutKept(message, layout);
  return {
    ...head,
    negated: String(-BigInt(claim.totalNanoUsd)),
    balances: true,
    books: effects.pools.map(({ hour, pool, nanoUsd }) => [
      numbers.numberOf(keys.books(hour)),
      booksExpiry(hour, retention),
      `${CLAIMED}:${pool}`,
      nanoUsd,
    ]),
    cells: spreadIncrements(effects.increments).map(({ granularity, start, dims, values }) => {
      // A cell exists through its first metric, so a row of zeros does too.
      const amounts = values.flatMap((value, metric) =>
        value === 0n && metric > 0 ? [] : [String(metric), String(value)],
      );
      return [
        numbers.numberOf(keys.cells(granularity, start)),
        cellsExpiry(granularity, start, retention),
        dims,
        ...amounts,
      ];
    }),
    batches,
    entry,
    late: layOutLate(effects.late, layout),
    days,
  };
}

/** What stays of the claim itself: its records, and the entry; with the days they stand under. */
function layOutKept(
  message: SyncMessage,
  { keys, retention, numbers, bodies, packed }: ClaimLayout,
): { batches: unknown[]; entry: unknown[]; days: string[] } {
  const bodyNumber = (body: Buffer) => SCRIPTS.syncMessage.argCount + bodies.push(body);
  const days = new Set<string>();
  const batches = packed.batches.map((batch, part) => {
    const day = cellStart('day', Math.floor(batch.lastEndedMs / 1000));
    days.add(String(day));
    const name = `${batch.firstEndedMs}|${message.journal}.${message.seq}.${part}`;
    const [index, store] = [numbers.numberOf(keys.batchIndex(day)), numbers.numberOf(keys.batchBodies(day))];
    return [index, store, recordsExpiry(day, retention), String(batch.lastEndedMs), name, bodyNumber(batch.body)];
  });
  const entry: unknown[] = [];
  if (packed.entry !== null) {
    const { day, body } = packed.entry;
    days.add(String(day));
    const { journal, seq, hash } = message;
    const key = numbers.numberOf(keys.entries(day));
    entry.push(
      key,
      recordsExpiry(day, retention),
      `${journal}.${seq}`,
      bodyNumber(body),
      formatLink({ day, seq, hash }),
    );
  }
  return { batches, entry, days: [...days] };
}

function layOutLate(late: LateClaim | null, { keys, retention, numbers }: ClaimLayout): unknown[] {
  if (late === null) return [];
  const month = cellStart('month', late.hour);
  const key = numbers.numberOf(keys.lateClaims(month));
  return [key, cellsExpiry('month', month, retention), `${late.journal}.${late.seq}`, JSON.stringify(late)];
}

/** Keys and arguments of commit-freeze.lua for one freeze. */
export function layOutCommit(
  commit: FreezeCommit,
  { keys, retention, runId }: Omit<Layout, 'closedThrough'>,
): ScriptInput {
  const numbers = new KeyNumbers([
    keys.meta,
    keys.journals,
    keys.live,
    keys.board,
    keys.boardIndex,
    keys.health,
    keys.chain,
    keys.freezes(hourOf(commit.to)),
  ]);
  const books = commit.books.map((book) => [
    numbers.numberOf(keys.books(book.hour)),
    booksExpiry(book.hour, retention),
    book.pool,
    book.deployments,
    book.gpu,
    ...BOOK_METRICS.flatMap((metric, i) => {
      const value = book.metrics[metric];
      return value === undefined || value === '0' ? [] : [String(i), String(BigInt(value))];
    }),
  ]);
  const shares = Object.entries(commit.shares).map(([journal, entry]) => [
    numbers.numberOf(keys.pending(journal)),
    journal,
    String(BigInt(entry.totalNanoUsd)),
    JSON.stringify(entry),
  ]);
  const { frontier, k, boardVersion, factsVersion } = commit.expected;
  const parts = {
    books,
    shares,
    drop: commit.dropMembers,
    chainKept: CHAIN_KEPT,
    digestsExpiry: digestsExpiry(hourOf(commit.to), retention),
  };
  const args = [frontier, k, boardVersion, factsVersion, commit.to].map(String);
  return {
    keys: numbers.keys,
    args: [...args, commit.hash, runId, JSON.stringify(parts), Buffer.from(commit.contentDigest, 'hex')],
  };
}
