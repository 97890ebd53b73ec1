// Prompts nobody has sent before: random words, so that no prefix cache can hide their work, as long in tokens as asked for.
import { createCalibrationRandom, seedFromText, type CalibrationRandom } from './seeded-random.ts';

/** Plain words, which tokenizers of every language model know as one or two tokens each. */
const WORDS = (
  'apple river stone cloud table green seven winter market paper silver garden window yellow mother bridge summer pocket ' +
  'island letter doctor orange forest dinner button camera travel school morning number music planet coffee engine ' +
  'animal corner farmer spring basket bottle castle circle copper desert donkey eleven family finger flower friend ' +
  'golden hammer harbor honest jacket kitchen ladder lemon little machine meadow mirror monkey narrow needle ocean ' +
  'pepper pencil people picture pillow quarter quiet rabbit ribbon rocket saddle salmon season second shadow simple ' +
  'singer sister smooth spider square stream street sudden sugar tailor temple thirty ticket timber tomato tunnel ' +
  'turkey twenty uncle valley velvet village violin wagon walnut water weather whisper wonder wooden writer yesterday'
).split(' ');

/** What a new engine's tokenizer is taken for until it has reported a prompt's length. */
const TOKENS_PER_WORD_START = 1.3;
/** A report of fewer words than this is mostly the chat template. */
const WORDS_TO_LEARN_MIN = 60;

/** Writes prompts and learns from the engine's reports how many words make a token. Its randomness must differ from run to run. */
export class PromptWriter {
  readonly #random: CalibrationRandom;
  #tokensPerWord = TOKENS_PER_WORD_START;

  /** `nonce`: text that no other run uses, since an engine may still hold the prompts of a run with the same one. */
  constructor(nonce: string) {
    this.#random = createCalibrationRandom(seedFromText(nonce));
  }

  /** About `tokens` tokens, at least one word. */
  write(tokens: number): string {
    const count = Math.max(1, Math.round(tokens / this.#tokensPerWord));
    return Array.from({ length: count }, () => WORDS[this.#random.integer(WORDS.length)] ?? '').join(' ');
  }

  /** The engine counted so many tokens in such a text. */
  learn(text: string, tokens: number): void {
    const words = text.split(' ').length;
    if (words >= WORDS_TO_LEARN_MIN && tokens > 0) this.#tokensPerWord = tokens / words;
  }
}
