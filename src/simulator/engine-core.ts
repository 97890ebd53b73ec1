// Lives here: the simulated engine: continuous batching with chunked prefill, a token budget, a bounded KV cache with
// prefix reuse, queueing and preemption. It runs on the time it is given; real time is real-time-loop.ts's business.
// Not here: HTTP, text, and what an iteration costs (iteration-cost.ts).
import { createSequence } from './engine-sequence.ts';
import type { Sequence, SequenceOrder } from './engine-sequence.ts';
import { costOfIteration } from './iteration-cost.ts';
import type { CostOfIteration, IterationCoefficients, IterationWork } from './iteration-cost.ts';
import { KvCache } from './kv-cache.ts';
import { blockTokens } from './pseudo-text.ts';
import { createSeededRandom } from './seeded-random.ts';

/** Size and speed of a simulated engine. */
export interface EngineSettings {
  readonly coefficients: IterationCoefficients;
  /** Coefficient of variation of an iteration's duration; 0 for none. */
  readonly noiseCv: number;
  readonly maxSequences: number;
  /** Tokens (prefill chunks and decode steps together) one iteration may process. */
  readonly tokenBudget: number;
  readonly kvCapacityTokens: number;
  readonly prefixCache: boolean;
  /** Sequences that may wait; one more is refused. */
  readonly maxQueued: number;
  readonly seed: number;
  /** What an iteration costs and how it divides; default: the linear model of `costOfIteration`. */
  readonly costOf?: CostOfIteration;
}

/** One sequence's part of an iteration. */
export interface IterationMember extends IterationWork {
  readonly sequence: Sequence;
}

/** An iteration: who took part, from when to when, and who owes how much of it (`sharesMs`, in the members' order). */
export interface Iteration {
  readonly number: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly durationMs: number;
  readonly members: readonly IterationMember[];
  readonly sharesMs: readonly number[];
}

/** The sequence cannot be taken: it can never fit the KV cache (`too_long`), or too many wait (`queue_full`). */
export class SequenceRefusedError extends Error {
  readonly reason: 'too_long' | 'queue_full';

  constructor(reason: 'too_long' | 'queue_full', message: string) {
    super(message);
    this.name = 'SequenceRefusedError';
    this.reason = reason;
  }
}

// Share of the KV cache kept free when another sequence is let in, so that those running can grow for a while before
// somebody has to be preempted (vLLM's watermark is the same 1 %).
const admissionReserve = 0.01;

/** A running engine. All instants are milliseconds of the caller's clock and must not go backwards. */
export class EngineCore {
  /** Milliseconds in which an iteration ran, completed iterations only. */
  busyMs = 0;
  /** Completed iterations. */
  iterations = 0;
  /** Times a sequence was thrown out of the batch for want of KV blocks. */
  preemptions = 0;
  readonly #settings: EngineSettings;
  readonly #kv: KvCache;
  readonly #random: ReturnType<typeof createSeededRandom>;
  readonly #onIteration: (iteration: Iteration) => void;
  readonly #queue: Sequence[] = [];
  // In the order of admission: the last one is the youngest.
  #running: Sequence[] = [];
  #current: Iteration | undefined;
  #freeAtMs = 0;

