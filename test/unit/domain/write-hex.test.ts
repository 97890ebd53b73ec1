import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { writeHex } from '#domain/write-hex.ts';

test('any number of 32 bits stands in its place as its last digits, and nothing beside it is touched', () => {
  fc.assert(
    fc.property(fc.nat({ max: 0xffffffff }), fc.integer({ min: 1, max: 8 }), fc.nat({ max: 4 }), (value, count, at) => {
      const into = Buffer.alloc(16, '-');
      writeHex(into, at, count, value);
      const digits = value.toString(16).padStart(8, '0').slice(-count);
      expect(into.toString('latin1')).toBe(`${'-'.repeat(at)}${digits}`.padEnd(16, '-'));
    }),
  );
});
