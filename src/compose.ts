// Builds a running gateway from a configuration: the only file that knows adapters, and the order in which things start and stop.
import type { Accounting } from '#accounting/create-accounting.ts';
import { DeviceActivity } from '#accounting/device-activity.ts';
import { createCostEstimator } from '#accounting/estimate-cost.ts';
import { createLearning, type Learning } from '#accounting/create-learning.ts';
import { createHostAccounting } from '#accounting/host-accounting.ts';
import { departedPoolFacts, poolFactsFromConfig } from '#accounting/pool-facts-from-config.ts';
import { StoredPrices } from '#accounting/stored-prices.ts';
import { createWindowClock, machineClock, type WindowClock } from '#accounting/window-clock.ts';
import { type AdminServer, createAdminServer } from '#admin/admin-server.ts';
import type { Config } from '#config/config.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { createGateway, type Gateway } from '#gateway/create-gateway.ts';
import type { GrpcListener } from '#grpc/grpc-server.ts';
import { DnsDiscovery } from '#gateway/dns-discovery.ts';
import { createAccessLog } from '#observe/access-log.ts';
import { openAccessSink } from '#observe/logging.ts';
import { createMetrics, type Metrics, type MetricsSources } from '#observe/metrics.ts';
import { CallerBooks, isSought, type SoughtRequest } from '#reports/caller-books.ts';
import { type OpenedStore, openStore } from '#store/open-store.ts';
import type { Telemetry } from '#telemetry/create-telemetry.ts';
import { composeTelemetry } from './compose-telemetry.ts';
import { settleYoungGeneration } from './young-generation.ts';
import { assessReadiness, type ReadinessAnswer } from './readiness.ts';
import { type ComposeOptions, PriceRefusedError, type RunningGateway } from './running-gateway.ts';
import { ConfigTakeOver } from './take-over-config.ts';
import { toUrl } from './to-url.ts';

/** A start waits this long for the store, then serves without it: requests are metered and journaled meanwhile. */
const STORE_WAIT_MS = 5_000;

/**
 * Starts everything: admin plane first, so that it can say `starting`, then accounting, then the data plane. Rejects with AdminUnprotectedError,
 * JournalLockedError, StoreSchemaError, PriceRefusedError or the system's error of a port or directory.
 */
export async function composeGateway(options: ComposeOptions): Promise<RunningGateway> {
  settleYoungGeneration();
  const discovery = new DnsDiscovery({ log: options.log, ...options.discovery });
  const parts = new Composition({ ...options, config: await discovery.follow(options.config) }, discovery);
  try {
    return await parts.start();
  } catch (error) {
    await parts.abandon();
    throw error;
  }
}

/** All parts of one gateway. They ask each other at run time, so each answer is read from here when it is needed. */
class Composition {
  #config: Config;
  #started = false;
  #draining = false;
  readonly #options: ComposeOptions;
  readonly #discovery: DnsDiscovery;
  readonly #takeOver: ConfigTakeOver;
  readonly #clock: WindowClock;
  readonly #store: OpenedStore;
  readonly #metrics: Metrics;
  readonly #activity = new DeviceActivity();
  readonly #prices = new StoredPrices();
  readonly #telemetry: Telemetry;
  readonly #learning: Learning;
  readonly #accounting: Accounting;
  readonly #gateway: Gateway;
  readonly #admin: AdminServer | null;
  readonly #sources: MetricsSources;
  #grpc: GrpcListener | undefined;

