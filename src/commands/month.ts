// `inferometer month`: closing a month on the configured store.
import { type CloseArguments, runCloseCommand } from '#ledger/close-command.ts';
import { LedgerFlagError } from '#ledger/ledger-period.ts';
import { withStore } from './with-store.ts';

export interface MonthCloseCommand {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Such as `2026-10`. */
  readonly month: string;
  readonly options: CloseArguments;
}

/** Exit code 0 the month is closed, 1 it cannot be, 2 bad usage or config. */
export function runMonthClose({ path, env, month, options }: MonthCloseCommand): Promise<number> {
  const isUsageError = (error: unknown) => error instanceof LedgerFlagError;
  return withStore({ name: 'month close', path, env, isUsageError }, ({ vouchers, books, ledger }, config) =>
    runCloseCommand({
      vouchers,
      books,
      ledger,
      month,
      config,
      archive: config.retention.archive,
      args: options,
      write: (text) => void process.stdout.write(text),
    }),
  );
}
