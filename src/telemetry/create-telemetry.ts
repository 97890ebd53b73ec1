// Reads engines' statistics and DCGM exporters beside the requests: each replica by one process, chosen through the store.
// Not here: what is read (engine-reader.ts, dcgm-reader.ts), what it does to the books (accounting).
import { randomUUID } from 'node:crypto';
import type { DeviceActivity } from '#accounting/device-activity.ts';
import type { Config, UpstreamConfig } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import type { EngineTraits } from '#domain/engine.ts';
import type { LeaseStore } from '#domain/lease-store.ts';
import type { Log } from '#domain/log.ts';
import type { Dispatcher } from 'undici';
import { DCGM_TIMEOUT_MS, DcgmReader } from './dcgm-reader.ts';
import type { EngineIterations } from './engine-profiles.ts';
import { ENGINE_TIMEOUT_MS, EngineReader } from './engine-reader.ts';
import { LeaseHolder } from './lease-holder.ts';
import { listStatisticsTargets, type StatisticsTarget } from './statistics-targets.ts';

/** What is asked of a target: as the metrics' label says it. */
export type TelemetrySource = 'iterations' | 'dcgm';

export interface TelemetryOptions {
  readonly config: () => Config;
  readonly engines: Readonly<Record<string, EngineTraits>>;
  readonly leases: LeaseStore;
  readonly activity: DeviceActivity;
  readonly clock: Clock;
  readonly log: Log;
  /** Connections to an upstream, or to an exporter where its URL stands in the config's place. */
  readonly connect: (upstream: UpstreamConfig, connectMs: number) => Dispatcher;
  readonly onEnergy: (pool: { readonly deployment: string; readonly gpu: string }, joules: number) => void;
  readonly onFailure: (target: {
    readonly deployment: string;
    readonly upstream: string;
    readonly source: TelemetrySource;
  }) => void;
  /** Told what each read of an engine brought, for whoever learns from it. */
  readonly onIterations?: (target: StatisticsTarget, iterations: EngineIterations) => Promise<void>;
  /** Time between rounds; default 500. Infinity: rounds are run by `round` alone. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 500;
/** An exporter's figures move once a second at most. */
const DCGM_INTERVAL_MS = 1000;
/** A target that fails is asked less and less often, up to this. */
const BACKOFF_MAX_MS = 60_000;
/** What must be left of a lease beyond a read's own limit. */
const LEASE_MARGIN_MS = 1000;

/** One target under a lease. */
interface Reading {
  readonly target: StatisticsTarget;
  readonly dispatcher: Dispatcher;
  readonly source: TelemetrySource;
  readonly limitMs: number;
  readonly read: () => Promise<void>;
  isRunning: boolean;
  nextAtMs: number;
  failures: number;
}

/** Owns timers, leases and connections. Nothing here fails a request: what cannot be read is counted and told once. */
export class Telemetry {
  readonly #options: TelemetryOptions;
  readonly #holder: LeaseHolder;
  readonly #readings = new Map<string, Reading>();
  #listed: { readonly config: Config; readonly targets: readonly StatisticsTarget[] } | null = null;
  #timer: NodeJS.Timeout | undefined;
  #isRenewing = false;
  #isStopped = false;
  #isStoreTold = false;
  #isFaultTold = false;

  constructor(options: TelemetryOptions) {
    this.#options = options;
    this.#holder = new LeaseHolder(options.leases, randomUUID(), options.clock);
  }

  /** Begins; safe before the store answers. */
  start(): void {
    const intervalMs = this.#options.intervalMs ?? INTERVAL_MS;
    if (Number.isFinite(intervalMs)) this.#timer = setInterval(() => void this.round(), intervalMs).unref();
  }

