// How many answers a chat or completion response holds, whatever was asked for: engines ignore `n` and `best_of` where they do not know them.
import { asObject } from './read-usage.ts';

/** `index` of the event's first choice; a text's own quotes are escaped, so that none is taken for it. */
const CHOICE_INDEX = /"choices"\s*:\s*\[\s*\{(?:.*?[{,\s])??"index"\s*:\s*(\d{1,9})/s;

/** Counts the answers of a stream by the numbers that its events say. */
export class SeenChoices {
  readonly #promptCount: number;
  readonly #choicesPerPrompt: number;
  #highest = -1;

  constructor(asked: { readonly promptCount: number; readonly sequences: number }) {
    this.#promptCount = asked.promptCount;
    this.#choicesPerPrompt = Math.max(1, Math.round(asked.sequences / asked.promptCount));
  }

  /** Takes one event as latin1. */
  add(text: string): void {
    const index = CHOICE_INDEX.exec(text)?.[1];
    if (index !== undefined) this.#highest = Math.max(this.#highest, Number(index));
  }

  /** Some engines number the answers of each prompt, others those of all prompts; never too few by that. */
  get count(): number {
    const seen = this.#highest + 1;
    return seen > this.#choicesPerPrompt ? seen : seen * this.#promptCount;
  }
}

/** Answers in a whole response; undefined where it is none with choices. */
export function countChoices(payload: unknown): number | undefined {
  const choices = asObject(payload)?.['choices'];
  return Array.isArray(choices) && choices.length > 0 ? choices.length : undefined;
}
