import { describe, expect, it } from 'vitest';
import { Pieces } from '#gateway/pieces.ts';

describe('bytes that come in pieces', () => {
  it('are whole in the order in which they came, however many there are', () => {
    for (const texts of [[], ['one'], ['one', 'two'], ['one', '', 'two', 'three']]) {
      const pieces = new Pieces();
      for (const text of texts) pieces.add(Buffer.from(text));
      expect(pieces.join().toString()).toBe(texts.join(''));
      expect(pieces.list().map(String)).toEqual(texts);
      expect(pieces.length).toBe(texts.join('').length);
    }
  });

  it('are not copied where there is one', () => {
    const pieces = new Pieces();
    const only = Buffer.from('only');
    pieces.add(only);
    expect(pieces.join()).toBe(only);
  });

  it('are forgotten when they are cleared, and may come again', () => {
    const pieces = new Pieces();
    pieces.add(Buffer.from('old'));
    pieces.add(Buffer.from('older'));
    pieces.clear();
    expect(pieces.join()).toHaveLength(0);
    pieces.add(Buffer.from('new'));
    expect(pieces.join().toString()).toBe('new');
    expect(pieces.length).toBe(3);
  });
});
