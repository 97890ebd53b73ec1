// Counts tokens with the models' own tokenizers, by deployment: short texts at once, long ones in a thread. What a request's prompt is
// stands in count-prompt.ts, the thread's bounds in counting-thread.ts.
import type { Log } from '#domain/log.ts';
import type { CountJob } from './count-job.ts';
import type { PromptShape } from './count-prompt.ts';
import { CountingThread, THREAD_LIMITS, type ThreadLimits } from './counting-thread.ts';
import { loadTokenizer } from './load-tokenizer.ts';
import type { ModelTokenizer } from './model-tokenizer.ts';
import { runCountJob } from './run-count-job.ts';

/**
 * Texts up to this many UTF-8 bytes are counted on the event loop. Measured with Llama 3.1's tokenizer: 1 KiB takes 0.7 ms, 4 KiB 3 ms of
 * English and up to 20 ms of what compresses badly, which streams that pass at the time would feel.
 */
export const INLINE_BYTES_MAX = 1024;

/** Tokens; null where they cannot be counted and the caller estimates. At once for short texts, later for long ones; never rejects. */
export type Count = number | null | Promise<number | null>;

export interface TokenCounter {
  /** Whether the deployment has a tokenizer; without one every count is null. */
  has(deployment: string): boolean;
  /** Tokens of completion texts, summed. The model's special tokens (end of text) are not in a text, so they are not counted. */
  countText(deployment: string, text: string | readonly string[]): Count;
  /** Tokens of a request's prompt: chat template and tools included, list prompts summed. `json` is its body in UTF-8, which is not kept. */
  countPrompt(deployment: string, json: Uint8Array, shape: PromptShape): Count;
  /** Other tokenizers from now on. New ones count in the thread alone, since loading one takes the event loop a second. */
  reload(tokenizers: Readonly<Record<string, string>>): void;
  /** Ends the thread; counts that are waited for become null. */
  close(): Promise<void>;
}

export interface TokenCounterOptions {
  /** Deployment name → path as locateTokenizer takes it. */
  readonly tokenizers: Readonly<Record<string, string>>;
  readonly log: Log;
  /** Default INLINE_BYTES_MAX; 0 counts everything in the thread. */
  readonly inlineBytesMax?: number;
  readonly limits?: Partial<ThreadLimits>;
}

/** Loads every tokenizer before it returns. Throws TokenizerError for one that cannot be used. */
export function createTokenCounter(options: TokenCounterOptions): TokenCounter {
  return new ThreadedTokenCounter(options);
}

class ThreadedTokenCounter implements TokenCounter {
  readonly #inline = new Map<string, ModelTokenizer>();
  readonly #inlineBytesMax: number;
  readonly #thread: CountingThread;
  #paths: ReadonlyMap<string, string>;

  constructor(options: TokenCounterOptions) {
    this.#inlineBytesMax = options.inlineBytesMax ?? INLINE_BYTES_MAX;
    this.#paths = new Map(Object.entries(options.tokenizers));
    for (const path of new Set(this.#paths.values())) this.#inline.set(path, loadTokenizer(path));
    this.#thread = new CountingThread(options.log, { ...THREAD_LIMITS, ...options.limits });
    for (const path of this.#inline.keys()) this.#thread.load(path);
  }

  has(deployment: string): boolean {
    return this.#paths.has(deployment);
  }

  countText(deployment: string, text: string | readonly string[]): Count {
    const texts = typeof text === 'string' ? [text] : text;
    const bytes = texts.reduce((sum, part) => sum + Buffer.byteLength(part), 0);
    return this.#count(deployment, { kind: 'texts', texts }, bytes);
  }

  countPrompt(deployment: string, json: Uint8Array, shape: PromptShape): Count {
    return this.#count(deployment, { kind: 'prompt', json, shape }, json.byteLength);
  }

  reload(tokenizers: Readonly<Record<string, string>>): void {
    const before = new Set(this.#paths.values());
    this.#paths = new Map(Object.entries(tokenizers));
    const now = new Set(this.#paths.values());
    for (const path of before) {
      if (now.has(path)) continue;
      this.#inline.delete(path);
      this.#thread.unload(path);
    }
    for (const path of now) if (!before.has(path)) this.#thread.load(path);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  #count(deployment: string, job: CountJob, bytes: number): Count {
    const path = this.#paths.get(deployment);
    if (path === undefined) return null;
    const tokenizer = this.#inline.get(path);
    if (tokenizer !== undefined && bytes <= this.#inlineBytesMax) return runCountJob(tokenizer, job);
    return this.#thread.count(path, { job: job.kind === 'texts' ? job : detach(job), bytes });
  }
}

/** A body may be a view of a larger buffer, all of which would be copied to the thread. */
function detach(job: CountJob & { readonly kind: 'prompt' }): CountJob {
  return { ...job, json: Uint8Array.from(job.json) };
}
