// `inferometer ledger`: its subcommands on the configured store, with a progress bar.
import type { Config } from '#config/config.ts';
import { type AdjustArguments, runAdjustCommand } from '#ledger/adjust-command.ts';
import { type ExportArguments, runExportCommand } from '#ledger/export-command.ts';
import { LedgerFlagError } from '#ledger/ledger-period.ts';
import { type RebuildArguments, runRebuildCommand } from '#ledger/rebuild-command.ts';
import { runVerifyCommand, type VerifyArguments } from '#ledger/verify-command.ts';
import type { OpenedStore } from '#store/open-store.ts';
import { drawProgress } from './draw-progress.ts';
import { withStore } from './with-store.ts';

export interface LedgerCommand<Options> {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly options: Options;
}

type Work = (store: OpenedStore, config: Config, onProgress: (share: number, text: string) => void) => Promise<number>;

/** Exit code 0 the ledger adds up, 1 it does not or the store cannot be read, 2 bad usage or config. */
export function runLedgerVerify(command: LedgerCommand<VerifyArguments>): Promise<number> {
  return runOnStore('verify', command, (store, config, onProgress) =>
    runVerifyCommand({
      ledger: store.ledger,
      books: store.books,
      marks: store.archiveMarks,
      archive: config.retention.archive,
      recordsMs: config.retention.recordsMs,
      rollupsMs: config.retention.rollupsMs,
      args: command.options,
      write: (text) => void process.stdout.write(text),
      onProgress,
    }),
  );
}

/** Exit code 0 everything is written, 1 a day is not settled or cannot be written, 2 bad usage or config. */
export function runLedgerExport(command: LedgerCommand<ExportArguments>): Promise<number> {
  return runOnStore('export', command, (store, config, onProgress) =>
    runExportCommand({
      ledger: store.ledger,
      books: store.books,
      marks: store.archiveMarks,
      leases: store.leases,
      recordsMs: config.retention.recordsMs,
      args: command.options,
      archive: config.retention.archive,
      write: (text) => void process.stdout.write(text),
      onProgress,
    }),
  );
}

/** Exit code 0 the books are there again and add up, 1 they are not or do not, 2 bad usage or config. */
export function runLedgerRebuild(command: LedgerCommand<RebuildArguments>): Promise<number> {
  return runOnStore('rebuild', command, async (store, config, onProgress) =>
    runRebuildCommand({
      restorer: store.restorer(),
      ledger: store.ledger,
      books: store.books,
      journalDir: config.journal.dir,
      archiveDir: config.retention.archive,
      marks: store.archiveMarks,
      recordsMs: config.retention.recordsMs,
      rollupsMs: config.retention.rollupsMs,
      nowMs: await store.settlement.now(),
      args: command.options,
      write: (text) => void process.stdout.write(text),
      onProgress,
    }),
  );
}

/** Exit code 0 booked, or booked before under the same id; 1 refused or the store cannot be read, 2 bad usage or config. */
export function runLedgerAdjust(command: LedgerCommand<AdjustArguments>): Promise<number> {
  return runOnStore('adjust', command, ({ vouchers, books, ledger }, config) =>
    runAdjustCommand({
      vouchers,
      books,
      ledger,
      archive: config.retention.archive,
      teams: config.teams.map(({ name }) => name),
      args: command.options,
      write: (text) => void process.stdout.write(text),
    }),
  );
}

function runOnStore(name: string, { path, env }: LedgerCommand<unknown>, work: Work): Promise<number> {
  const isUsageError = (error: unknown) => error instanceof LedgerFlagError;
  const mayBegin = name === 'rebuild';
  return withStore({ name: `ledger ${name}`, path, env, isUsageError, mayBegin }, async (store, config) => {
    // Without a terminal there is no progress to see: nightly jobs read what the command prints.
    const bar = process.stderr.isTTY ? drawProgress(name, true) : null;
    const onProgress = (share: number, text: string) => bar?.update(share, text);
    try {
      return await work(store, config, onProgress);
    } finally {
      bar?.stop();
    }
  });
}
