// Joined writes: the same bytes in the same order, whatever the parts.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { JOINED_BYTES_MAX, joinParts, type Parts } from '#gateway/joined-writes.ts';

const bytesOf = ({ chunk, encoding }: Parts[number]): Buffer =>
  Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as string, encoding);

test('any parts are joined byte by byte as they were written, or left as they are', () => {
  const text = fc.record({
    chunk: fc.string({ unit: 'binary', maxLength: 60 }),
    encoding: fc.constantFrom('latin1' as const, 'utf8' as const),
  });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
    fc.nat({ max: 2 * JOINED_BYTES_MAX }).map((length) => Buffer.alloc(length, length)),
  );
  const part = fc.oneof(
    text,
    bytes.map((chunk) => ({ chunk, encoding: 'buffer' as BufferEncoding })),
  );
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
      const joined = joinParts(parts);
      const expected = Buffer.concat(parts.map(bytesOf));
      const isLatin = parts.every(({ chunk, encoding }) => Buffer.isBuffer(chunk) || encoding === 'latin1');
      expect(joined === null).toBe(!isLatin || expected.length > JOINED_BYTES_MAX);
      if (joined !== null) expect(joined.equals(expected)).toBe(true);
    }),
  );
});
