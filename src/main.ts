// The command line: which commands there are and their options. What a command does lives in commands, demo and config.
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { addLedger, addMonth } from './commands/add-ledger.ts';
import { configOption } from './commands/config-option.ts';
import { readVersion } from './commands/read-version.ts';
import { REPORT_OPTIONS } from './commands/report-options.ts';
import { UNDELIVERED_COMMANDS } from './commands/undelivered.ts';
import { watchOutput } from './commands/watch-output.ts';

/** Exit codes of contract §2. */
const EXIT = { done: 0, failed: 1, usage: 2 } as const;

function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0)
    throw new InvalidArgumentError('expected a number ≥ 0.');
  return value;
}

function parsePort(text: string): number {
  // Empty, as of a variable that is not set, is no port; Number would read 0.
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Infinity;
  if (port > 65_535) throw new InvalidArgumentError('expected a port, 0 … 65535.');
  return port;
}

function parseSeed(text: string): number {
  const seed = /^\d{1,15}$/.test(text) ? Number(text) : -1;
  if (seed < 0) throw new InvalidArgumentError('expected an integer ≥ 0.');
  return seed;
}

/** An empty host would be every address of the machine, and an empty model one that nobody can ask for. */
function parseName(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('expected something.');
  return text;
}

/** The check of the demo knows the newest 100 000 requests, a few hours of its traffic. */
function parseDemoSeconds(text: string): number {
  const seconds = parseNumber(text);
  if (seconds > 3600) throw new InvalidArgumentError('expected 0 … 3600 seconds.');
  return seconds;
}

/** Five seconds to an hour, ms. */
function parseDurationMs(text: string): number {
  const match = /^(\d{1,7})(ms|s|m)$/.exec(text.trim());
  const durationMs = Number(match?.[1]) * ({ ms: 1, s: 1000, m: 60_000 }[match?.[2] ?? ''] ?? Number.NaN);
  if (!(durationMs >= 5000 && durationMs <= 3_600_000))
    throw new InvalidArgumentError('expected a duration from 5s to 60m.');
  return durationMs;
}

function addServe(program: Command): void {
  program
    .command('serve')
    .description('run the gateway')
    .addOption(configOption())
    .action(async (options) => {
      const { runServe } = await import('./commands/serve.ts');
      process.exitCode = await runServe({ path: options.config, env: process.env });
    });
}

function addConfig(program: Command): void {
  const config = program.command('config').description('work with the configuration');
  config
    .command('check')
    .description('report every problem of a configuration file at once')
    .addOption(configOption())
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { runConfigCheck } = await import('#config/config-check.ts');
      process.exitCode = await runConfigCheck({
        path: options.config,
        env: process.env,
        json: options.json === true,
        out: (text) => process.stdout.write(text),
      });
    });
}

function addInit(program: Command): void {
  program
    .command('init')
    .description('probe a running engine and write a configuration that works')
    .requiredOption('--upstream <url>', 'base URL of the engine')
    .requiredOption('--gpu <name>', 'GPU model, such as H100-SXM')
    .requiredOption('--gpus <count>', 'GPUs of one replica (fractions allowed)')
    .requiredOption('--usd-per-gpu-hour <price>', 'what one GPU costs per hour')
    .option('--from-litellm <file>', 'take models and keys from a LiteLLM configuration')
    .option('--force', 'overwrite an existing file')
    .addOption(configOption())
    .option('--json', 'print JSON')
    .action(async (options) => {
      const { runInit } = await import('#config/init/run-init.ts');
      process.exitCode = await runInit({
        upstream: options.upstream,
        gpu: options.gpu,
        gpus: options.gpus,
        usdPerGpuHour: options.usdPerGpuHour,
        path: options.config,
        force: options.force === true,
        ...(options.fromLitellm === undefined ? {} : { fromLitellm: options.fromLitellm }),
        json: options.json === true,
        env: process.env,
      });
    });
}

function addSimulate(program: Command): void {
  program
    .command('simulate')
    .description('run a simulated engine with known GPU time per request (GET /truth)')
    .option('--port <port>', 'port, 0 for a free one', parsePort, 8000)
    .option('--grpc-port <port>', "port of KServe's gRPC beside HTTP, 0 for a free one (triton, kserve)", parsePort)
    .option(
      '--prefill-port <port>',
      'port of a second engine that computes the prompts (prefillBy), 0 for a free one',
      parsePort,
    )
    .option('--host <host>', 'address to listen on', parseName, '127.0.0.1')
    .addOption(
      new Option('--flavor <flavor>', 'server to imitate')
        .choices(['trtllm', 'triton', 'vllm', 'transformers', 'kserve'])
        .default('trtllm'),
    )
    .option('--model <name>', 'model name', parseName, 'llama-3.1-8b')
    .option('--seed <number>', 'seed of all randomness', parseSeed, 1)
    .option('--no-usage', 'never report token usage')
    .option(
      '--baseline',
      'unbatched: the engine before optimisation, a tenth of its throughput with eight requests in flight',
    )
    .option('--json', 'print where it listens as JSON')
    .action(async (options) => {
      // The gRPC library reads it when it is loaded; unset it would say beside us that a port is taken.
      process.env['GRPC_VERBOSITY'] ??= 'NONE';
      const { runSimulate } = await import('./commands/simulate.ts');
      process.exitCode = await runSimulate(options);
    });
}

