// `inferometer report`: the report of the configured store, on standard output.
import { type ReportCommandArguments, runReportCommand } from '#reports/report-command.ts';
import { withStore } from './with-store.ts';

export interface ReportCommand {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly options: ReportCommandArguments;
}

/** Exit code 0 done, 1 it failed (store not reachable, not settled in time), 2 bad usage or config. */
export function runReport({ path, env, options }: ReportCommand): Promise<number> {
  return withStore({ name: 'report', path, env }, ({ books }, config) =>
    runReportCommand({ books, config, args: options, out: process.stdout, err: process.stderr, now: () => Date.now() }),
  );
}
