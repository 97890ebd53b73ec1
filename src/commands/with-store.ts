// What every command on the books does: load the configuration, open its store, work, close it.
import type { Config } from '#config/config.ts';
import { loadConfig } from '#config/load-config.ts';
import { formatProblem } from '#config/problem.ts';
import { silentLog } from '#domain/log.ts';
import { StoreSchemaError, StoreUnavailableError } from '#domain/settlement-store.ts';
import { type OpenedStore, openStore } from '#store/open-store.ts';

/** A person waits here, not a request: the store may take this long. */
const STORE_TIMEOUT_MS = 30_000;

export interface StoreCommand {
  /** For messages, such as `report`. */
  readonly name: string;
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Errors that bad flags caused: exit 2 instead of 1. */
  readonly isUsageError?: (error: unknown) => boolean;
  /** The store may take this long to open; default 30 s. */
  readonly openTimeoutMs?: number | undefined;
  /** True: a store that is not there is begun. Others would report on, or prove, books that nobody keeps. */
  readonly mayBegin?: boolean;
}

/** Exit code of `work`; 2 for a bad configuration or bad flags, 1 for any other failure, each with one line on stderr. Never rejects. */
export async function withStore(
  command: StoreCommand,
  work: (store: OpenedStore, config: Config) => Promise<number>,
): Promise<number> {
  const loaded = loadConfig(command);
  if (!loaded.ok) {
    for (const problem of loaded.problems) process.stderr.write(`inferometer: ${formatProblem(problem)}\n`);
    return 2;
  }
  const { config } = loaded;
  const store = openStore({
    url: config.store.url,
    prefix: config.store.prefix,
    timeoutMs: Math.max(config.store.timeoutMs, STORE_TIMEOUT_MS),
    openTimeoutMs: command.openTimeoutMs,
    retention: config.retention,
    tls: config.store.tls,
    log: silentLog,
  });
  try {
    if (command.mayBegin !== true && !store.exists())
      throw new StoreUnavailableError(
        'there is no such store: start a gateway first, or run this in the folder of one',
      );
    await store.settlement.open();
    return await work(store, config);
  } catch (error) {
    const isStore = error instanceof StoreUnavailableError || error instanceof StoreSchemaError;
    const reason = (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' ');
    process.stderr.write(`inferometer ${command.name}: ${isStore ? `${store.describe()}: ` : ''}${reason}\n`);
    return command.isUsageError?.(error) === true ? 2 : 1;
  } finally {
    await store.settlement.close();
  }
}
