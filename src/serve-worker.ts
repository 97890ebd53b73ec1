// A worker process of `inferometer serve` with `server.workers` above 1: a gateway without an admin plane, run by its supervisor's word.
// Not here: what a gateway is (compose.ts), who starts and replaces workers (workers/worker-pool.ts).
import cluster from 'node:cluster';
import { createLogging } from '#observe/logging.ts';
import { WorkerChannel } from '#workers/worker-channel.ts';
import type { Ask, ToldError } from '#workers/worker-messages.ts';
import { composeGateway } from './compose.ts';
import type { RunningGateway } from './running-gateway.ts';

const REPORT_INTERVAL_MS = 500;
/** Unsettled records told at a time, the newest. */
const UNSETTLED_MAX = 5000;

async function runWorker(): Promise<number> {
  // One process is the gateway's to its operator: signals to the group are the supervisor's to pass on.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  const terminated = new Promise<'SIGTERM'>((resolve) => {
    process.on('SIGTERM', () => resolve('SIGTERM'));
  });
  // Node would end this process, and every answer with it, in the turn in which the supervisor is gone.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  const channel = new WorkerChannel(process);
  const told = await Promise.race([channel.started, channel.draining]);
  if (typeof told === 'string') return 0;
  const { config, version } = told;
  const log = createLogging(config.logging);
  let running: RunningGateway | null = null;
  let isConfigGood = true;
  // Its ports are the supervisor's to give: without one the start would never end. What it began is taken up as after a crash.
  void channel.draining.then((reason) => (reason === 'orphaned' && running === null ? process.exit(1) : undefined));
  const fail = (error: unknown) => channel.send({ t: 'failed', error: tellError(error) });
  try {
    running = await composeGateway({
      config,
      log,
      version,
      configReloadSuccessful: () => isConfigGood,
      siblings: {
        findUnsettled: (sought) => channel.findUnsettled(sought, () => running?.unsettled(sought) ?? []),
      },
    });
  } catch (error) {
    fail(error);
    return 1;
  }
  const gateway = running;
  const tell = () => channel.send({ t: 'report', report: gateway.report() });
  channel.onAsk((ask) => answer(gateway, ask, (isGood) => (isConfigGood = isGood)));
  tell();
  const { gatewayUrl, grpcAddress } = gateway;
  channel.send({ t: 'listening', addresses: { gatewayUrl, grpcAddress } });
  gateway.ready.then(tell, fail);
  const reporting = setInterval(tell, REPORT_INTERVAL_MS);
  const reason = await Promise.race([channel.draining, terminated]);
  log.info({ reason }, 'draining');
  const left = await gateway.drain();
  clearInterval(reporting);
  channel.send({ t: 'drained', left, metrics: await gateway.readMetrics() });
  return left.length === 0 ? 0 : 1;
}

async function answer(gateway: RunningGateway, ask: Ask, setConfigGood: (isGood: boolean) => void): Promise<unknown> {
  if ('configReloadSuccessful' in ask.asked) {
    setConfigGood(ask.asked.configReloadSuccessful);
    return gateway.readMetrics();
  }
  if ('sought' in ask.asked) return gateway.unsettled(ask.asked.sought ?? undefined).slice(-UNSETTLED_MAX);
  try {
    return { refusals: await gateway.reload(ask.asked.config), error: null };
  } catch (error) {
    return { refusals: [], error: tellError(error).message };
  }
}

function tellError(error: unknown): ToldError {
  return error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: 'Error', message: String(error) };
}

process.exitCode = await runWorker();
if (process.connected) process.disconnect?.();
