// The queue before the one thread that counts long texts: bounded in jobs, bytes and time. What a job is stands in count-job.ts.
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Log } from '#domain/log.ts';
import type { CountJob, CountRequest, CountResponse } from './count-job.ts';

/** Bounds of the thread. Whatever goes over one is answered with null: the caller estimates. */
export interface ThreadLimits {
  /** How long a caller waits for a count, queueing included. */
  readonly waitMs: number;
  /** How long one job may run, loading its tokenizer included, before the thread is ended. */
  readonly runMs: number;
  /** How long nothing is counted after the thread was lost, so that texts made to be slow cannot keep a core busy. */
  readonly restMs: number;
  readonly jobsMax: number;
  /** Bytes of one job, and of all that wait. */
  readonly jobBytesMax: number;
  readonly queueBytesMax: number;
  /** Heap of the thread; 4 MiB of text with a vocabulary of 128,000 tokens take about 400 MB. */
  readonly heapMb: number;
}

/** An answer waits at most a second for its count; the other bounds are far above honest use (1 MB of prose counts in 0.7 s). */
export const THREAD_LIMITS: ThreadLimits = {
  waitMs: 1_000,
  runMs: 5_000,
  restMs: 10_000,
  jobsMax: 256,
  jobBytesMax: 4 * 1024 * 1024,
  queueBytesMax: 32 * 1024 * 1024,
  heapMb: 1_024,
};

interface PendingCount {
  readonly id: number;
  readonly path: string;
  readonly job: CountJob;
  readonly bytes: number;
  /** First call wins. */
  readonly settle: (tokens: number | null) => void;
}

/** Counts one job at a time in a thread of its own, which is started by the first call and again after it was lost. */
export class CountingThread {
  readonly #log: Log;
  readonly #limits: ThreadLimits;
  #worker: Worker | null = null;
  #running: PendingCount | null = null;
  #runTimer: NodeJS.Timeout | undefined;
  #restTimer: NodeJS.Timeout | undefined;
  #queue: PendingCount[] = [];
  #queueBytes = 0;
  #lastId = 0;
  #isClosed = false;

  constructor(log: Log, limits: ThreadLimits) {
    this.#log = log;
    this.#limits = limits;
  }

  /** Loads a tokenizer ahead of its first use; problems are logged. */
  load(path: string): void {
    if (!this.#isClosed && this.#restTimer === undefined) this.#post({ kind: 'load', path });
  }

  /** Frees a tokenizer that nobody uses any more. */
  unload(path: string): void {
    if (this.#worker !== null) this.#post({ kind: 'unload', path });
  }

  /** Tokens, or null where the job is over a bound, cannot be counted, or the thread is resting or closed. Never rejects. */
  count(path: string, work: { readonly job: CountJob; readonly bytes: number }): Promise<number | null> {
    const { waitMs, jobsMax, jobBytesMax, queueBytesMax } = this.#limits;
    const { job, bytes } = work;
    if (this.#isClosed || this.#restTimer !== undefined || bytes > jobBytesMax) return Promise.resolve(null);
    if (this.#queue.length >= jobsMax || this.#queueBytes + bytes > queueBytesMax) return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<number | null>();
    const timer = setTimeout(() => this.#expire(pending), waitMs);
    this.#lastId += 1;
    const settle = (tokens: number | null): void => {
      clearTimeout(timer);
      resolve(tokens);
    };
    const pending: PendingCount = { id: this.#lastId, path, job, bytes, settle };
    this.#queue.push(pending);
    this.#queueBytes += bytes;
    this.#runNext();
    return promise;
  }

  /** Ends the thread; whoever waits gets null. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#restTimer);
    const worker = this.#worker;
    this.#drop();
    await worker?.terminate();
  }

  /** The caller goes on without a count. A job that runs already is left to its own limit. */
  #expire(pending: PendingCount): void {
    pending.settle(null);
    const index = this.#queue.indexOf(pending);
    if (index === -1) return;
    this.#queue.splice(index, 1);
    this.#queueBytes -= pending.bytes;
  }

  #runNext(): void {
    if (this.#running !== null) return;
    const next = this.#queue.shift();
    if (next === undefined) return;
    this.#queueBytes -= next.bytes;
    this.#running = next;
    this.#runTimer = setTimeout(() => this.#lose(this.#worker, 'a text took too long to count'), this.#limits.runMs);
    this.#runTimer.unref();
    this.#post({ kind: 'count', id: next.id, path: next.path, job: next.job });
  }

  #post(request: CountRequest): void {
    this.#worker ??= this.#startWorker();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    this.#worker.postMessage(request);
  }

  #startWorker(): Worker {
    // The sibling has this file's extension: .ts from source, .js once compiled.
    const file = new URL(`./count-worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url);
    const worker = new Worker(file, { resourceLimits: { maxOldGenerationSizeMb: this.#limits.heapMb } });
    worker.unref();
    worker.on('message', (response: CountResponse) => this.#take(response, worker));
    // An error's message may quote what was counted: only its code is told.
    worker.on('error', (err: NodeJS.ErrnoException) => this.#lose(worker, err.code ?? err.name));
    worker.on('exit', () => this.#lose(worker, 'it ended'));
    return worker;
  }

  #take(response: CountResponse, worker: Worker): void {
    if (worker !== this.#worker) return;
    if (response.kind === 'unusable') {
      this.#log.error({ path: response.path }, response.problem);
      return;
    }
    if (this.#running?.id !== response.id) return;
    clearTimeout(this.#runTimer);
    this.#running.settle(response.tokens);
    this.#running = null;
    this.#runNext();
  }

  /** The thread is gone or must go: nobody waits for it any longer, and it comes back after a rest. */
  #lose(worker: Worker | null, reason: string): void {
    if (worker === null || worker !== this.#worker || this.#isClosed) return;
    const { restMs } = this.#limits;
    this.#log.warn({ reason, restMs }, 'the thread that counts tokens was lost: long texts are estimated for a while');
    this.#restTimer = setTimeout(() => (this.#restTimer = undefined), restMs);
    this.#restTimer.unref();
    this.#drop();
    void worker.terminate();
  }

  #drop(): void {
    clearTimeout(this.#runTimer);
    this.#worker = null;
    this.#running?.settle(null);
    this.#running = null;
    for (const pending of this.#queue.splice(0)) pending.settle(null);
    this.#queueBytes = 0;
  }
}
