// Builds a running gateway from a configuration: the only file that knows adapters, and the order in which things start and stop.
import { type Accounting, createAccounting } from '#accounting/create-accounting.ts';
import { chooseProfile, poolFactsFromConfig } from '#accounting/pool-facts-from-config.ts';
import { createWindowClock, machineClock, type WindowClock } from '#accounting/window-clock.ts';
import { type AdminServer, createAdminServer } from '#admin/admin-server.ts';
import type { Config } from '#config/config.ts';
import type { Log } from '#domain/log.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createGateway, type Gateway } from '#gateway/create-gateway.ts';
import { createAccessLog } from '#observe/access-log.ts';
import { createAccessLogging } from '#observe/logging.ts';
import { createMetrics, type Metrics, type MetricsSources } from '#observe/metrics.ts';
import { type OpenedStore, openStore } from '#store/open-store.ts';
import { assessReadiness, type ReadinessAnswer } from './readiness.ts';

/** A start waits this long for the store, then serves without it: requests are metered and journaled meanwhile. */
const STORE_WAIT_MS = 5_000;

export interface RunningGateway {
  /** Where the planes listen, such as `http://127.0.0.1:8080`. */
  readonly gatewayUrl: string;
  readonly adminUrl: string;
  /** Resolves when config and store were read once. Rejects with StoreSchemaError or a PriceRefusedError. */
  readonly ready: Promise<void>;
  /** Applies a new configuration without dropping a request; returns what was refused, in words. */
  reload(config: Config): Promise<readonly string[]>;
  /** Not ready, then no new requests, then everything posted; returns what is left, in words (empty: nothing). */
  drain(): Promise<readonly string[]>;
}

export interface ComposeOptions {
  readonly config: Config;
  readonly log: Log;
  readonly version: string;
  /** False after a reload that was refused. */
  readonly configReloadSuccessful: () => boolean;
}

/** The configuration asks for a price in settled time. */
export class PriceRefusedError extends Error {
  override name = 'PriceRefusedError';
}

/**
 * Starts everything: admin plane first, so that it can say `starting`, then accounting, then the data plane. Rejects with AdminUnprotectedError,
 * JournalLockedError, StoreSchemaError, PriceRefusedError or the system's error of a port or directory.
 */
export async function composeGateway(options: ComposeOptions): Promise<RunningGateway> {
  const parts = createParts(options);
  const { admin, accounting, gateway, store } = parts;
  try {
    const adminAddress = await admin.listen();
    const started = accounting.start();
    const joined = started.then(() => accounting.ready).then(() => true);
    if (await Promise.race([joined, delay(STORE_WAIT_MS)])) {
      const refused = await accounting.applyFacts();
      if (refused.length > 0) throw new PriceRefusedError(refused.join('; '));
    }
    const address = await gateway.listen();
    return {
      gatewayUrl: toUrl(address, options.config.server.tls !== undefined),
      adminUrl: toUrl(adminAddress, false),
      ready: started.then(() => accounting.ready),
      reload: (config) => parts.reload(config),
      drain: () => parts.drain(),
    };
  } catch (error) {
    accounting.stop();
    await Promise.allSettled([gateway.close(), admin.close(), store.settlement.close()]);
    throw error;
  }
}

interface Parts {
  readonly store: OpenedStore;
  readonly accounting: Accounting;
  readonly gateway: Gateway;
  readonly admin: AdminServer;
  reload(config: Config): Promise<readonly string[]>;
  drain(): Promise<readonly string[]>;
}

