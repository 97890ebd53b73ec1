// Lives here: one engine as a whole: core, real-time loop and book of truth, and the life of a request in them.
// Not here: HTTP, and how an answer looks.
import { EngineCore } from './engine-core.ts';
import type { EngineSettings } from './engine-core.ts';
import type { Sequence } from './engine-sequence.ts';
import { IterationLog } from './iteration-log.ts';
import { RealTimeLoop, readEpochMs } from './real-time-loop.ts';
import { RequestTimingLog } from './request-timing-log.ts';
import { TruthBook } from './truth-book.ts';
import type { EngineTruth, OpenTruth } from './truth-book.ts';

/**
 * What a request wants from the engine: one sequence per entry of `sequences`, in the order of their choice index.
 * Choices of one prompt are sequences like any others: started together, each computes the prompt for itself.
 */
export interface GenerationOrder {
  readonly entry: OpenTruth;
  readonly sequences: readonly {
    readonly promptTokens: number;
    readonly promptBlocks: readonly number[];
    readonly outputTokens: number;
    /** See SequenceOrder. */
    readonly handedOver?: boolean;
    /** Id of its entry in `/perf_metrics`; absent or null where the engine writes none. */
    readonly timingId?: number | null;
  }[];
  /** Token `index` of sequence `sequence` exists. */
  onToken(sequence: number, index: number): void;
  /** Sequence `sequence` has all its tokens. */
  onFinish(sequence: number): void;
}

/** A request in the engine. */
export interface Generation {
  /** Takes its unfinished sequences out of the batch; harmless when it has ended. */
  abort(): void;
  /** Prompt tokens of one sequence that came from the prefix cache; 0 while it waits. */
  cachedTokensOf(sequence: number): number;
}

/** A simulated engine in real time. */
export class SimulatedEngine {
  readonly startedAtMs = readEpochMs();
  readonly log: IterationLog;
  readonly timings: RequestTimingLog;
  readonly truthBook: TruthBook;
  readonly core: EngineCore;
  readonly #loop: RealTimeLoop;
  readonly #model: string;
  readonly #gpus: number;

  /** `timingsMax`: entries that `/perf_metrics` keeps; 0, the default, is off. */
  constructor(options: { model: string; gpus: number; settings: EngineSettings; timingsMax?: number }) {
    this.#model = options.model;
    this.#gpus = options.gpus;
    this.truthBook = new TruthBook();
    this.log = new IterationLog(options.settings);
    this.timings = new RequestTimingLog(options.timingsMax ?? 0);
    this.core = new EngineCore(options.settings, (iteration) => {
      this.log.append(iteration, this.core);
      this.timings.append(iteration);
    });
    this.#loop = new RealTimeLoop(this.core);
  }

  /** Queues all sequences of a request. Throws SequenceRefusedError, and then none of them is in the engine. */
  generate(order: GenerationOrder): Generation {
    this.#loop.wake();
    const sequences: Sequence[] = [];
    const arrivedAtMs = readEpochMs();
    let unfinished = order.sequences.length;
    try {
      for (const [number, wanted] of order.sequences.entries()) {
        const onFinish = (atMs: number): void => {
          unfinished -= 1;
          if (unfinished === 0) this.truthBook.end(order.entry, { atMs, aborted: false });
          order.onFinish(number);
          if (unfinished === 0) this.#writeTimings(sequences, order);
        };
        const listener = { onToken: (index: number): void => order.onToken(number, index), onFinish };
        sequences.push(this.core.submit({ ...wanted, arrivedAtMs, account: order.entry.account, listener }));
      }
    } catch (error) {
      this.#abort(sequences, order.entry);
      throw error;
    }
    // Not before the caller holds the generation: the first tokens of a late engine come within this very call.
    setImmediate(() => this.#loop.wake());
    return {
      abort: () => {
        this.#loop.wake();
        this.#abort(sequences, order.entry);
        this.#loop.wake();
      },
      cachedTokensOf: (sequence) => sequences[sequence]?.cachedTokens ?? 0,
    };
  }

  /** The truth so far; of the requests those that run or ended at `sinceMs` (epoch ms) or later. */
  readTruth(sinceMs = 0): EngineTruth {
    this.#loop.wake();
    const nowMs = readEpochMs();
    const { busyMs } = this.core;
    const { meanMs, maxMs } = this.#loop.lateness;
    return {
      model: this.#model,
      gpus: this.#gpus,
      startedAtMs: this.startedAtMs,
      nowMs,
      busyMs,
      busyGpuMs: busyMs * this.#gpus,
      totalGpuMs: (nowMs - this.startedAtMs) * this.#gpus,
      lateMs: { mean: meanMs, max: maxMs },
      requests: this.truthBook.list(sinceMs),
    };
  }

  /** Stops the engine where it stands. */
  close(): void {
    this.#loop.close();
  }

  #writeTimings(sequences: readonly Sequence[], order: GenerationOrder): void {
    for (const [number, sequence] of sequences.entries()) {
      const timingId = order.sequences[number]?.timingId ?? null;
      if (timingId !== null) this.timings.finish(sequence, timingId);
    }
  }

  #abort(sequences: readonly Sequence[], entry: OpenTruth): void {
    for (const sequence of sequences) this.core.abort(sequence);
    this.truthBook.end(entry, { atMs: readEpochMs(), aborted: true });
  }
}
