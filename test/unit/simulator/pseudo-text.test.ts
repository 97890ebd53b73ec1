// The simulator's tokenizer: its rule, its exactness on its own text, and what its fingerprints promise.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PromptDigest, countTokens, createPseudoText } from '#simulator/pseudo-text.ts';

// The rule of countTokens, written once more in the plainest way.
function countByRule(text: string): number {
  return text
    .split(/(?=[ \n])/)
    .filter((piece) => piece !== '')
    .reduce((sum, piece) => sum + Math.ceil(Buffer.byteLength(piece) / 4), 0);
}

function fingerprintsOf(text: string): readonly number[] {
  const digest = new PromptDigest();
  digest.appendText(text);
  return digest.blockFingerprints();
}

describe('countTokens', () => {
  it('counts four bytes a token, starting anew at every space and newline', () => {
    expect(countTokens('')).toBe(0);
    expect(countTokens('hello')).toBe(2);
    expect(countTokens('the cat sat')).toBe(3);
    expect(countTokens('a\nb')).toBe(2);
    expect(countTokens('éé€😀')).toBe(3);
  });

  it('agrees with its rule on every text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        expect(countTokens(text)).toBe(countByRule(text));
      }),
    );
  });

  it('pseudo text of n tokens counts exactly n, and begins with every shorter one', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(500), fc.integer(), (tokens, more, seed) => {
        const text = createPseudoText(tokens, seed);
        expect(countTokens(text)).toBe(tokens);
        expect(createPseudoText(tokens + more, seed).startsWith(text)).toBe(true);
      }),
    );
  });
});

describe('PromptDigest', () => {
  it('prompts share the fingerprints of the blocks they have in common, and no others', () => {
    const head = createPseudoText(96, 1);
    const one = fingerprintsOf(head + createPseudoText(96, 2));
    const other = fingerprintsOf(head + createPseudoText(96, 3));
    expect(one.slice(0, 2)).toEqual(other.slice(0, 2));
    expect(one.slice(3).filter((fingerprint) => other.includes(fingerprint))).toEqual([]);
    expect(one).toHaveLength(6);
  });

  it('a difference in the first block changes all that follow', () => {
    const tail = createPseudoText(200, 4);
    const one = fingerprintsOf(`a ${tail}`);
    expect(fingerprintsOf(`b ${tail}`).filter((fingerprint) => one.includes(fingerprint))).toEqual([]);
  });
});
