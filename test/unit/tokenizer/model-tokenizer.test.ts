import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { loadFixture, readExpected } from './fixture-tokenizers.ts';
import { ModelTokenizer } from '#tokenizer/model-tokenizer.ts';

const NAMES = ['byte-level-bpe', 'unigram', 'wordpiece'] as const;
const plain = { addSpecialTokens: false };

describe.each(NAMES)('%s', (name) => {
  const tokenizer = loadFixture(name);

  const samples = readExpected(name).texts.map((sample) => [JSON.stringify(sample.text), sample] as const);

  test.each(samples)('%s counts as in the reference implementation', (_text, sample) => {
    expect(tokenizer.count(sample.text, plain)).toBe(sample.plain);
    expect(tokenizer.count(sample.text, { addSpecialTokens: true })).toBe(sample.special);
  });

  test('counting never throws, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.boolean(), (text, addSpecialTokens) => {
        const count = tokenizer.count(text, { addSpecialTokens });
        expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
      }),
    );
  });

  test('bytes that are no UTF-8 and halves of surrogate pairs are counted too', () => {
    for (const text of [
      '\ud800',
      'a\udc00b',
      Buffer.from([0xff, 0xfe, 0x00, 0x80]).toString('latin1'),
      '\ufffd'.repeat(9),
    ]) {
      expect(tokenizer.count(`fox ${text} dog`, plain)).toBeGreaterThanOrEqual(2);
    }
  });
});

describe('byte-level BPE', () => {
  const tokenizer = loadFixture('byte-level-bpe');
  const word = fc.stringMatching(/^[a-z]{1,12}$/);
  const count = (text: string): number => tokenizer.count(text, plain);

  test('a text costs at most one token per byte', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), (text) => {
        expect(count(text)).toBeLessThanOrEqual(Buffer.byteLength(text));
      }),
    );
  });

  test('parts that meet at a word boundary cost together what they cost apart', () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 8 }), word, (left, right) => {
        const a = left.join(' ');
        const b = ` ${right}`;
        expect(count(a + b)).toBe(count(a) + count(b));
      }),
    );
  });
});

test('a pair of texts gets its separators', () => {
  const tokenizer = loadFixture('wordpiece');
  const single = tokenizer.count('fox', plain) + tokenizer.count('lazy dog', plain);
  expect(tokenizer.count('fox', { addSpecialTokens: true, pair: 'lazy dog' })).toBe(single + 3);
});

test.each(['byte-level-bpe', 'unigram'] as const)('the chat template of %s renders as in transformers', (name) => {
  const tokenizer = loadFixture(name);
  for (const { messages, tools, extras, rendered } of readExpected(name).conversations) {
    expect(tokenizer.renderChat({ messages, tools, extras, documents: null, addGenerationPrompt: true })).toBe(
      rendered,
    );
  }
});

test('nothing of a counted text is kept, even where counting fails', () => {
  let remembered = 0;
  const model = { clear_cache: () => (remembered = 0) };
  const encoder = {
    model,
    encode(text: string) {
      remembered = text.length;
      if (text === 'fail') throw new Error('no');
      return { ids: [1] };
    },
  };
  const tokenizer = new ModelTokenizer(encoder, null);
  expect(tokenizer.count('something', plain)).toBe(1);
  expect(remembered).toBe(0);
  expect(() => tokenizer.count('fail', plain)).toThrow('no');
  expect(remembered).toBe(0);
});
