// The chain of vouchers: how each is hashed, and what is wrong with a list of them. Not here: what they do to the books (close-month.ts, adjust.ts).
import { createHash } from 'node:crypto';
import { canonicalJson } from '#attribution/freeze-chain.ts';
import type { Voucher } from '#domain/voucher.ts';
import { type Breakage, createBreakage } from './breakage.ts';

/** What its author decides. */
export type VoucherDraft = Pick<Voucher, 'id' | 'atMs' | 'author' | 'reason' | 'content'>;

/** The next voucher after those that there are. */
export function createVoucher(before: readonly Voucher[], draft: VoucherDraft): Voucher {
  const last = before.at(-1);
  const { id, atMs, author, reason, content } = draft;
  const body = { n: (last?.n ?? 0) + 1, id, atMs, author, reason, content, previousHash: last?.hash ?? '' };
  return { ...body, hash: hashVoucher(body) };
}

/** Hex SHA-256 of the previous hash and the canonical JSON of everything else. */
export function hashVoucher({ previousHash, ...body }: Omit<Voucher, 'hash'>): string {
  return createHash('sha256').update(previousHash).update(canonicalJson(body)).digest('hex');
}

/** The first voucher that does not follow, was changed, or whose lines do not sum to 0; null when all do. `closedThrough` as the store says. */
export function checkVouchers(vouchers: readonly Voucher[], closedThrough: number): Breakage | null {
  let previous: Voucher | null = null;
  let closed = 0;
  for (const [i, voucher] of vouchers.entries()) {
    const { hash, ...body } = voucher;
    const { n, id, content } = body;
    const tell = (expected: string, found: string): Breakage =>
      createBreakage(
        'voucher',
        { id: `${n} ${id}`, hour: content.kind === 'close' ? content.from : content.hour },
        { expected, found },
      );
    if (n !== i + 1) return tell(`number ${i + 1}`, `number ${n}`);
    if (body.previousHash !== (previous?.hash ?? ''))
      return tell(`after ${previous?.hash ?? 'none'}`, `after ${body.previousHash}`);
    const now = hashVoucher(body);
    if (now !== hash) return tell(hash, now);
    if (content.kind === 'close') {
      if (content.from < closed) return tell(`a month after ${closed}`, content.month);
      closed = content.to;
    } else {
      const sum = content.lines.reduce((total, line) => total + BigInt(line.nanoUsd), 0n);
      if (sum !== 0n) return tell('lines that sum to 0', `${sum} nanodollars`);
      if (content.hour < closed) return tell('an hour of an open month', `hour ${content.hour}`);
    }
    previous = voucher;
  }
  if (closed === closedThrough) return null;
  const what = { expected: `closed through ${closed} by the vouchers`, found: `closed through ${closedThrough}` };
  return createBreakage('voucher', { id: 'last close', hour: null }, what);
}
