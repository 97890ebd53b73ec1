// `inferometer serve`: loads the configuration, runs the gateway, reloads it on SIGHUP, drains it on SIGTERM.
import type { Config } from '#config/config.ts';
import { loadConfigAside } from '#config/load-config-aside.ts';
import { formatProblem } from '#config/problem.ts';
import { ConfigReloader } from '#config/watch-config.ts';
import type { Log } from '#domain/log.ts';
import { createLogging } from '#observe/logging.ts';
import type { composeWorkers, RunningWorkers } from '../compose-workers.ts';
import { startArchiving } from './archive-timer.ts';
import { readVersion } from './read-version.ts';
import { waitForSignal } from './wait-for-signal.ts';

export interface ServeOptions {
  readonly path: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Compose = (options: Parameters<typeof composeWorkers>[0]) => Promise<RunningWorkers>;

/** Errors that the configuration or the command line caused: exit 2. All others: exit 1. */
const USAGE_ERRORS = new Set([
  'AdminUnprotectedError',
  'StoreSchemaError',
  'PriceRefusedError',
  'JournalLockedError',
  'TokenizerError',
]);

/** Runs until SIGTERM or SIGINT. Exit code 0 drained, 1 it failed or something is left, 2 bad config. */
export async function runServe({ path, env }: ServeOptions): Promise<number> {
  const hangups = catchHangups();
  const stopping = waitForSignal(['SIGTERM', 'SIGINT']);
  let isUp = false;
  // Nobody was answered yet, and the store may be awaited for longer than who stops it would wait.
  void stopping.then(() => (isUp ? undefined : process.exit(0)));
  const loaded = await loadConfigAside({ path, env });
  if (!loaded.ok) {
    for (const problem of loaded.problems) process.stderr.write(`inferometer: ${formatProblem(problem)}\n`);
    return 2;
  }
  const { config, warnings, files } = loaded;
  const log = createLogging(config.logging);
  for (const warning of warnings) log.warn({ event: 'config_warning', path: warning.path }, formatProblem(warning));
  let pricesRefused = false;
  const reloader = new ConfigReloader({ path, env, initial: config, files, log, load: loadConfigAside });
  let running: RunningWorkers;
  try {
    const compose = await loadComposition(config);
    running = await compose({
      config,
      log,
      version: readVersion(),
      configReloadSuccessful: () => reloader.lastReloadSuccessful && !pricesRefused,
    });
  } catch (error) {
    return failStart(error);
  }
  isUp = true;
  const { gatewayUrl, adminUrl, grpcAddress } = running;
  const grpc = grpcAddress === null ? '' : `, gRPC on ${grpcAddress}`;
  process.stdout.write(`gateway is ready on ${gatewayUrl}, admin plane on ${adminUrl}${grpc}\n`);
  let fatalCode: number | null = null;
  running.ready.catch((error: unknown) => {
    // The store turned out to be one this program must not write to: serving on would only fill the journal.
    log.error({ reason: messageOf(error) }, 'the store cannot be used');
    fatalCode = failStart(error);
    process.kill(process.pid, 'SIGTERM');
  });
  watchConfig(reloader, running, log, (refused) => (pricesRefused = refused));
  hangups.pass(() => void reloader.reload());
  const archiving = config.retention.archive === '' ? null : startArchiving({ path, log });
  const signal = await stopping;
  log.info({ signal }, 'draining');
  reloader.stop();
  archiving?.stop();
  const left = await running.drain();
  for (const words of left) process.stderr.write(`inferometer serve: ${words}\n`);
  return fatalCode ?? (left.length === 0 ? 0 : 1);
}

/** Only the one that runs is loaded: a gateway of workers needs no data plane in its own process. */
async function loadComposition({ server }: Config): Promise<Compose> {
  if (server.workers > 1) return (await import('../compose-workers.ts')).composeWorkers;
  return (await import('../compose.ts')).composeGateway;
}

/** A SIGHUP before the gateway can reload must neither end the process, as it would by default, nor be forgotten. */
function catchHangups(): { pass(reload: () => void): void } {
  let isAsked = false;
  let answer = (): void => {
    isAsked = true;
  };
  process.on('SIGHUP', () => answer());
  return {
    pass(reload) {
      answer = reload;
      if (isAsked) reload();
    },
  };
}

function watchConfig(
  reloader: ConfigReloader,
  running: RunningWorkers,
  log: Log,
  setRefused: (refused: boolean) => void,
): void {
  const apply = async (config: Config) => {
    try {
      setRefused((await running.reload(config)).length > 0);
    } catch (error) {
      log.error({ reason: messageOf(error) }, 'the new configuration is in force, its prices are not yet');
    }
  };
  reloader.onChange((next) => void apply(next));
  reloader.start();
}

/** What to do where the system refuses an address; its own words say only which and why. */
const ADDRESS_ADVICE: readonly (readonly [code: RegExp, advice: string])[] = [
  [/\bEADDRINUSE\b/, 'another program listens there: end it, or change server.port, admin.port or grpc.port'],
  [/\bEADDRNOTAVAIL\b/, 'this machine has no such address: change server.host, admin.host or grpc.host'],
  [/\b(?:listen|bind) EACCES\b/, 'this user may not listen there: change server.port, admin.port or grpc.port'],
];

function failStart(error: unknown): number {
  const message = messageOf(error);
  const advice = ADDRESS_ADVICE.find(([code]) => code.test(message))?.[1];
  process.stderr.write(`inferometer serve: ${message}${advice === undefined ? '' : `; ${advice}`}\n`);
  return error instanceof Error && USAGE_ERRORS.has(error.name) ? 2 : 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
