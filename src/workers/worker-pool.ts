// N worker processes behind the same ports: started, replaced when they die, reloaded, asked and drained as one gateway.
// Not here: what one of them is (supervised-worker.ts), what it runs (serve-worker.ts).
import cluster from 'node:cluster';
import type { Config } from '#config/config.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { MetricSums } from '#observe/sum-metrics.ts';
import type { SoughtRequest } from '#reports/caller-books.ts';
import { SupervisedWorker } from './supervised-worker.ts';
import type { WorkerAddresses, WorkerReport } from './worker-messages.ts';

export interface WorkerPoolOptions {
  readonly count: number;
  /** The program of a worker. */
  readonly entry: string;
  readonly config: Config;
  readonly version: string;
  readonly configReloadSuccessful: () => boolean;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
  /** A worker says that the gateway must not go on, such as with a store of a newer schema. */
  readonly onFatal: (error: Error) => void;
  /** What a worker may take for its books after `server.drainDelay` and `server.drainTimeout`. Default 60 000 ms. */
  readonly settleLimitMs?: number;
  /** Between two looks at whether workers still say something; ten in vain and one hangs. Default 1000 ms. */
  readonly watchStepMs?: number;
}

/** A worker that does not answer a scrape in time is shown as it was last. */
const METRICS_LIMIT_MS = 2000;
/** What a worker counted since its metrics were last read is lost to them when it is killed (never to the books). */
const METRICS_INTERVAL_MS = 5000;
const UNSETTLED_LIMIT_MS = 2000;
const RELOAD_LIMIT_MS = 30_000;
/** One that lived less long is replaced only after a pause, twice as long each time. */
const SOUND_LIFE_MS = 10_000;
const PAUSE_MS = 250;
const PAUSE_MAX_MS = 10_000;
/** After it said that it has drained. */
const EXIT_LIMIT_MS = 5000;
const SETTLE_LIMIT_MS = 60_000;
const STEP_MS = 50;
const WATCH_STEP_MS = 1000;

