// One worker process as its supervisor knows it: what it last said, what it is asked, how it ended. Not here: how many there are (worker-pool.ts).
import cluster, { type Worker } from 'node:cluster';
import type { MetricJson } from '#observe/sum-metrics.ts';
import type { SoughtRequest } from '#reports/caller-books.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { QuestionDesk } from './questions.ts';
import type {
  FromWorker,
  QuestionKind,
  Questions,
  ToldError,
  ToWorker,
  WorkerAddresses,
  WorkerReport,
} from './worker-messages.ts';

/** A worker says how it is twice a second: after so many steps of `watch` without a word it hangs. */
const SILENT_STEPS = 10;

/** How a worker ended: its exit code, or the signal that killed it. */
export interface WorkerEnd {
  readonly code: number | null;
  readonly signal: string | null;
}

export interface SupervisedWorkerOptions {
  /** Sent once it says that it is there. */
  readonly start: Extract<ToWorker, { t: 'start' }>;
  /** Answers a worker that looks for a request among all of them. */
  readonly findUnsettled: (sought: SoughtRequest) => Promise<readonly UsageRecord[]>;
}

/** Forked when it is made. */
export class SupervisedWorker {
  /** Resolves once it accepts requests; rejects with what it failed with, or when it ends before. */
  readonly listening: Promise<WorkerAddresses>;
  /** Resolves with an error that it cannot go on with, whenever that is. */
  readonly failed: Promise<Error>;
  readonly ended: Promise<WorkerEnd>;
  readonly #worker: Worker;
  readonly #options: SupervisedWorkerOptions;
  readonly #desk: QuestionDesk;
  readonly #listening = Promise.withResolvers<WorkerAddresses>();
  readonly #failed = Promise.withResolvers<Error>();
  #isListening = false;
  #hasSpoken = false;
  #silentSteps = 0;
  #report: WorkerReport | null = null;
  #metrics: readonly MetricJson[] = [];
  #left: readonly string[] | null = null;

  constructor(options: SupervisedWorkerOptions) {
    this.#options = options;
    this.#worker = cluster.fork();
    this.#desk = new QuestionDesk((ask) => this.#send(ask));
    this.listening = this.#listening.promise;
    this.failed = this.#failed.promise;
    // Whoever waits sees it; a restarted worker has nobody waiting.
    this.listening.catch(() => {});
    this.#worker.on('message', (message: FromWorker) => this.#take(message));
    // A message to a process that just died: told by `ended`.
    this.#worker.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.#worker.once('exit', (code: number | null, signal: string | null) => {
        this.#isListening = false;
        this.#desk.close();
        this.#listening.reject(
          new Error(`a worker process ended with ${signal ?? `code ${code}`} before it was ready`),
        );
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.#worker.process.pid ?? 0;
  }

  /** True from when it accepts requests until it ends. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** True from when it was noticed to say nothing any more until it does again. */
  get isSilent(): boolean {
    return this.#silentSteps >= SILENT_STEPS;
  }

  /** To be called step by step, the first after it listens: what the last step has changed. Steps count, not time, so that a machine that slept hangs nobody. */
  watch(): 'silent' | 'back' | null {
    const wasSilent = this.isSilent;
    this.#silentSteps = this.#hasSpoken ? 0 : this.#silentSteps + 1;
    this.#hasSpoken = false;
    if (this.isSilent === wasSilent) return null;
    return wasSilent ? 'back' : 'silent';
  }

  /** What it last said of itself; null before the first word. */
  get report(): WorkerReport | null {
    return this.#report;
  }

  /** What it last said of its metrics; empty before. */
  get metrics(): readonly MetricJson[] {
    return this.#metrics;
  }

  /** What it could not settle, in words; null while it has not drained. */
  get left(): readonly string[] | null {
    return this.#left;
  }

  /** Resolves with its answer, or null where it gives none within `limitMs`. */
  async ask<Kind extends QuestionKind>(
    kind: Kind,
    asked: Questions[Kind]['asked'],
    limitMs: number,
  ): Promise<Questions[Kind]['answer'] | null> {
    return this.#isListening ? this.#desk.ask(kind, asked, limitMs) : null;
  }

  /** Brings `metrics` up to date, if it answers within `limitMs`. */
  async readMetrics(configReloadSuccessful: boolean, limitMs: number): Promise<void> {
    const metrics = await this.ask('metrics', { configReloadSuccessful }, limitMs);
    if (metrics !== null) this.#metrics = metrics;
  }

  drain(): void {
    this.#send({ t: 'drain' });
  }

  kill(): void {
    this.#worker.process.kill('SIGKILL');
  }

  #send(message: ToWorker): void {
    if (this.#worker.isConnected()) this.#worker.send(message);
  }

  #take(message: FromWorker): void {
    this.#hasSpoken = true;
    switch (message.t) {
      case 'hello':
        this.#send(this.#options.start);
        break;
      case 'listening':
        this.#isListening = true;
        this.#listening.resolve(message.addresses);
        break;
      case 'report':
        this.#report = message.report;
        break;
      case 'failed':
        this.#fail(message.error);
        break;
      case 'drained':
        this.#left = message.left;
        this.#metrics = message.metrics;
        break;
      case 'ask':
        void this.#options
          .findUnsettled(message.asked.sought ?? { team: '', id: '' })
          .then((value) => this.#send({ t: 'answer', id: message.id, value }));
        break;
      case 'answer':
        this.#desk.take(message);
        break;
    }
  }

  #fail({ name, message }: ToldError): void {
    const error = new Error(message);
    error.name = name;
    this.#listening.reject(error);
    this.#failed.resolve(error);
  }
}
