// `inferometer ledger`: opens the store of the config, runs one of its subcommands with a progress bar, closes the store.
import { SingleBar } from 'cli-progress';
import type { Config } from '#config/config.ts';
import { loadConfig } from '#config/load-config.ts';
import { formatProblem } from '#config/problem.ts';
import { silentLog } from '#domain/log.ts';
import { StoreSchemaError, StoreUnavailableError } from '#domain/settlement.ts';
import { type ExportArguments, runExportCommand } from '#ledger/export-command.ts';
import { LedgerFlagError } from '#ledger/ledger-period.ts';
import { runVerifyCommand, type VerifyArguments } from '#ledger/verify-command.ts';
import { type OpenedStore, openStore } from '#store/open-store.ts';

/** A person or a nightly job waits here, not a request. */
const STORE_TIMEOUT_MS = 30_000;
const PERCENT = 100;

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
      recordsMs: config.retention.recordsMs,
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
      args: command.options,
      archive: config.retention.archive,
      write: (text) => void process.stdout.write(text),
      onProgress,
    }),
  );
}

async function runOnStore(name: string, { path, env }: LedgerCommand<unknown>, work: Work): Promise<number> {
  const loaded = loadConfig({ path, env });
  if (!loaded.ok) {
    for (const problem of loaded.problems) process.stderr.write(`inferometer: ${formatProblem(problem)}\n`);
    return 2;
  }
  const { config } = loaded;
  const store = openStore({
    url: config.store.url,
    prefix: config.store.prefix,
    timeoutMs: Math.max(config.store.timeoutMs, STORE_TIMEOUT_MS),
    retention: config.retention,
    log: silentLog,
  });
  const bar = process.stderr.isTTY ? startBar(name) : null;
  const onProgress = (share: number, text: string) => bar?.update(Math.round(share * PERCENT), { text });
  try {
    await store.settlement.open();
    return await work(store, config, onProgress);
  } catch (error) {
    const isUsage = error instanceof LedgerFlagError;
    const isStore = error instanceof StoreUnavailableError || error instanceof StoreSchemaError;
    const where = isStore ? `${store.describe()}: ` : '';
    const reason = error instanceof Error ? error.message : String(error);
    bar?.stop();
    process.stderr.write(`inferometer ledger ${name}: ${where}${reason.replace(/\s*\n\s*/g, ' ')}\n`);
    return isUsage ? 2 : 1;
  } finally {
    bar?.stop();
    await store.settlement.close();
  }
}

/** On stderr, so that what the command prints can be piped. */
function startBar(name: string): SingleBar {
  const bar = new SingleBar({
    format: `${name} {bar} {percentage}% {text}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    hideCursor: true,
    clearOnComplete: true,
    stopOnComplete: true,
    barsize: 32,
  });
  bar.start(PERCENT, 0, { text: '' });
  return bar;
}
