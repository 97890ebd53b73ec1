// The running usage of one stream, whichever way its engine says it: once at the end, per list prompt, cumulative, or per choice.
import { addUsage, asObject, mergeUsage, readUsage, type ReportedUsage } from './read-usage.ts';

/** Bounds the bookkeeping per stream; engines allow fewer prompts and choices. */
const MAX_KEYS = 4096;

/**
 * Usage counts are cumulative, so a later one replaces an earlier one of the same kind. Exceptions (upstreams.md §1.4): a streaming
 * completion with a list of prompts sends one final count per prompt, told apart by id and summed; continuous counts of a stream
 * with several choices are per choice, so completions are summed over choices and prompts counted once per prompt.
 */
export class StreamUsage {
  readonly #promptCount: number;
  readonly #choicesPerPrompt: number;
  readonly #finals = new Map<string, ReportedUsage>();
  readonly #running = new Map<number, ReportedUsage>();

  constructor(shape: { readonly promptCount: number; readonly sequences: number }) {
    this.#promptCount = shape.promptCount;
    this.#choicesPerPrompt = Math.max(1, Math.round(shape.sequences / shape.promptCount));
  }

  /** Takes a parsed event; returns true where it was usage alone, without choices (OpenAI's extra chunk). */
  add(payload: unknown): boolean {
    const usage = readUsage(payload);
    if (usage === null) return false;
    const event = asObject(payload);
    const choices = event?.['choices'];
    if (Array.isArray(choices) && choices.length > 0) {
      const index = Number(asObject(choices[0])?.['index'] ?? 0);
      const key = this.#promptCount * this.#choicesPerPrompt > 1 ? index : 0;
      keep(this.#running, key, usage);
      return false;
    }
    const id = event?.['id'];
    keep(this.#finals, this.#promptCount > 1 && typeof id === 'string' ? id : '', usage);
    return Array.isArray(choices);
  }

  /** The best that was said so far, null where nothing was. */
  read(): ReportedUsage | null {
    let total: ReportedUsage | null = null;
    for (const usage of this.#finals.values()) total = total === null ? usage : addUsage(total, usage);
    return total ?? this.#readRunning();
  }

  #readRunning(): ReportedUsage | null {
    const seenPrompts = new Set<number>();
    let total: ReportedUsage | null = null;
    for (const [index, usage] of this.#running) {
      const prompt = Math.floor(index / this.#choicesPerPrompt);
      const counted = seenPrompts.has(prompt) ? { ...usage, prompt: null, cached: null } : usage;
      seenPrompts.add(prompt);
      total = total === null ? counted : addUsage(total, counted);
    }
    return total;
  }
}

function keep<Key>(counts: Map<Key, ReportedUsage>, key: Key, usage: ReportedUsage): void {
  if (counts.size < MAX_KEYS || counts.has(key)) counts.set(key, mergeUsage(counts.get(key), usage));
}
