// `inferometer month close`: flags to a closed month, in words or JSON. Opening the store is the caller's (commands/month.ts).
import { userInfo } from 'node:os';
import { formatUsd } from '#domain/nano-usd.ts';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import { snapshotConfig, type ReportConfig } from '#reports/config-snapshot.ts';
import { writeVouchers } from './archive-vouchers.ts';
import { closeMonth, type CloseRequest } from './close-month.ts';
import { parseMonth } from './ledger-month.ts';

export interface CloseArguments {
  readonly writeOff?: boolean | undefined;
  readonly author?: string | undefined;
  readonly json?: boolean | undefined;
}

export interface CloseCommandRequest extends Pick<CloseRequest, 'vouchers' | 'books' | 'ledger'> {
  /** Such as `2026-10`. */
  readonly month: string;
  readonly config: ReportConfig;
  /** `retention.archive`; empty for none. */
  readonly archive: string;
  readonly args: CloseArguments;
  readonly write: (text: string) => void;
}

/** Closes and says so; exit code 0, also where it was closed before. Rejects with LedgerFlagError or MonthNotReadyError. */
export async function runCloseCommand(request: CloseCommandRequest): Promise<0> {
  const { args, archive, config, write, ...stores } = request;
  const month = parseMonth('the month', request.month);
  const author = (args.author ?? '').trim() || userInfo().username;
  const { voucher, isNew, writtenOffNanoUsd } = await closeMonth({
    ...stores,
    month,
    writeOff: args.writeOff === true,
    author,
    config: snapshotConfig(config),
  });
  if (archive !== '') await writeVouchers(archive, stores.books);
  if (args.json === true) {
    const { hash: ledgerHash, atMs } = voucher;
    const closedAt = new Date(atMs).toISOString();
    const said = { month: month.name, closed: isNew, closedAt, author: voucher.author, ledgerHash };
    write(`${JSON.stringify({ ...said, writtenOffNanoUsd: writtenOffNanoUsd.toString() })}\n`);
    return 0;
  }
  const written =
    writtenOffNanoUsd === 0n ? '' : `, ${formatUsd(writtenOffNanoUsd)} USD written off to ${UNATTRIBUTED}`;
  write(`${month.name} ${isNew ? 'is closed' : 'was closed before'}${written}: ledger hash ${voucher.hash}\n`);
  return 0;
}
