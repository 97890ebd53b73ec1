// Where a UTC day's chains end: the journals' last entries, a digest over all of the day's, the freeze chain. For the day manifest.
import { createHash } from 'node:crypto';
import { chainFreeze } from '#attribution/freeze-chain.ts';
import type { BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { SECONDS_PER_HOUR } from '#domain/window.ts';

const DAY_SECONDS = 86_400;
const ENTRIES_AT_ONCE = 64;

export interface ChainHeads {
  /** Hex SHA-256 over the lines `<journal>.<seq> <hash>\n` of the day's entries, ordered by journal and number. */
  readonly entries: { readonly count: number; readonly sha256: string };
  /** Last entry of each journal that has one in the day. */
  readonly journals: Readonly<Record<string, { readonly seq: number; readonly hash: string }>>;
  /** The freeze chain after the day's last freeze; null where its digests are no longer kept. */
  readonly freezes: { readonly k: number; readonly hash: string } | null;
  /** Last voucher made before the end of the day; null before the first. */
  readonly vouchers: { readonly n: number; readonly hash: string } | null;
}

/** The same for the same day whenever it is read after the day was settled, but for `freezes`, which ends with its retention. */
export async function readChainHeads(
  { ledger, books }: { readonly ledger: LedgerReader; readonly books: Pick<BooksReader, 'readVouchers'> },
  day: number,
): Promise<ChainHeads> {
  const names = await ledger.listEntries(day);
  const digest = createHash('sha256');
  const journals: Record<string, { seq: number; hash: string }> = {};
  for (let i = 0; i < names.length; i += ENTRIES_AT_ONCE) {
    const part = names.slice(i, i + ENTRIES_AT_ONCE);
    const entries = await ledger.readEntries(day, part);
    for (const [at, { journal, seq }] of part.entries()) {
      const entry = entries[at];
      if (entry === null || entry === undefined)
        throw new Error(`the ledger entry ${journal}.${seq} cannot be read: run ledger verify`);
      digest.update(`${journal}.${seq} ${entry.message.hash}\n`);
      journals[journal] = { seq, hash: entry.message.hash };
    }
  }
  const voucher = (await books.readVouchers()).findLast(({ atMs }) => atMs < (day + DAY_SECONDS) * 1000);
  const last = await ledger.readFreezeHour(day + DAY_SECONDS - SECONDS_PER_HOUR);
  return {
    entries: { count: names.length, sha256: digest.digest('hex') },
    journals,
    vouchers: voucher === undefined ? null : { n: voucher.n, hash: voucher.hash },
    freezes:
      last === null
        ? null
        : {
            k: last.firstK + last.digests.length - 1,
            hash: last.digests.reduce((hash, next) => chainFreeze(hash, next), last.previousHash),
          },
  };
}
