// `inferometer report`: opens the store of the config, prints the report, closes it.
import { loadConfig } from '#config/load-config.ts';
import { formatProblem } from '#config/problem.ts';
import { silentLog } from '#domain/log.ts';
import { type ReportCommandArguments, runReportCommand } from '#reports/report-command.ts';
import { openStore } from '#store/open-store.ts';

/** A person waits here, not a request: the store may take this long. */
const STORE_TIMEOUT_MS = 30_000;

export interface ReportCommand {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly options: ReportCommandArguments;
}

/** Exit code 0 done, 1 it failed (store not reachable, not settled in time), 2 bad usage or config. */
export async function runReport({ path, env, options }: ReportCommand): Promise<number> {
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
  try {
    await store.settlement.open();
    return await runReportCommand({
      books: store.books,
      config,
      args: options,
      out: process.stdout,
      err: process.stderr,
      now: () => Date.now(),
    });
  } catch (error) {
    process.stderr.write(
      `inferometer report: ${store.describe()}: ${error instanceof Error ? error.message : String(error)}\n`,
    );
    return 1;
  } finally {
    await store.settlement.close();
  }
}
