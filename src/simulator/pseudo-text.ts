// Lives here: the simulator's tokenizer and the pseudo words it writes: exact, reproducible, about four bytes a token.
// Not here: what a request asks for, and how long its answer is.
import { mixSeed } from './seeded-random.ts';

/** Tokens per block of the prefix cache (TensorRT-LLM's default `tokens_per_block`). */
export const blockTokens = 32;

/**
 * Number of tokens of `text`. The rule: the text is cut before every space and every newline, and a piece of b bytes
 * of UTF-8 counts ⌈b / 4⌉ tokens. The empty text has none.
 */
export function countTokens(text: string): number {
  const digest = new PromptDigest();
  digest.appendText(text);
  return digest.tokens;
}

/**
 * Counts the tokens of a prompt and fingerprints every block of 32 of them. Fingerprint k covers everything up to the
 * end of block k, so two prompts share block k exactly when they agree from the first byte to that block's end
 * (53-bit fingerprints: a collision would only make a simulated cache hit).
 */
export class PromptDigest {
  /** Tokens appended so far. */
  tokens = 0;
  readonly #blocks: number[] = [];
  #low = 0x811c9dc5;
  #high = 0x9747b28c;
  #pieceBytes = 0;

  /** Appends text by the rule of `countTokens`; every call starts a new piece. */
  appendText(text: string): void {
    this.#pieceBytes = 0;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code === 0x20 || code === 0x0a) this.#pieceBytes = 0;
      const tokensBefore = (this.#pieceBytes + 3) >> 2;
      // A surrogate is half of a four-byte character.
      this.#pieceBytes += code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 2 : 3;
      this.#advance(((this.#pieceBytes + 3) >> 2) - tokensBefore);
      this.#mix(code);
    }
  }

  /** Appends one token that is no text: a token id sent by the client, or a marker of the chat template. */
  appendToken(id: number): void {
    this.#advance(1);
    this.#mix(0x10000 + id);
    this.#pieceBytes = 0;
  }

  /** Fingerprints of the blocks completed so far, the last one included if it ends exactly here. */
  blockFingerprints(): readonly number[] {
    const complete = [...this.#blocks];
    if (this.tokens > 0 && this.tokens % blockTokens === 0) complete.push(this.fingerprint());
    return complete;
  }

  /** Fingerprint of everything appended so far. */
  fingerprint(): number {
    return (this.#low >>> 0) * 0x200000 + ((this.#high >>> 0) & 0x1fffff);
  }

  #advance(tokens: number): void {
    if (tokens === 0) return;
    // The block that ended is closed only now, since its last token may have grown until here.
    if (this.tokens > 0 && this.tokens % blockTokens === 0) this.#blocks.push(this.fingerprint());
    this.tokens += tokens;
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193);
    const mixed = Math.imul(this.#high ^ value, 0x85ebca6b);
    this.#high = (mixed << 13) | (mixed >>> 19);
  }
}

const consonants = 'bcdfghjklmnprstvwxz';
const vowels = 'aeiou';

/**
 * The token at `index` of the text that `seed` stands for. Tokens joined in order make readable nonsense whose
 * `countTokens` is exactly their number: every token but the first is a space and three letters, four bytes.
 */
export function pseudoToken(seed: number, index: number): string {
  const mixed = mixSeed(seed, index);
  const first = consonants[mixed % consonants.length] ?? 'b';
  const second = vowels[(mixed >>> 8) % vowels.length] ?? 'a';
  const third = index % 12 === 11 ? '.' : (consonants[(mixed >>> 16) % consonants.length] ?? 'n');
  return `${index === 0 ? '' : ' '}${first}${second}${third}`;
}

/** A text of exactly `tokens` tokens; the same seed always gives the same text, and a longer one begins with a shorter one. */
export function createPseudoText(tokens: number, seed: number): string {
  let text = '';
  for (let index = 0; index < tokens; index += 1) text += pseudoToken(seed, index);
  return text;
}
