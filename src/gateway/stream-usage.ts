// The running usage of one stream, whichever way its engine says it: once at the end, per list prompt, cumulative, or per choice.
import type { EventUsage } from './event-usage.ts';
import { addUsage, asObject, mergeUsage, readUsage, type ReportedUsage } from './read-usage.ts';

/** Bounds the bookkeeping per stream; engines allow fewer prompts and choices. */
const MAX_KEYS = 4096;

/** Usage of one event, wherever in it it stood. */
interface UsageOfEvent {
  readonly usage: ReportedUsage;
  /** Whether it stood beside choices; null where the event has none to speak of (Responses, Anthropic). */
  readonly hasChoices: boolean | null;
  readonly choiceIndex: number;
  readonly id: string | null;
}

interface RunningUsage {
  readonly usage: ReportedUsage;
  readonly id: string | null;
}

/**
 * Usage counts are cumulative, so a later one replaces an earlier one of the same kind. Exceptions (upstreams.md §1.4): a streaming
 * completion with a list of prompts sends one final count per prompt, told apart by id and summed; continuous counts of a stream
 * with several choices are per choice, so completions are summed over choices and prompts counted once per prompt.
 */
export class StreamUsage {
  readonly #promptCount: number;
  readonly #choicesPerPrompt: number;
  readonly #finals = new Map<string, ReportedUsage>();
  readonly #running = new Map<number, RunningUsage>();

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
    const hasChoices = Array.isArray(choices) ? choices.length > 0 : null;
    const index = Array.isArray(choices) ? asObject(choices[0])?.['index'] : 0;
    const choiceIndex = typeof index === 'number' ? index : 0;
    const id = event?.['id'];
    return this.#take({ usage, hasChoices, choiceIndex, id: typeof id === 'string' ? id : null });
  }

  /** The same for an event whose usage was found in its bytes. */
  addFound(found: EventUsage): boolean {
    const usage = readUsage(found);
    return usage !== null && this.#take({ ...found, usage });
  }

  /** The best that was said so far, null where nothing was. */
  read(): ReportedUsage | null {
    let total: ReportedUsage | null = null;
    for (const usage of this.#finals.values()) total = total === null ? usage : addUsage(total, usage);
    if (total !== null && this.#finals.size >= this.#promptCount) return total;
    // A list of prompts cut between their ends: those that had none yet count as far as they came.
    const rest = this.#readRunning();
    return total === null ? rest : rest === null ? total : addUsage(total, rest);
  }

  #take({ usage, hasChoices, choiceIndex, id }: UsageOfEvent): boolean {
    if (hasChoices !== true) {
      keep(this.#finals, this.#promptCount > 1 && id !== null ? id : '', mergeUsage, usage);
      return hasChoices !== null;
    }
    const key = this.#promptCount * this.#choicesPerPrompt > 1 ? choiceIndex : 0;
    keep(this.#running, key, mergeRunning, { usage, id });
    return false;
  }

  /** Running counts of all choices whose prompt has no final count. */
  #readRunning(): ReportedUsage | null {
    const seenPrompts = new Set<number>();
    let total: ReportedUsage | null = null;
    for (const [index, { usage, id }] of this.#running) {
      if (id !== null && this.#finals.has(id)) continue;
      const prompt = Math.floor(index / this.#choicesPerPrompt);
      const counted = seenPrompts.has(prompt) ? { ...usage, prompt: null, cached: null } : usage;
      seenPrompts.add(prompt);
      total = total === null ? counted : addUsage(total, counted);
    }
    return total;
  }
}

/** Counts only grow: a smaller one is an older one. */
function mergeRunning(earlier: RunningUsage | undefined, later: RunningUsage): RunningUsage {
  if (earlier === undefined) return later;
  const usage = mergeUsage(earlier.usage, later.usage);
  const { completion } = earlier.usage;
  const isOlder = completion !== null && usage.completion !== null && usage.completion < completion;
  return { usage: isOlder ? { ...usage, completion } : usage, id: later.id };
}

function keep<Key, Count>(
  counts: Map<Key, Count>,
  key: Key,
  merge: (earlier: Count | undefined, later: Count) => Count,
  later: Count,
): void {
  if (counts.size < MAX_KEYS || counts.has(key)) counts.set(key, merge(counts.get(key), later));
}
