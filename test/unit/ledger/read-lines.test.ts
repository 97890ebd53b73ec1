// The lines of NDJSON files.
import { Readable } from 'node:stream';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { readLines } from '#ledger/read-lines.ts';

it('lines come back as they were written, wherever the file is cut into chunks and whatever Unicode they hold', async () => {
  const line = fc.string({ unit: fc.constantFrom('a', '\u2028', '\u2029', '\u0085', '\r', '🙂'), minLength: 1 });
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.integer({ min: 1, max: 7 }), fc.boolean(), async (lines, size, isEnded) => {
      const bytes = Buffer.from(lines.join('\n') + (isEnded && lines.length > 0 ? '\n' : ''));
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      const found: string[] = [];
      for await (const some of readLines(Readable.from(chunks, { objectMode: false }))) found.push(...some);
      expect(found).toEqual(lines);
    }),
  );
});
