// Which inputs a Triton model takes, learned from its metadata once and kept: a model that has no `return_num_input_tokens` refuses it.
import type { Clock } from '#domain/clock.ts';
import { askEngine, readJsonAnswer } from './ask-engine.ts';
import { readText } from './raw-elements.ts';
import { asObject } from './read-usage.ts';
import type { Upstream } from './upstream-pool.ts';

/** Inputs that make the TensorRT-LLM ensemble and BLS models and the vLLM backend say token counts (upstreams.md §3.2). */
export const TOKEN_SWITCHES = ['return_num_input_tokens', 'return_num_output_tokens'] as const;

/** The limit of output tokens as ensemble and BLS, or the C++ model, take it; vLLM's backend has none of its own. */
const TENSORRT_LLM_INPUTS = ['max_tokens', 'request_output_len'] as const;

/** What was learned holds this long, then it is learned anew while the old opinion still serves. */
const FRESH_MS = 300_000;
/** An engine that did not answer is asked again after this. */
const FAILED_MS = 10_000;
/** The first request waits for its answer no longer than this. */
const WAIT_MAX_MS = 1_000;
/** Model and version come from the path; more of them than this are not remembered at once. */
const MODELS_MAX = 64;

interface Known {
  /** Null where the engine did not say. */
  readonly inputs: ReadonlySet<string> | null;
  readonly freshUntilMs: number;
}

/** What is known of one upstream's models, by the path of their metadata. */
interface Memory {
  readonly known: Map<string, Known>;
  readonly pending: Map<string, Promise<void>>;
}

/** Remembers per upstream and model; an upstream that leaves takes its memory along. */
export class KserveModelInputs {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #memories = new WeakMap<Upstream, Memory>();

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
  }

  /**
   * Whether every one of `upstreams` is known to take both token switches for the model at `metadataPath`. A promise only while some of
   * them were never asked; it never rejects, and is false for those that do not answer.
   */
  takeTokenSwitches(upstreams: readonly Upstream[], metadataPath: string): boolean | Promise<boolean> {
    const unasked: Promise<void>[] = [];
    const nowMs = this.#clock.monotonicMs();
    for (const upstream of upstreams) {
      const known = this.#recall(upstream).known.get(metadataPath);
      if (known !== undefined && nowMs < known.freshUntilMs) continue;
      const learned = this.#learn(upstream, metadataPath);
      if (known === undefined) unasked.push(learned);
    }
    const judge = (): boolean => upstreams.length > 0 && upstreams.every((one) => this.#takes(one, metadataPath));
    return unasked.length === 0 ? judge() : Promise.all(unasked).then(judge);
  }

  /** Whether the model is TensorRT-LLM's on every one of `upstreams`, by what is known of its inputs; null where nothing is. */
  areTensorrtLlm(upstreams: readonly Upstream[], metadataPath: string): boolean | null {
    const inputs = upstreams.map((upstream) => this.#recall(upstream).known.get(metadataPath)?.inputs ?? null);
    if (inputs.length === 0 || inputs.includes(null)) return null;
    return inputs.every((names) => TENSORRT_LLM_INPUTS.some((name) => names?.has(name)));
  }

  #takes(upstream: Upstream, metadataPath: string): boolean {
    const inputs = this.#recall(upstream).known.get(metadataPath)?.inputs ?? null;
    return inputs !== null && TOKEN_SWITCHES.every((name) => inputs.has(name));
  }

  /** Asks unless the question is on its way already. */
  #learn(upstream: Upstream, metadataPath: string): Promise<void> {
    const { known, pending } = this.#recall(upstream);
    const asked = pending.get(metadataPath);
    if (asked !== undefined) return asked;
    const { timeoutMs } = upstream.deployment.health;
    const question = { method: 'GET', path: metadataPath, timeoutMs: Math.min(timeoutMs, WAIT_MAX_MS) } as const;
    const learned = askEngine(upstream, question).then((answer) => {
      pending.delete(metadataPath);
      const inputs = readInputNames(readJsonAnswer(answer));
      const [oldest] = known.keys();
      if (known.size >= MODELS_MAX && oldest !== undefined) known.delete(oldest);
      const forMs = inputs === null ? FAILED_MS : FRESH_MS;
      known.set(metadataPath, { inputs, freshUntilMs: this.#clock.monotonicMs() + forMs });
    });
    pending.set(metadataPath, learned);
    return learned;
  }

  #recall(upstream: Upstream): Memory {
    let memory = this.#memories.get(upstream);
    if (memory === undefined) {
      memory = { known: new Map(), pending: new Map() };
      this.#memories.set(upstream, memory);
    }
    return memory;
  }
}

/** Names of `inputs` in a model's metadata; null for what is none. */
function readInputNames(metadata: unknown): ReadonlySet<string> | null {
  const inputs = asObject(metadata)?.['inputs'];
  if (!Array.isArray(inputs)) return null;
  return new Set(inputs.map((input: unknown) => readText(asObject(input)?.['name'])));
}
