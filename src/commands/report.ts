// `inferometer report`: the report of the configured store, on standard output.
import { readWaitMs, type ReportCommandArguments, runReportCommand } from '#reports/report-command.ts';
import { withStore } from './with-store.ts';

export interface ReportCommand {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly options: ReportCommandArguments;
}

/** Exit code 0 done, 1 it failed (store not reachable, not settled in time), 2 bad usage or config. */
export function runReport({ path, env, options }: ReportCommand): Promise<number> {
  const now = (): number => Date.now();
  const beganMs = now();
  const waitMs = readWaitMs(options.wait);
  const openTimeoutMs = waitMs === null || waitMs === 0 ? undefined : waitMs;
  return withStore({ name: 'report', path, env, openTimeoutMs }, ({ books }, config) =>
    runReportCommand({ books, config, args: options, out: process.stdout, err: process.stderr, now, beganMs }),
  );
}