  /** What this process reads now. */
  reading(): readonly { readonly deployment: string; readonly upstream: string; readonly source: TelemetrySource }[] {
    return [...this.#readings.values()].map(({ target, source }) => ({ ...labelsOf(target), source }));
  }

  /** Renews leases and begins the reads that are due; resolves when they ended. Never rejects. */
  async round(): Promise<void> {
    if (this.#isStopped) return;
    await this.#renew();
    try {
      this.#synchronize();
    } catch (error) {
      if (!this.#isFaultTold) this.#options.log.error({ err: error }, 'statistics cannot be asked for');
      this.#isFaultTold = true;
    }
    await Promise.all([...this.#readings.values()].map((reading) => this.#readWhenDue(reading)));
  }

  /** Ends reading and gives the leases up, so that another process goes on at once. Never rejects. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    for (const reading of this.#readings.values()) close(reading);
    this.#readings.clear();
    try {
      await this.#holder.release();
    } catch {
      // The store does not answer: the leases run out by themselves.
    }
  }

  #targets(): readonly StatisticsTarget[] {
    const config = this.#options.config();
    if (this.#listed?.config !== config) {
      this.#listed = { config, targets: listStatisticsTargets(config, this.#options.engines) };
    }
    return this.#listed.targets;
  }

  async #renew(): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    try {
      if (await this.#holder.renew(this.#targets().map(({ lease }) => lease))) this.#isStoreTold = false;
    } catch {
      if (!this.#isStoreTold) {
        this.#options.log.warn({}, 'the store does not say who reads engine statistics; what is held runs out');
      }
      this.#isStoreTold = true;
    } finally {
      this.#isRenewing = false;
    }
  }

  /** Readings are those of held leases; one that is lost or no longer in the config is closed, and made anew when it comes back. */
  #synchronize(): void {
    if (this.#isStopped) return;
    const targets = this.#targets();
    for (const [lease, reading] of this.#readings) {
      if (this.#holder.remainingMs(lease) > 0 && targets.includes(reading.target)) continue;
      close(reading);
      this.#readings.delete(lease);
    }
    for (const target of targets) {
      if (this.#readings.has(target.lease) || this.#holder.remainingMs(target.lease) === 0) continue;
      this.#readings.set(target.lease, this.#open(target));
    }
  }

  #open(target: StatisticsTarget): Reading {
    const { connect, engines, activity, clock, log, onEnergy, onIterations } = this.#options;
    const { upstream, deployment } = target;
    const state = { target, isRunning: false, nextAtMs: Number.NEGATIVE_INFINITY, failures: 0 };
    if (target.kind === 'dcgm') {
      const dispatcher = connect(exporterOf(upstream), DCGM_TIMEOUT_MS);
      const reader = new DcgmReader({ target, dispatcher, activity, clock, log, onEnergy });
      return { ...state, dispatcher, source: 'dcgm', limitMs: DCGM_TIMEOUT_MS, read: () => reader.read() };
    }
    const dispatcher = connect(upstream, deployment.timeouts.connectMs);
    const traits = engines[deployment.engine];
    if (traits === undefined) throw new RangeError(`no traits of engine ${deployment.engine}`);
    const reader = new EngineReader({
      target,
      traits,
      dispatcher,
      activity,
      clock,
      log,
      onIterations: onIterations ?? (async () => {}),
    });
    return {
      ...state,
      dispatcher,
      source: 'iterations',
      limitMs: ENGINE_TIMEOUT_MS,
      read: () => reader.readIterations(),
    };
  }

  async #readWhenDue(reading: Reading): Promise<void> {
    const { clock, log, onFailure } = this.#options;
    const nowMs = clock.monotonicMs();
    const { target, source } = reading;
    if (reading.isRunning || nowMs < reading.nextAtMs) return;
    // Another process may hold the lease before a read that begins now is over.
    if (this.#holder.remainingMs(target.lease) < reading.limitMs + LEASE_MARGIN_MS) return;
    reading.isRunning = true;
    try {
      await reading.read();
      if (reading.failures > 0) log.info({ ...labelsOf(target), source }, 'statistics can be read again');
      reading.failures = 0;
      reading.nextAtMs = source === 'dcgm' ? nowMs + DCGM_INTERVAL_MS - INTERVAL_MS / 2 : Number.NEGATIVE_INFINITY;
    } catch (error) {
      if (this.#isStopped || this.#readings.get(target.lease) !== reading) return;
      onFailure({ ...labelsOf(target), source });
      const reason = error instanceof Error ? error.message : String(error);
      if (reading.failures === 0) {
        log.warn({ ...labelsOf(target), source, reason }, 'statistics cannot be read; busy time is read from requests');
      }
      reading.failures += 1;
      reading.nextAtMs = nowMs + Math.min(BACKOFF_MAX_MS, 1000 * 2 ** Math.min(reading.failures, 10));
    } finally {
      reading.isRunning = false;
    }
  }
}

function labelsOf({ deployment, upstream }: StatisticsTarget): {
  readonly deployment: string;
  readonly upstream: string;
} {
  return { deployment: deployment.name, upstream: upstream.name };
}

/** The exporter in the upstream's place: neither its credentials nor its TLS nor its proxy are for it. */
function exporterOf(upstream: UpstreamConfig): UpstreamConfig {
  const { tls: _tls, proxy: _proxy, address: _address, ...rest } = upstream;
  return { ...rest, url: upstream.dcgm, apiKey: '', headers: {} };
}

/** A read under way ends with an error that nobody waits for. */
function close({ dispatcher }: Reading): void {
  dispatcher.destroy().catch(() => {});
}
