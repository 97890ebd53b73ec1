import { expect, test } from 'vitest';
import { frameChunk, FRAMED_BYTES_MAX } from '#gateway/chunk-frame.ts';

test('a frame is its size in hexadecimal, the bytes, and a line end after each', () => {
  expect(frameChunk(Buffer.from('hello, this is 26 bytes...')).toString()).toBe('1a\r\nhello, this is 26 bytes...\r\n');
  expect(frameChunk(Buffer.from('x')).toString()).toBe('1\r\nx\r\n');
});

test('every length up to the longest is framed with its own size', () => {
  for (let length = 1; length <= FRAMED_BYTES_MAX; length += 1) {
    const bytes = Buffer.alloc(length, length & 0xff);
    const head = Buffer.from(`${length.toString(16)}\r\n`);
    expect(frameChunk(bytes).equals(Buffer.concat([head, bytes, Buffer.from('\r\n')]))).toBe(true);
  }
});

test('no bytes are never framed, since that would end the answer, and none that are too long', () => {
  expect(() => frameChunk(Buffer.alloc(0))).toThrow(RangeError);
  expect(() => frameChunk(Buffer.alloc(FRAMED_BYTES_MAX + 1))).toThrow(RangeError);
});