function createParts({ config: initial, log, version, configReloadSuccessful }: ComposeOptions): Parts {
  let config = initial;
  let started = false;
  let draining = false;
  const store = openStore({ ...pickStore(config), log });
  const clock = createWindowClock(machineClock);
  // Metrics, accounting and the gateway ask each other at run time; each answer is read when it is needed.
  let accounting: Accounting;
  let gateway: Gateway;
  const sources = createSources({
    config: () => config,
    accounting: () => accounting,
    gateway: () => gateway,
    configReloadSuccessful,
  });
  const metrics = createMetrics({ config, books: store.books, sources, clock, log, version });
  accounting = startAccounting({ config: () => config, store, clock, log, metrics });
  accounting.ready.then(
    () => (started = true),
    () => {},
  );
  const readiness = (): ReadinessAnswer => {
    const { storeUp, journalOk, stoppedBecause } = accounting.status();
    return assessReadiness({
      started,
      draining,
      storeUp,
      journalOk,
      stoppedBecause,
      upstreams: gateway.upstreamStatus(),
    });
  };
  gateway = createGateway({
    config,
    engines: ENGINE_TRAITS,
    metering: accounting.metering,
    listeners: config.logging.access ? [metrics, createAccessLog(createAccessLogging(config.logging))] : [metrics],
    clock,
    log,
    reportHealth: (pool, healthy) => accounting.reportHealth(pool, healthy),
    onRejection: (team, reason) => metrics.requestRejected(team, reason),
    readiness: () => {
      const answer = readiness();
      const wanted = answer.status === 'ready' || answer.status === 'degraded';
      return { httpStatus: wanted ? 200 : 503, body: { ...answer } };
    },
  });
  const admin = createAdminServer({
    config,
    books: store.books,
    metrics,
    readiness,
    sources,
    unsettled: () => accounting.unsettled(),
    clock,
    log,
  });
  return {
    store,
    accounting,
    gateway,
    admin,
    async reload(next) {
      config = next;
      gateway.reload(next);
      admin.reload(next);
      metrics.reload(next);
      return accounting.applyFacts();
    },
    async drain() {
      draining = true;
      gateway.startDraining();
      const { left } = await gateway.drain(config.server.drainTimeoutMs);
      await gateway.close();
      const { unsettledRecords, unsentMessages } = await accounting.drain();
      await admin.close();
      await store.settlement.close();
      const words = [];
      if (left > 0) words.push(`${left} requests were still in flight and were cut`);
      if (unsettledRecords > 0)
        words.push(`${unsettledRecords} records are not settled; the journal has them for the next start`);
      if (unsentMessages > 0)
        words.push(`${unsentMessages} messages are not posted; the journal has them for the next start`);
      return words;
    },
  };
}

function pickStore({ store, retention }: Config) {
  return { url: store.url, prefix: store.prefix, timeoutMs: store.timeoutMs, retention };
}

function startAccounting(options: {
  readonly config: () => Config;
  readonly store: OpenedStore;
  readonly clock: WindowClock;
  readonly log: Log;
  readonly metrics: Metrics;
}): Accounting {
  const { config, store, clock, log, metrics } = options;
  const { journal, settlement } = config();
  return createAccounting({
    store: store.settlement,
    journalDir: journal.dir,
    fsync: journal.fsync,
    horizonMs: settlement.horizonMs,
    silenceMs: settlement.silenceMs,
    clock,
    log,
    wantedFacts: () => poolFactsFromConfig(config()),
    listener: metrics,
    profileOf: createProfileLookup(config),
  });
}

/** Profiles by deployment, computed once per configuration: accounting asks for them at every sealing. */
function createProfileLookup(config: () => Config) {
  let seen: Config | undefined;
  let profiles = new Map<string, ReturnType<typeof chooseProfile>>();
  let last: ReturnType<typeof chooseProfile> | undefined;
  return (deployment: string): ReturnType<typeof chooseProfile> => {
    const current = config();
    if (seen !== current) {
      // A deployment that left the configuration may still have work to be sealed: keep what was known of it.
      for (const entry of current.deployments) profiles = profiles.set(entry.name, chooseProfile(entry));
      seen = current;
    }
    const found = profiles.get(deployment) ?? last;
    if (found !== undefined) last = found;
    return found ?? chooseProfile({ gpu: '', gpuMillionths: 1_000_000, models: [], servedModel: '', name: deployment });
  };
}

function createSources(options: {
  readonly config: () => Config;
  readonly accounting: () => Accounting;
  readonly gateway: () => Gateway;
  readonly configReloadSuccessful: () => boolean;
}): MetricsSources {
  const { config, accounting, gateway, configReloadSuccessful } = options;
  return {
    // Without a verdict yet an upstream gets requests, so it is up.
    upstreamStatus: () =>
      gateway()
        .upstreamStatus()
        .map((status) => ({ ...status, healthy: status.healthy !== false })),
    accountingStatus: () => {
      const status = accounting().status();
      return { ...status, residualGpuSeconds: Object.fromEntries(status.residualGpuSeconds) };
    },
    profiles: () =>
      config().deployments.map((deployment) => ({ deployment: deployment.name, ...chooseProfile(deployment) })),
    configReloadSuccessful,
  };
}

function toUrl({ host, port }: { readonly host: string; readonly port: number }, tls: boolean): string {
  const shown = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `${tls ? 'https' : 'http'}://${shown}:${port}`;
}

function delay(ms: number): Promise<false> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), ms).unref();
  });
}
