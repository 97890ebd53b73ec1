// The flags of `inferometer ledger` and `inferometer month`. What they do lives in ledger.ts and month.ts beside this file.
import type { Command } from 'commander';
import { UNATTRIBUTED } from '#domain/unattributed.ts';
import { configOption } from './config-option.ts';

/** `ledger verify|export|rebuild|adjust`. */
export function addLedger(program: Command, env: NodeJS.ProcessEnv): void {
  const ledger = program.command('ledger').description('prove the books, archive the records');
  addVerify(ledger, env);
  addExport(ledger, env);
  addRebuild(ledger, env);
  addAdjust(ledger, env);
}

function addVerify(ledger: Command, env: NodeJS.ProcessEnv): void {
  ledger
    .command('verify')
    .description('recompute the books from every claim; names the first thing that does not add up')
    .addOption(configOption())
    .option('--from <instant>', 'first UTC day or hour, inclusive (default: all that is kept)')
    .option('--to <instant>', 'last UTC day or hour, exclusive')
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { runLedgerVerify } = await import('./ledger.ts');
      process.exitCode = await runLedgerVerify({ path: options.config, env, options });
    });
}

function addExport(ledger: Command, env: NodeJS.ProcessEnv): void {
  ledger
    .command('export')
    .description('write settled records to the archive, one file per UTC day, with a manifest')
    .addOption(configOption())
    .option('--due', 'every settled day that retention.archive lacks; then days past retention.records leave the store')
    .option('--day <day>', 'a UTC day, such as 2026-11-22')
    .option('--from <day>', 'first UTC day, inclusive')
    .option('--to <day>', 'last UTC day, exclusive')
    .option('--format <format>', 'ndjson | parquet (default ndjson)')
    .option('--out <dir>', 'folder (default: retention.archive)')
    .option('--gzip', 'compress ndjson')
    .option('--partial', 'also a day that is not settled, marked as such')
    .option('--json', 'print the manifests as JSON')
    .action(async (options) => {
      const { runLedgerExport } = await import('./ledger.ts');
      process.exitCode = await runLedgerExport({ path: options.config, env, options });
    });
}

function addRebuild(ledger: Command, env: NodeJS.ProcessEnv): void {
  ledger
    .command('rebuild')
    .description('refill a store that lost its books from archive and journals, then verify them')
    .addOption(configOption())
    .option('--journal <dir...>', 'journal.dir of each gateway, copied here (default: that of the config)')
    .option('--archive <dir>', 'folder of ledger export (default: retention.archive)')
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { runLedgerRebuild } = await import('./ledger.ts');
      process.exitCode = await runLedgerRebuild({ path: options.config, env, options });
    });
}

function addAdjust(ledger: Command, env: NodeJS.ProcessEnv): void {
  ledger
    .command('adjust')
    .description('move money between two rows with a reason and an author; the bill stays what it is')
    .addOption(configOption())
    .option('--team <team>', 'team whose row gets the amount (a negative amount is taken from it)')
    .option('--amount <usd>', 'dollars, such as 12.50 or -3')
    .option('--against <team>', 'row that gives it', UNATTRIBUTED)
    .option('--project <project>', 'project of the team')
    .option('--model <model>', 'model of both rows')
    .option('--deployment <deployment>', 'deployment of both rows')
    .option(
      '--month <month>',
      'UTC month that is corrected (default: this one); a closed one is corrected in the present month',
    )
    .option('--reason <text>', 'why; stands in the report')
    .option('--author <name>', 'who answers for it; stands in the report')
    .option('--id <id>', 'the same id is booked once, however often it is run (default: a new one)')
    .option('--list', 'print what was booked so far instead')
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { runLedgerAdjust } = await import('./ledger.ts');
      process.exitCode = await runLedgerAdjust({ path: options.config, env, options });
    });
}

/** `month close`. */
export function addMonth(program: Command, env: NodeJS.ProcessEnv): void {
  const month = program.command('month').description('finish the books of a month');
  month
    .command('close')
    .description('close a UTC month for good: its report reproduces byte for byte, later money becomes a correction')
    .argument('<month>', 'such as 2026-10')
    .addOption(configOption())
    .option('--write-off', `give money that no team holds yet to the row ${UNATTRIBUTED}`)
    .option('--author <name>', 'who closes it (default: the user of this shell)')
    .option('--json', 'print JSON')
    .action(async (month, options) => {
      const { runMonthClose } = await import('./month.ts');
      process.exitCode = await runMonthClose({ path: options.config, env, month, options });
    });
}
