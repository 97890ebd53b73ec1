// Closes a UTC month for good: what must hold before, what is written off, the voucher that fixes it. Not here: flags and words (close-command.ts).
import type { BookCell, BooksReader } from '#domain/books.ts';
import type { LedgerReader } from '#domain/ledger.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import type { CloseEffect, Voucher, VoucherStore } from '#domain/voucher.ts';
import { formatSecond } from '#domain/window.ts';
import type { LedgerMonth } from './ledger-month.ts';
import { hashFigures, readMonthFigures } from './month-figures.ts';
import { toWriteOffIncrements } from './write-off.ts';
import { createVoucher } from './voucher-chain.ts';

/** A record may settle this much after its month's last window was frozen: H and the next claim (settlement.md). */
const SETTLED_MARGIN_SECONDS = 60;
const TRIES_MAX = 50;

/** The month cannot be closed as it is; the message says why and what to do. */
export class MonthNotReadyError extends Error {
  override name = 'MonthNotReadyError';
}

export interface CloseRequest {
  readonly vouchers: VoucherStore;
  readonly books: BooksReader;
  readonly ledger: LedgerReader;
  readonly month: LedgerMonth;
  /** True: money that nobody has claimed yet goes to the row `(unattributed)`. */
  readonly writeOff: boolean;
  readonly author: string;
  /** See CloseContent.config. */
  readonly config: string;
}

export interface CloseResult {
  readonly voucher: Voucher;
  /** False: it was closed before, nothing changed. */
  readonly isNew: boolean;
  readonly writtenOffNanoUsd: bigint;
}

/** Rejects with MonthNotReadyError or StoreUnavailableError. Safe to repeat. */
export async function closeMonth(request: CloseRequest): Promise<CloseResult> {
  const { books, ledger, month, vouchers } = request;
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const before = await books.readVouchers();
    const known = before.find(({ content }) => content.kind === 'close' && content.month === month.name);
    if (known !== undefined) return { voucher: known, isNew: false, writtenOffNanoUsd: sumWriteOff(known) };
    const heads = await ledger.readHeads();
    checkOrder(month, heads);
    await checkEarlier(request, heads.closedThrough);
    const figures = await readMonthFigures(books, month);
    const effect = toEffect(figures.books, request);
    const { journals, frontier, nowMs } = heads;
    const voucher = createVoucher(before, {
      id: `close ${month.name}`,
      atMs: nowMs,
      author: request.author,
      reason: `close of ${month.name}`,
      content: {
        kind: 'close',
        month: month.name,
        from: month.from,
        to: month.to,
        settledThrough: (frontier ?? 0) + 1,
        heads: journals,
        figures: hashFigures(figures, { writeOff: effect.books, increments: effect.increments }),
        writeOff: effect.books.map(({ hour, pool, nanoUsd }) => ({ hour, pool, nanoUsd })),
        config: request.config,
      },
    });
    if ((await vouchers.addVoucher(voucher, effect)) === 'added')
      return { voucher, isNew: true, writtenOffNanoUsd: sumWriteOff(voucher) };
  }
  throw new MonthNotReadyError('claims came in faster than the month could be read: close it at a quieter time');
}

function checkOrder(
  month: LedgerMonth,
  { frontier, closedThrough }: { readonly frontier: number | null; readonly closedThrough: number },
): void {
  if (month.from < closedThrough)
    throw new MonthNotReadyError(
      `a later month is closed already: nothing before ${formatSecond(closedThrough)} changes`,
    );
  if (frontier === null) throw new MonthNotReadyError('no gateway has joined these books: there is nothing to close');
  const needed = month.to + SETTLED_MARGIN_SECONDS;
  if (frontier >= needed) return;
  const settled = formatSecond(frontier + 1);
  throw new MonthNotReadyError(
    `${month.name} is not settled: the books are settled through ${settled}, and must be through ${formatSecond(needed)}`,
  );
}

/** Months are closed in their order, as far as the books reach back. */
async function checkEarlier({ books, month }: CloseRequest, closedThrough: number): Promise<void> {
  const from = closedThrough === 0 ? month.from - 400 * 86_400 : closedThrough;
  if (from >= month.from) return;
  const cells = await books.readRollups({ from: startOfMonth(from), to: month.from }, 'month');
  const first = cells
    .map(({ start }) => start)
    .reduce((least, start) => Math.min(least, start), Number.POSITIVE_INFINITY);
  if (!Number.isFinite(first)) return;
  throw new MonthNotReadyError(`${formatSecond(first).slice(0, 7)} is still open: months are closed in their order`);
}

function startOfMonth(second: number): number {
  const date = new Date(second * 1000);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1) / 1000;
}

function toEffect(cells: readonly BookCell[], { month, writeOff }: CloseRequest): CloseEffect {
  const pending = cells.flatMap(({ hour, pool, metrics: { chargedNanoUsd, claimedNanoUsd } }) => {
    const nanoUsd = chargedNanoUsd - claimedNanoUsd;
    const read = { chargedNanoUsd: String(chargedNanoUsd), claimedNanoUsd: String(claimedNanoUsd) };
    return nanoUsd === 0n ? [] : [{ hour, pool, nanoUsd: String(nanoUsd), ...read }];
  });
  const total = pending.reduce((sum, { nanoUsd }) => sum + BigInt(nanoUsd), 0n);
  if (total !== 0n && !writeOff)
    throw new MonthNotReadyError(
      `${month.name} has ${total} nanodollars that no team holds yet: wait for their gateways, or give them to ${UNATTRIBUTED} with --write-off`,
    );
  const increments = toWriteOffIncrements(pending);
  return { books: pending, increments };
}

function sumWriteOff({ content }: Voucher): bigint {
  if (content.kind !== 'close') return 0n;
  return content.writeOff.reduce((sum, { nanoUsd }) => sum + BigInt(nanoUsd), 0n);
}
