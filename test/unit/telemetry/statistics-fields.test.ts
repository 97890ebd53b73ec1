// Fields of engines' statistics: what is no count reads as unknown, what is no list as nothing.
import { expect, test } from 'vitest';
import { parseList, readFields, readNumber } from '#telemetry/statistics-fields.ts';

test('only a list is read, and its entries that are no objects are counted and left out', () => {
  expect(parseList('[{"a":1},2,null,[{}],"x",{}]')).toEqual({ entries: 6, objects: [{ a: 1 }, {}] });
  for (const text of ['', '{"a":1}', 'null', '# HELP x\nx 1', '[{"a":']) expect(parseList(text)).toBeNull();
});

test('what is no finite number from zero on is unknown, never zero', () => {
  expect(readNumber({ a: 0 }, 'a')).toBe(0);
  for (const a of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1', null, undefined, {}]) {
    expect(readNumber({ a }, 'a')).toBeNull();
  }
  expect(readNumber({}, 'a')).toBeNull();
});

test('an object that is not there has no fields', () => {
  expect(readFields({ a: { b: 1 } }, 'a')).toEqual({ b: 1 });
  for (const a of [undefined, null, [1], 'x', 3]) expect(readFields({ a }, 'a')).toEqual({});
});
