// Lives here: the simulator's book of truth: what each request really cost, the newest hundred thousand of them.
// Not here: how the shares come about (iteration-cost.ts).
import { createRequestAccount } from './engine-sequence.ts';
import type { RequestAccount } from './engine-sequence.ts';

/** The true cost of one request. Instants are epoch ms, durations ms of the whole replica. */
export interface RequestTruth {
  /** Id of the answer; null if there was none. */
  readonly id: string | null;
  /** The request's `x-request-id` header, null without one. */
  readonly requestId: string | null;
  /** Shapley share of all iterations it took part in: prefillMs + decodeMs. */
  readonly gpuTimeMs: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly arrivedAtMs: number;
  readonly firstTokenAtMs: number | null;
  /** Null while it runs. */
  readonly finishedAtMs: number | null;
  readonly aborted: boolean;
  readonly steps: number;
}

/** What `GET /truth` answers. */
export interface EngineTruth {
  readonly model: string;
  readonly gpus: number;
  readonly startedAtMs: number;
  readonly nowMs: number;
  /** Ms in which an iteration ran; equals Σ gpuTimeMs of all requests since the start. */
  readonly busyMs: number;
  /** busyMs × gpus. */
  readonly busyGpuMs: number;
  /** GPU ms there were: (nowMs − startedAtMs) × gpus. */
  readonly totalGpuMs: number;
  /** How late the timer of the iterations fired, ms. */
  readonly lateMs: { readonly mean: number; readonly max: number };
  readonly requests: readonly RequestTruth[];
}

/** A request being accounted for. Its account is written by the engine. */
export interface OpenTruth {
  id: string | null;
  readonly requestId: string | null;
  readonly promptTokens: number;
  readonly arrivedAtMs: number;
  readonly account: RequestAccount;
  finishedAtMs: number | null;
  aborted: boolean;
}

/** Keeps open requests and the newest `capacity` ended ones. */
export class TruthBook {
  readonly #open = new Set<OpenTruth>();
  readonly #ended: OpenTruth[] = [];
  readonly #capacity: number;
  #oldest = 0;

  constructor(capacity = 100_000) {
    this.#capacity = capacity;
  }

  /** Starts the entry of a request. */
  open(request: Pick<OpenTruth, 'id' | 'requestId' | 'promptTokens' | 'arrivedAtMs'>): OpenTruth {
    const entry: OpenTruth = { ...request, account: createRequestAccount(), finishedAtMs: null, aborted: false };
    this.#open.add(entry);
    return entry;
  }

  /** Ends an entry; only the first call counts. An iteration still running may add its share afterwards. */
  end(entry: OpenTruth, outcome: { atMs: number; aborted: boolean }): void {
    if (!this.#open.delete(entry)) return;
    entry.finishedAtMs = outcome.atMs;
    entry.aborted = outcome.aborted;
    if (this.#ended.length < this.#capacity) {
      this.#ended.push(entry);
      return;
    }
    this.#ended[this.#oldest] = entry;
    this.#oldest = (this.#oldest + 1) % this.#capacity;
  }

  /** Requests that still run or ended at `sinceMs` or later, oldest end first, running ones last. */
  list(sinceMs = 0): RequestTruth[] {
    const ended = [...this.#ended.slice(this.#oldest), ...this.#ended.slice(0, this.#oldest)];
    return [...ended.filter((entry) => (entry.finishedAtMs ?? Infinity) >= sinceMs), ...this.#open].map(readTruth);
  }
}

function readTruth(entry: OpenTruth): RequestTruth {
  const { account } = entry;
  return {
    id: entry.id,
    requestId: entry.requestId,
    gpuTimeMs: account.prefillMs + account.decodeMs,
    prefillMs: account.prefillMs,
    decodeMs: account.decodeMs,
    promptTokens: entry.promptTokens,
    cachedTokens: account.cachedTokens,
    completionTokens: account.completionTokens,
    arrivedAtMs: entry.arrivedAtMs,
    firstTokenAtMs: account.firstTokenAtMs,
    finishedAtMs: entry.finishedAtMs,
    aborted: entry.aborted,
    steps: account.steps,
  };
}