function addReport(program: Command): void {
  const report = program.command('report').description('chargeback report from the store').addOption(configOption());
  for (const option of REPORT_OPTIONS) report.option(option.flags, option.description);
  report.action(async (options) => {
    const { runReport } = await import('./commands/report.ts');
    process.exitCode = await runReport({ path: options.config, env: process.env, options });
  });
}

function addDemo(program: Command): void {
  program
    .command('demo')
    .description('the main job end to end on simulated engines: traffic, chargeback, check against the truth')
    .option('--json', 'print the chargeback and the check as one JSON object')
    .option('--once', 'exit after the check: 0, or 1 if the books differ or a team is off by more than 5 %')
    .option('--seconds <seconds>', 'length of the traffic', parseDemoSeconds, 24)
    .option('--seed <number>', 'seed of engines and traffic', parseSeed, 7)
    .action(async (options) => {
      const { runDemo } = await import('./demo/run-demo.ts');
      process.exitCode = await runDemo({
        once: options.once === true,
        json: options.json === true,
        seconds: options.seconds,
        seed: options.seed,
        env: process.env,
      });
    });
}

function addCalibrate(program: Command): void {
  program
    .command('calibrate')
    .description('measure the engine profile of an idle engine through its own API')
    .addOption(configOption())
    .option('--deployment <name>', 'deployment of the config; may be left out where there is only one')
    .option('--upstream <name>', 'one of its upstreams (default: the first)')
    .option('--url <url>', 'base URL of an engine, without a config (key in UPSTREAM_API_KEY)')
    .option('--model <name>', 'with --url: the model, where the engine serves several')
    .option('--engine <name>', 'with --url: the engine, where it is not recognised')
    .option('--gpu <name>', 'with --url: GPU model, such as H100-SXM')
    .option('--gpus <count>', 'with --url: GPUs of the replica', parseNumber)
    .option('--write', 'write the profile into the config file, comments kept')
    .option('--json', 'print JSON')
    .option('--seed <number>', 'seed of pauses and confidence intervals', parseNumber, 1)
    .addOption(
      new Option('--duration <duration>', 'how long to measure, such as 60s')
        .argParser(parseDurationMs)
        .default(60_000, '60s'),
    )
    .option('--force', 'measure and print whatever speaks against it')
    .action(async ({ config, write, json, force, duration, ...options }) => {
      const { runCalibrate } = await import('./commands/calibrate.ts');
      process.exitCode = await runCalibrate({
        ...options,
        path: config,
        env: process.env,
        write: write === true,
        json: json === true,
        force: force === true,
        durationMs: duration,
      });
    });
}

/** A command of the contract that answers with a clear error. */
function addAbsent(parent: Command, name: string, what: string): void {
  parent
    .command(name.split(' ').at(-1) ?? name, { hidden: false })
    .description(`${what} (not part of this version)`)
    .allowUnknownOption()
    .allowExcessArguments()
    .action(() => {
      process.stderr.write(`inferometer ${name}: ${what} is not part of this version; see CHANGELOG.md for what is.\n`);
      process.exitCode = EXIT.usage;
    });
}

function addUndelivered(program: Command): void {
  for (const { name, what } of UNDELIVERED_COMMANDS) addAbsent(program, name, what);
}

async function main(): Promise<void> {
  watchOutput();
  const program = new Command('inferometer')
    .description('Measures what GPU inference really costs.')
    .version(readVersion());
  program.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'inferometer: ')) });
  addServe(program);
  addInit(program);
  addConfig(program);
  addDemo(program);
  addSimulate(program);
  addReport(program);
  addCalibrate(program);
  addLedger(program, process.env);
  addMonth(program, process.env);
  addUndelivered(program);
  for (const command of [program, ...program.commands, ...program.commands.flatMap((child) => child.commands)]) {
    command.exitOverride();
    // Scripts pass --config to every command alike; those that need no file take it all the same.
    const runs = command.commands.length === 0;
    if (runs && !command.options.some((option) => option.long === '--config'))
      command.addOption(configOption().hideHelp());
  }
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
      return;
    }
    process.stderr.write(`inferometer: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = EXIT.failed;
  }
}

await main();
