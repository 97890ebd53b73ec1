// Deflated text inflates to what it was, in whatever parts it came.
import * as fc from 'fast-check';
import { inflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { deflateInTurns, deflateQuickly } from '#store/deflate-text.ts';

test('text inflates to the same, deflated at once or in turns', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ unit: 'grapheme' })), async (parts) => {
      const text = parts.join('');
      expect(inflateRawSync(deflateQuickly(parts)).toString()).toBe(text);
      expect(inflateRawSync(await deflateInTurns(parts)).toString()).toBe(text);
    }),
    { numRuns: 50 },
  );
});

test('a character of two halves stays whole wherever a long part is cut', async () => {
  for (const ahead of [0, 1, 2, 3]) {
    const text = 'x'.repeat(ahead) + '😀'.repeat(100_000);
    expect(inflateRawSync(await deflateInTurns([text])).toString()).toBe(text);
  }
});