  constructor(options: ComposeOptions, discovery: DnsDiscovery) {
    this.#options = options;
    this.#discovery = discovery;
    this.#config = options.config;
    this.#clock = createWindowClock(machineClock);
    const { store, retention } = options.config;
    this.#store = openStore({ ...store, timeoutMs: store.timeoutMs, retention, log: options.log });
    this.#sources = this.#createSources();
    this.#metrics = createMetrics({
      ...options,
      books: this.#store.books,
      sources: this.#sources,
      clock: this.#clock,
      statisticsPollers: () => this.#telemetry.reading(),
    });
    this.#telemetry = composeTelemetry({
      config: () => this.#config,
      store: this.#store,
      activity: this.#activity,
      metrics: () => this.#metrics,
      clock: this.#clock,
      log: options.log,
    });
    const { log } = options;
    this.#learning = createLearning({
      config: () => this.#config,
      stores: this.#store,
      onFacts: (book) => this.#prices.take(book),
      clock: this.#clock,
      log,
    });
    this.#accounting = this.#createAccounting();
    this.#gateway = this.#createGateway();
    this.#admin = options.siblings === undefined ? this.#createAdmin() : null;
    this.#takeOver = new ConfigTakeOver({
      discovery,
      accounting: this.#accounting,
      log: options.log,
      announce: (config) => (this.#config = config),
      use: (config) => this.#use(config),
    });
  }

  async start(): Promise<RunningGateway> {
    const admin = await this.#admin?.listen();
    const ready = this.#accounting.start().then(() => this.#accounting.ready);
    const joined = ready.then(() => (this.#started = true));
    if (await Promise.race([joined, delay(STORE_WAIT_MS)])) {
      const refused = await this.#takeOver.begin();
      if (refused.length > 0) throw new PriceRefusedError(refused.join('; '));
    }
    const address = await this.#gateway.listen();
    const grpc = await this.#listenGrpc();
    this.#takeOver.watch();
    this.#telemetry.start();
    return {
      gatewayUrl: toUrl(address, this.#config.server.tls !== undefined),
      adminUrl: admin === undefined ? null : toUrl(admin, false),
      grpcAddress: grpc === undefined ? null : `${grpc.host}:${grpc.port}`,
      ready,
      reload: (config) => this.#takeOver.reload(config),
      drain: () => this.#drain(),
      report: () => ({
        readiness: this.#assess(),
        upstreams: this.#sources.upstreamStatus(),
        profiles: this.#sources.profiles(),
      }),
      readMetrics: () => this.#metrics.readJson(),
      unsettled: (sought) => this.#unsettled(sought),
    };
  }

  /** The gRPC library is loaded only where a port is configured: it takes as much memory as thirty streams. */
  async #listenGrpc(): Promise<{ readonly host: string; readonly port: number } | undefined> {
    const { grpc } = this.#config;
    if (grpc === undefined) return undefined;
    const { createGrpcServer } = await import('#grpc/grpc-server.ts');
    this.#grpc = createGrpcServer(this.#gateway.plane, grpc);
    return await this.#grpc.listen();
  }

  /** After a start that failed: nothing is posted, the journal keeps what there is. */
  async abandon(): Promise<void> {
    this.#takeOver.stop();
    await this.#telemetry.stop();
    this.#accounting.stop();
    await Promise.allSettled([
      this.#grpc?.close(),
      this.#gateway.close(),
      this.#admin?.close(),
      this.#store.settlement.close(),
    ]);
  }

  #use(config: Config): void {
    this.#gateway.reload(config);
    this.#admin?.reload(config);
    this.#metrics.reload(config);
  }

  async #drain(): Promise<readonly string[]> {
    this.#draining = true;
    this.#takeOver.stop();
    this.#gateway.startDraining();
    const { left } = await this.#gateway.drain(this.#config.server.drainTimeoutMs);
    await this.#grpc?.close();
    await this.#gateway.close();
    await this.#telemetry.stop();
    const { unsettledRecords, unsentMessages } = await this.#accounting.drain();
    await this.#admin?.close();
    await this.#store.settlement.close();
    const { journalOk } = this.#accounting.status();
    const keeps = journalOk ? 'the journal has them for the next start' : 'the journal could not be written';
    return [
      left > 0 ? `${left} requests were still in flight and were cut` : '',
      unsettledRecords > 0 ? `${unsettledRecords} records are not settled; ${keeps}` : '',
      unsentMessages > 0 ? `${unsentMessages} messages are not posted; ${keeps}` : '',
    ].filter((words) => words !== '');
  }

  #assess(): ReadinessAnswer {
    const { storeUp, journalOk, stoppedBecause, awaitsBooks } = this.#accounting.status();
    // A store that lost this host's books was read too: requests are metered and journaled until they are back.
    this.#started ||= awaitsBooks;
    const upstreams = this.#gateway.upstreamStatus();
    return assessReadiness({
      started: this.#started,
      draining: this.#draining,
      storeUp,
      journalOk,
      stoppedBecause,
      deployments: this.#config.deployments,
      upstreams,
    });
  }

  #unsettled(sought?: SoughtRequest): readonly UsageRecord[] {
    return this.#accounting.unsettled(sought === undefined ? undefined : (record) => isSought(record, sought));
  }

  #createAdmin(): AdminServer {
    return createAdminServer({
      ...this.#options,
      books: this.#store.books,
      metrics: this.#metrics,
      readiness: () => this.#assess(),
      sources: this.#sources,
      unsettled: () => this.#unsettled(),
      clock: this.#clock,
    });
  }

  #createAccounting(): Accounting {
    const { journal, settlement } = this.#config;
    return createHostAccounting({
      store: this.#store.settlement,
      journalRoot: journal.dir,
      fsync: journal.fsync,
      journalRetentionMs: journal.retentionMs,
      journalMaxBytes: journal.maxBytes,
      horizonMs: settlement.horizonMs,
      silenceMs: settlement.silenceMs,
      clock: this.#clock,
      log: this.#options.log,
      wantedFacts: () =>
        new Map([...departedPoolFacts(this.#config, this.#discovery.departed()), ...poolFactsFromConfig(this.#config)]),
      leftPools: this.#discovery.left,
      onFacts: (book) => this.#prices.take(book),
      listener: this.#metrics,
      books: this.#store.books,
      activity: this.#activity,
      profileOf: this.#learning.profiles.of,
      learner: this.#learning.learner,
    });
  }

  #createGateway(): Gateway {
    const { log } = this.#options;
    const { logging } = this.#config;
    const metrics = this.#metrics;
    return createGateway({
      config: this.#config,
      engines: ENGINE_TRAITS,
      metering: this.#accounting.metering,
      listeners: logging.access ? [metrics, createAccessLog(openAccessSink(logging))] : [metrics],
      clock: this.#clock,
      log,
      reportHealth: (pool, healthy) => this.#accounting.reportHealth(pool, healthy),
      estimateCost: createCostEstimator(
        () => this.#prices.of(this.#config),
        () => this.#clock.epochMs(),
        this.#learning.profiles.of,
      ),
      callerBooks: new CallerBooks({
        books: this.#store.books,
        clock: this.#clock,
        config: () => this.#config,
        unsettled: (sought) => this.#options.siblings?.findUnsettled(sought) ?? this.#unsettled(sought),
      }),
      onRejection: (team, reason) => metrics.requestRejected(team, reason),
      onEjection: (target) => metrics.upstreamEjected(target),
      onRetry: (deployment, result) => metrics.retried(deployment, result),
      onOverhead: (target, overheadMs) => metrics.overheadObserved(target, overheadMs),
      readiness: () => {
        const answer = this.#assess();
        const wanted = answer.status === 'ready' || answer.status === 'degraded';
        return { httpStatus: wanted ? 200 : 503, body: { ...answer } };
      },
    });
  }

  #createSources(): MetricsSources {
    return {
      // Without a verdict yet an upstream gets requests, so it is up.
      upstreamStatus: () =>
        this.#gateway.upstreamStatus().map((status) => ({ ...status, healthy: status.healthy !== false })),
      queueLengths: () => this.#gateway.queueLengths(),
      accountingStatus: () => this.#accounting.status(),
      profiles: () => this.#learning.describe(),
      prices: () => this.#prices.of(this.#config).prices,
      configReloadSuccessful: this.#options.configReloadSuccessful,
    };
  }
}

function delay(ms: number): Promise<false> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(false), ms).unref();
  });
}
