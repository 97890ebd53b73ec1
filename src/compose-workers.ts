// Builds a gateway of several worker processes: the pool that runs them, and the admin plane that answers for all of them as one.
// Not here: what a worker is made of (compose.ts).
import { extname, join } from 'node:path';
import { createWindowClock, machineClock } from '#accounting/window-clock.ts';
import { type AdminServer, createAdminServer } from '#admin/admin-server.ts';
import type { Config } from '#config/config.ts';
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { METRICS_CONTENT_TYPE } from '#observe/sum-metrics.ts';
import { type OpenedStore, openStore } from '#store/open-store.ts';
import { uniteUpstreams } from '#workers/unite-upstreams.ts';
import { WorkerPool } from '#workers/worker-pool.ts';
import { uniteReadiness } from './readiness.ts';
import type { ComposeOptions, RunningGateway } from './running-gateway.ts';
import { toUrl } from './to-url.ts';

/** The program of a worker, beside this file: src/serve-worker.ts in a checkout, dist/serve-worker.js when compiled. */
const WORKER_ENTRY = join(import.meta.dirname, `serve-worker${extname(import.meta.filename)}`);

/** Reports wait this long for a store at the start, as requests do. */
const STORE_WAIT_MS = 5000;

/** What a gateway of workers is to those who started it. */
export type RunningWorkers = Pick<
  RunningGateway,
  'gatewayUrl' | 'adminUrl' | 'grpcAddress' | 'ready' | 'reload' | 'drain'
>;

/**
 * Starts the admin plane, then the workers. `ready` rejects when a worker says that the gateway must not go on. Rejects with
 * AdminUnprotectedError, the system's error of the admin port, or what the first worker failed with, by its name.
 */
export async function composeWorkers(
  options: Pick<ComposeOptions, 'config' | 'log' | 'version' | 'configReloadSuccessful'>,
): Promise<RunningWorkers> {
  const { config, log } = options;
  const fatal = Promise.withResolvers<void>();
  fatal.promise.catch(() => {});
  const clock = createWindowClock(machineClock);
  const { store: address, retention, server } = config;
  const store = openStore({ ...address, timeoutMs: address.timeoutMs, retention, log });
  const pool = new WorkerPool({
    ...options,
    count: server.workers,
    entry: WORKER_ENTRY,
    clock,
    onFatal: (error) => fatal.reject(error),
  });
  const parts: WorkersParts = { pool, store, isDraining: false };
  const admin = createAdmin(options, parts);
  try {
    const adminAddress = await admin.listen();
    await openBooks(store);
    const addresses = await pool.start();
    return {
      ...addresses,
      adminUrl: toUrl(adminAddress, false),
      ready: fatal.promise,
      reload: (next) => reload(next, parts, admin),
      drain: () => drain(parts, admin),
    };
  } catch (error) {
    await Promise.allSettled([pool.abandon(), admin.close(), store.settlement.close()]);
    throw error;
  }
}

interface WorkersParts {
  readonly pool: WorkerPool;
  readonly store: OpenedStore;
  isDraining: boolean;
}

function createAdmin(options: Parameters<typeof composeWorkers>[0], parts: WorkersParts): AdminServer {
  const { pool, store } = parts;
  const { workers } = options.config.server;
  return createAdminServer({
    ...options,
    books: store.books,
    metrics: { render: () => pool.renderMetrics(), contentType: METRICS_CONTENT_TYPE },
    readiness: () => {
      const answers = pool.reports.map(({ readiness }) => readiness);
      return uniteReadiness(answers, { workers, draining: parts.isDraining });
    },
    sources: {
      upstreamStatus: () => uniteUpstreams(pool.reports.map(({ upstreams }) => upstreams)),
      profiles: () => pool.reports[0]?.profiles ?? [],
    },
    unsettled: () => pool.findUnsettled(null),
    allUnsettled: () => pool.findAllUnsettled(),
    clock: createWindowClock(machineClock),
  });
}

/** Reports are read from here; a store that does not answer now is asked again later, as in any gateway. */
async function openBooks(store: OpenedStore): Promise<void> {
  const opened = store.settlement.open().catch((error: unknown) => {
    if (!(error instanceof StoreUnavailableError)) throw error;
  });
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, STORE_WAIT_MS);
  });
  await Promise.race([opened, limit]);
  clearTimeout(timer);
  // After the limit it is too late for an answer that matters here: the workers tell.
  opened.catch(() => {});
}

function reload(next: Config, { pool }: WorkersParts, admin: AdminServer): Promise<readonly string[]> {
  admin.reload(next);
  return pool.reload(next);
}

async function drain(parts: WorkersParts, admin: AdminServer): Promise<readonly string[]> {
  parts.isDraining = true;
  const left = await parts.pool.drain();
  await admin.close();
  await parts.store.settlement.close();
  return left;
}
