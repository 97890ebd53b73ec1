// Lives here: an engine that has its prompts computed by another one, on other GPUs, and generates the rest of each answer itself.
// Not here: how either runs its batch (engine-core.ts), the servers around them (start-disaggregated.ts).
import { readEpochMs } from './real-time-loop.ts';
import { SimulatedEngine } from './simulated-engine.ts';
import type { Generation, GenerationOrder } from './simulated-engine.ts';

/**
 * The generating side with the front before it. Each side's book of truth has an entry of its own for a request: the prefill with the first token
 * there, the other tokens here. All sequences of a request are handed over together, `transferMs` after the last of them was prefilled.
 */
export class DisaggregatedEngine extends SimulatedEngine {
  readonly #prefill: SimulatedEngine;
  readonly #transferMs: number;

  constructor(
    options: ConstructorParameters<typeof SimulatedEngine>[0] & {
      readonly prefill: SimulatedEngine;
      readonly transferMs: number;
    },
  ) {
    super(options);
    this.#prefill = options.prefill;
    this.#transferMs = options.transferMs;
  }

  override generate(order: GenerationOrder): Generation {
    const { entry, sequences } = order;
    // Refused before anything is computed: this side queues without a limit, but has no room for every length.
    for (const sequence of sequences) this.core.checkLength(sequence);
    const { id, requestId, promptTokens } = entry;
    const prefilled = this.#prefill.truthBook.open({ id, requestId, promptTokens, arrivedAtMs: readEpochMs() });
    let waiting = sequences.length;
    let timer: NodeJS.Timeout | undefined;
    let generation: Generation | undefined;
    let isAborted = false;
    const handOver = (): void => {
      entry.account.cachedTokens = prefilled.account.cachedTokens;
      generation = this.#goOn(order, () => isAborted);
    };
    const prefill = this.#prefill.generate({
      entry: prefilled,
      sequences: sequences.map((sequence) => ({ ...sequence, outputTokens: Math.min(1, sequence.outputTokens) })),
      onToken: () => {},
      onFinish: () => {
        waiting -= 1;
        if (waiting === 0) timer = setTimeout(handOver, this.#transferMs);
      },
    });
    return {
      abort: () => {
        isAborted = true;
        clearTimeout(timer);
        prefill.abort();
        generation?.abort();
        this.truthBook.end(entry, { atMs: readEpochMs(), aborted: true });
      },
      cachedTokensOf: (sequence) => prefill.cachedTokensOf(sequence),
    };
  }

  /** Tells of the first tokens, and generates those that follow; undefined where none do. */
  #goOn(order: GenerationOrder, isAborted: () => boolean): Generation | undefined {
    const { entry, sequences } = order;
    const longer = sequences.flatMap(({ outputTokens }, number) => (outputTokens > 1 ? [number] : []));
    for (const [number, { outputTokens }] of sequences.entries()) {
      if (outputTokens === 0 || isAborted()) continue;
      entry.account.completionTokens += 1;
      entry.account.firstTokenAtMs ??= readEpochMs();
      order.onToken(number, 0);
    }
    if (isAborted()) return undefined;
    if (longer.length === 0) this.truthBook.end(entry, { atMs: readEpochMs(), aborted: false });
    for (const [number, { outputTokens }] of sequences.entries()) if (outputTokens <= 1) order.onFinish(number);
    if (longer.length === 0) return undefined;
    return super.generate({
      entry,
      sequences: longer.flatMap((number) => {
        const sequence = sequences[number];
        return sequence === undefined ? [] : [{ ...sequence, handedOver: true }];
      }),
      onToken: (index, token) => order.onToken(longer[index] ?? 0, token),
      onFinish: (index) => order.onFinish(longer[index] ?? 0),
    });
  }
}