  /** `onIteration` hears of each completed iteration before its tokens are handed out. */
  constructor(settings: EngineSettings, onIteration: (iteration: Iteration) => void = () => {}) {
    this.#settings = settings;
    this.#kv = new KvCache({
      capacityBlocks: Math.floor(settings.kvCapacityTokens / blockTokens),
      prefixes: settings.prefixCache,
    });
    this.#random = createSeededRandom(settings.seed);
    this.#onIteration = onIteration;
  }

  /** Sequences in the batch now. */
  get runningSequences(): number {
    return this.#running.length;
  }

  /** Sequences waiting for the batch. */
  get queuedSequences(): number {
    return this.#queue.length;
  }

  /** Blocks of the KV cache: all, and those held by running sequences. */
  get kvBlocks(): { total: number; used: number } {
    return { total: this.#kv.capacityBlocks, used: this.#kv.usedBlocks };
  }

  /** Puts a sequence in the queue. Throws SequenceRefusedError if it can never run or the queue is full. */
  submit(order: SequenceOrder): Sequence {
    this.checkLength(order);
    if (this.#queue.length >= this.#settings.maxQueued) {
      throw new SequenceRefusedError('queue_full', `${this.#queue.length} sequences are waiting already`);
    }
    const sequence = createSequence(order);
    this.#queue.push(sequence);
    return sequence;
  }

  /** Throws SequenceRefusedError for a sequence that can never run. */
  checkLength(order: Pick<SequenceOrder, 'promptTokens' | 'outputTokens'>): void {
    const longest = order.promptTokens + order.outputTokens + 1;
    if (longest > this.#kv.capacityBlocks * blockTokens) {
      throw new SequenceRefusedError(
        'too_long',
        `${longest} tokens exceed the KV cache of ${this.#kv.capacityBlocks * blockTokens} tokens`,
      );
    }
  }

  /** Takes a sequence out and frees its KV blocks. It still owes its share of the iteration it is in. */
  abort(sequence: Sequence): void {
    if (sequence.state === 'queued') this.#queue.splice(this.#queue.indexOf(sequence), 1);
    else if (sequence.state === 'running') this.#leaveBatch(sequence);
    else return;
    sequence.state = 'aborted';
  }

  /**
   * Runs all iterations that end by `nowMs` and starts the next. Returns when that one ends, or when the next sequence
   * arrives, or undefined if nothing is to do. Iterations follow each other without a gap however late it is called.
   */
  step(nowMs: number): number | undefined {
    for (;;) {
      if (this.#current !== undefined) {
        if (this.#current.endMs > nowMs) return this.#current.endMs;
        this.#complete(this.#current);
        continue;
      }
      const startMs = this.#nextStartMs();
      if (startMs === undefined || startMs > nowMs) return startMs;
      this.#current = this.#begin(startMs);
      if (this.#current === undefined) return undefined;
    }
  }

  #nextStartMs(): number | undefined {
    if (this.#running.length > 0) return this.#freeAtMs;
    const first = this.#queue[0];
    return first === undefined ? undefined : Math.max(this.#freeAtMs, first.order.arrivedAtMs);
  }

  #begin(startMs: number): Iteration | undefined {
    this.#admit(startMs);
    const members = this.#chooseMembers();
    if (members.length === 0) return undefined;
    const noise = this.#random.logNormal(1, this.#settings.noiseCv);
    const { coefficients, costOf = costOfIteration } = this.#settings;
    const cost = costOf(members, coefficients, noise);
    return { number: this.iterations + 1, startMs, endMs: startMs + cost.durationMs, members, ...cost };
  }

  #admit(nowMs: number): void {
    const reserve = Math.ceil(this.#kv.capacityBlocks * admissionReserve);
    while (this.#running.length < this.#settings.maxSequences) {
      const sequence = this.#queue[0];
      if (sequence === undefined || sequence.order.arrivedAtMs > nowMs) return;
      const { promptBlocks, promptTokens } = sequence.order;
      // The last token is always computed, since its output is the first token of the answer.
      const usable = promptBlocks.slice(0, Math.floor((promptTokens - 1) / blockTokens));
      const prefix = usable.slice(0, this.#kv.countMatching(usable));
      const ownBlocks = Math.ceil((sequence.prefillTarget + 1) / blockTokens) - prefix.length;
      const spare = this.#running.length === 0 ? 0 : reserve;
      if (ownBlocks + this.#kv.countIdle(prefix) + spare > this.#kv.freeBlocks) return;
      this.#queue.shift();
      sequence.holding = this.#kv.hold(prefix);
      this.#kv.grow(sequence.holding, ownBlocks);
      // After a preemption its KV cache is lost, wherever it came from.
      const bringsAll = sequence.order.handedOver === true && sequence.prefillTarget === promptTokens;
      sequence.prefilled = bringsAll ? promptTokens : prefix.length * blockTokens;
      sequence.publishedBlocks = prefix.length;
      if (sequence.cachedTokens === null) {
        sequence.cachedTokens = sequence.prefilled;
        sequence.order.account.cachedTokens += sequence.prefilled;
      }
      sequence.state = 'running';
      this.#running.push(sequence);
    }
  }

  #chooseMembers(): IterationMember[] {
    const members: IterationMember[] = [];
    let budget = this.#settings.tokenBudget;
    for (const sequence of this.#running) {
      if (budget === 0) break;
      // A younger sequence may have been preempted by an older one a moment ago (which replaces the list).
      if (sequence.state !== 'running' || sequence.prefilled < sequence.prefillTarget) continue;
      if (!this.#reserveNextToken(sequence)) continue;
      members.push({ sequence, prefillTokens: 0, contextTokens: sequence.order.promptTokens + sequence.generated });
      budget -= 1;
    }
    for (const sequence of this.#running) {
      if (budget === 0) break;
      const prefillTokens = Math.min(budget, sequence.prefillTarget - sequence.prefilled);
      if (prefillTokens <= 0) continue;
      members.push({ sequence, prefillTokens, contextTokens: sequence.prefilled });
      budget -= prefillTokens;
    }
    return members;
  }

  /** Room for one more token of this sequence, by preempting the youngest if need be; false if that was itself. */
  #reserveNextToken(sequence: Sequence): boolean {
    const { holding } = sequence;
    if (holding === null) return false;
    const held = (holding.ownBlocks + holding.sharedBlocks.length) * blockTokens;
    if (sequence.order.promptTokens + sequence.generated < held) return true;
    while (!this.#kv.grow(holding, 1)) {
      const youngest = this.#running.at(-1) ?? sequence;
      this.#preempt(youngest);
      if (youngest === sequence) return false;
    }
    return true;
  }

  #preempt(sequence: Sequence): void {
    this.#leaveBatch(sequence);
    this.preemptions += 1;
    sequence.state = 'queued';
    // Its KV blocks are lost: prompt and output so far are computed again when there is room.
    sequence.prefillTarget = sequence.order.promptTokens + sequence.generated;
    sequence.prefilled = 0;
    this.#queue.unshift(sequence);
  }

  #leaveBatch(sequence: Sequence): void {
    this.#running = this.#running.filter((other) => other !== sequence);
    if (sequence.holding !== null) this.#kv.release(sequence.holding);
    sequence.holding = null;
  }

  #complete(iteration: Iteration): void {
    this.#current = undefined;
    this.#freeAtMs = iteration.endMs;
    this.busyMs += iteration.durationMs;
    this.iterations += 1;
    for (const [index, member] of iteration.members.entries()) {
      const { account } = member.sequence.order;
      const shareMs = iteration.sharesMs[index] ?? 0;
      if (member.prefillTokens > 0) account.prefillMs += shareMs;
      else account.decodeMs += shareMs;
      account.steps += 1;
    }
    this.#onIteration(iteration);
    for (const member of iteration.members) {
      if (member.sequence.state === 'running') this.#advance(member, iteration.endMs);
    }
  }

  #advance(member: IterationMember, atMs: number): void {
    const { sequence } = member;
    if (member.prefillTokens > 0) {
      sequence.prefilled += member.prefillTokens;
      this.#publishPrompt(sequence);
      if (sequence.prefilled < sequence.prefillTarget) return;
    }
    const { account, listener, outputTokens } = sequence.order;
    if (outputTokens > 0) {
      account.completionTokens += 1;
      account.firstTokenAtMs ??= atMs;
      sequence.generated += 1;
      listener.onToken(sequence.generated - 1, atMs);
    }
    // The listener may have aborted it.
    if (sequence.state !== 'running' || sequence.generated < outputTokens) return;
    this.#leaveBatch(sequence);
    sequence.state = 'finished';
    listener.onFinish(atMs);
  }

  #publishPrompt(sequence: Sequence): void {
    const { holding } = sequence;
    if (holding === null) return;
    const complete = Math.min(Math.floor(sequence.prefilled / blockTokens), sequence.order.promptBlocks.length);
    for (const fingerprint of sequence.order.promptBlocks.slice(sequence.publishedBlocks, complete)) {
      this.#kv.publish(holding, fingerprint);
    }
    sequence.publishedBlocks = Math.max(sequence.publishedBlocks, complete);
  }
}