/** Owns the processes. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #workers = new Set<SupervisedWorker>();
  readonly #sums = new MetricSums();
  #config: Config;
  #timer: NodeJS.Timeout | undefined;
  #watching: NodeJS.Timeout | undefined;
  readonly #restarts = new Set<NodeJS.Timeout>();
  #quickDeaths = 0;
  #isStopping = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  /** Resolves once all of them accept requests; rejects with what the first one failed with, after which `abandon` ends the others. */
  async start(): Promise<WorkerAddresses> {
    const { entry, count } = this.#options;
    cluster.setupPrimary({ exec: entry, args: [], serialization: 'advanced' });
    const starting = Array.from({ length: count }, () => this.#spawn().listening);
    const [addresses] = await Promise.all(starting);
    if (addresses === undefined) throw new RangeError('a gateway has at least one worker process');
    this.#timer = setInterval(() => void this.#readMetrics(METRICS_INTERVAL_MS), METRICS_INTERVAL_MS).unref();
    this.#watching = setInterval(() => this.#watch(), this.#options.watchStepMs ?? WATCH_STEP_MS).unref();
    return addresses;
  }

  /** Of those that accept requests and go on saying how they are. */
  get reports(): readonly WorkerReport[] {
    return [...this.#workers].flatMap(({ isListening, isSilent, report }) =>
      isListening && !isSilent && report !== null ? [report] : [],
    );
  }

  /** The text of one scrape over all of them, the dead included. */
  async renderMetrics(): Promise<string> {
    await this.#readMetrics(METRICS_LIMIT_MS);
    return this.#sums.render([...this.#workers].map(({ metrics }) => metrics));
  }

  /** Records of all of them that are not settled; of one request, or all. */
  async findUnsettled(sought: SoughtRequest | null): Promise<readonly UsageRecord[]> {
    const answers = await this.#askAll('unsettled', { sought }, UNSETTLED_LIMIT_MS);
    return uniteRecords(answers.flatMap((answer) => answer ?? []));
  }

  /** The same of all requests; null where a worker did not answer in time: a part of them is no count. */
  async findAllUnsettled(): Promise<readonly UsageRecord[] | null> {
    const answers = await this.#askAll('unsettled', { sought: null }, UNSETTLED_LIMIT_MS);
    const known = answers.filter((answer) => answer !== null);
    return known.length < answers.length ? null : uniteRecords(known.flat());
  }

  /** Applies a new configuration everywhere; returns what was refused. Rejects where a worker could not store its facts. */
  async reload(config: Config): Promise<readonly string[]> {
    this.#config = config;
    const answers = await this.#askAll('reload', { config }, RELOAD_LIMIT_MS);
    const errors = answers.flatMap((answer) => answer?.error ?? []);
    if (errors[0] !== undefined) throw new Error(errors[0]);
    return [...new Set(answers.flatMap((answer) => answer?.refusals ?? []))];
  }

  /** Drains all of them, and kills one that does not answer any more; returns what is left, in words. */
  async drain(): Promise<readonly string[]> {
    this.#stop();
    const { drainDelayMs, drainTimeoutMs } = this.#config.server;
    const limitMs = drainDelayMs + drainTimeoutMs + (this.#options.settleLimitMs ?? SETTLE_LIMIT_MS);
    const left = await Promise.all([...this.#workers].map((worker) => drainWorker(worker, limitMs)));
    return left.flat();
  }

  /** Ends all of them at once, as a crash would. */
  async abandon(): Promise<void> {
    this.#stop();
    const workers = [...this.#workers];
    for (const worker of workers) worker.kill();
    await Promise.all(workers.map(({ ended }) => ended));
  }

  #stop(): void {
    this.#isStopping = true;
    clearInterval(this.#timer);
    clearInterval(this.#watching);
    for (const timer of this.#restarts) clearTimeout(timer);
  }

  /** One that hangs may only be slow, and holds answers: it is told of and no longer counted, not killed. */
  #watch(): void {
    const { log } = this.#options;
    for (const worker of this.#workers) {
      const change = worker.isListening ? worker.watch() : null;
      if (change === 'silent')
        log.error({ pid: worker.pid }, 'a worker process hangs: if it stays so, kill it and another takes its place');
      if (change === 'back') log.info({ pid: worker.pid }, 'a worker process answers again');
    }
  }

  #spawn(): SupervisedWorker {
    const { version, clock, log, onFatal } = this.#options;
    const config = this.#config;
    const worker = new SupervisedWorker({
      start: { t: 'start', config, version },
      findUnsettled: (sought) => this.findUnsettled(sought),
    });
    const startedAtMs = clock.monotonicMs();
    this.#workers.add(worker);
    // While it started nobody could ask it to reload.
    worker.listening.then(
      () => (this.#config === config ? undefined : this.#reloadLate(worker)),
      () => {},
    );
    void worker.failed.then((error) => {
      if (worker.isListening) onFatal(error);
      else log.error({ pid: worker.pid, reason: error.message }, 'a worker process cannot start');
    });
    void worker.ended.then(async ({ code, signal }) => {
      this.#workers.delete(worker);
      await this.#sums.retire(worker.metrics);
      if (this.#isStopping) return;
      const livedMs = clock.monotonicMs() - startedAtMs;
      this.#quickDeaths = livedMs < SOUND_LIFE_MS ? this.#quickDeaths + 1 : 0;
      log.error({ pid: worker.pid, code, signal, livedMs }, 'a worker process ended; another takes its place');
      this.#replace();
    });
    return worker;
  }

  async #reloadLate(worker: SupervisedWorker): Promise<void> {
    const answer = await worker.ask('reload', { config: this.#config }, RELOAD_LIMIT_MS);
    if (answer === null || answer.error === null) return;
    const { log } = this.#options;
    log.error({ pid: worker.pid, reason: answer.error }, 'the new configuration is in force, its prices are not yet');
  }

  #replace(): void {
    const pauseMs = this.#quickDeaths === 0 ? 0 : Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** (this.#quickDeaths - 1));
    const timer = setTimeout(() => {
      this.#restarts.delete(timer);
      if (!this.#isStopping) this.#spawn();
    }, pauseMs);
    this.#restarts.add(timer);
  }

  async #readMetrics(limitMs: number): Promise<void> {
    const isSuccessful = this.#options.configReloadSuccessful();
    await Promise.all([...this.#workers].map((worker) => worker.readMetrics(isSuccessful, limitMs)));
  }

  #askAll<Kind extends 'unsettled' | 'reload'>(
    kind: Kind,
    asked: Parameters<typeof SupervisedWorker.prototype.ask<Kind>>[1],
    limitMs: number,
  ) {
    return Promise.all([...this.#workers].map((worker) => worker.ask(kind, asked, limitMs)));
  }
}

/** A journal that changed hands in between is told of by both. */
function uniteRecords(records: readonly UsageRecord[]): readonly UsageRecord[] {
  return [...new Map(records.map((record) => [record.recordId, record])).values()];
}

async function drainWorker(worker: SupervisedWorker, limitMs: number): Promise<readonly string[]> {
  worker.drain();
  const drained = (async () => {
    for (let waitedMs = 0; worker.left === null && waitedMs < limitMs; waitedMs += STEP_MS) await delay(STEP_MS);
    if (worker.left !== null) await delay(EXIT_LIMIT_MS);
    worker.kill();
  })();
  await Promise.race([worker.ended, drained.then(() => worker.ended)]);
  return (
    worker.left ?? [
      `worker process ${worker.pid} ended before it had drained; its journal has the rest for the next start`,
    ]
  );
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
