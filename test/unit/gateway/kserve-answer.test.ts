import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { GenerateObserver, GenerateStreamObserver, InferObserver } from '#gateway/kserve-answer.ts';

const SWITCHES = ['return_num_input_tokens', 'return_num_output_tokens'];

/** Passes bytes in pieces of the given sizes and gives what comes out. */
function pass(
  observer: { observe(chunk: Buffer): Buffer | null; end(): Buffer | null },
  bytes: Buffer,
  sizes: number[],
) {
  const output: Buffer[] = [];
  let at = 0;
  for (const size of [...sizes, bytes.length]) {
    const piece = bytes.subarray(at, at + size);
    at += size;
    if (piece.length > 0) output.push(observer.observe(piece) ?? Buffer.alloc(0));
  }
  output.push(observer.end() ?? Buffer.alloc(0));
  return Buffer.concat(output).toString();
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('"num_output_tokens": 5', '\n\n', '{"error":', ','),
);

test('whatever the texts and the chunks, counts are summed and stripped, and nothing else changes', () => {
  const event = fc.record({ text, first: fc.boolean(), quoted: fc.boolean(), output: fc.nat(9) });
  fc.assert(
    fc.property(fc.array(event), fc.array(fc.integer({ min: 1, max: 50 })), (events, sizes) => {
      const render = (counted: boolean): string =>
        events
          .map(({ text: text_output, first, quoted, output }) => {
            const counts = { num_input_tokens: 7, num_output_tokens: quoted ? String(output) : output };
            const rest = { model_name: 'm', text_output };
            if (!counted) return `data: ${JSON.stringify(rest)}\n\n`;
            return `data: ${JSON.stringify(first ? { ...counts, ...rest } : { ...rest, ...counts })}\n\n`;
          })
          .join('');
      const observer = new GenerateStreamObserver(SWITCHES, true);
      expect(pass(observer, Buffer.from(render(true)), sizes)).toBe(render(false));
      const output = events.reduce((sum, one) => sum + one.output, 0);
      expect(observer.usage?.completion ?? null).toBe(events.length === 0 ? null : output);
      expect(observer.isFailed).toBe(false);
      expect(observer.texts?.output.join('')).toBe(events.map((one) => one.text).join(''));
    }),
  );
});

test('a whole answer loses the counts that were asked for, whatever its text and wherever they stand', () => {
  fc.assert(
    fc.property(text, fc.boolean(), fc.array(fc.integer({ min: 1, max: 50 })), (text_output, first, sizes) => {
      const counts = { num_input_tokens: 3, num_output_tokens: [4, 5] };
      const rest = { text_output, id: 'x' };
      const sent = JSON.stringify(first ? { ...counts, ...rest } : { ...rest, ...counts });
      const observer = new GenerateObserver(SWITCHES);
      expect(pass(observer, Buffer.from(sent), sizes)).toBe(JSON.stringify(rest));
      expect(observer.usage).toMatchObject({ prompt: 3, completion: 9 });
    }),
  );
});

test('an answer without counts gives its text to be counted, and passes as it comes', () => {
  const observer = new GenerateObserver([]);
  const sent = '{"text_output":["ein","zwö"]}';
  expect(pass(observer, Buffer.from(sent), [3])).toBe(sent);
  expect(observer.texts).toEqual({ output: ['ein', 'zwö'], reasoning: [] });
  expect(observer.contentBytes).toBe(7);
  expect(observer.usage).toBeNull();
});

test('a stream whose text nobody wants keeps none', () => {
  const observer = new GenerateStreamObserver([]);
  pass(observer, Buffer.from('data: {"text_output":"secret"}\n\n'), []);
  expect(observer.texts).toBeNull();
  expect(JSON.stringify(observer)).not.toContain('secret');
});

test('an answer of megabytes passes unread and is held back no longer than one', () => {
  const sent = `{"text_output":"${'x'.repeat(3 * 1024 * 1024)}","num_output_tokens":4}`;
  const sizes = Array.from({ length: 48 }, () => 65_536);
  expect(pass(new GenerateObserver(SWITCHES), Buffer.from(sent), sizes)).toBe(sent);
  expect(pass(new GenerateStreamObserver(SWITCHES), Buffer.from(`data: ${sent}\n\n`), sizes)).toBe(`data: ${sent}\n\n`);
});

test('rubbish of any kind passes every observer unchanged and throws nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.integer({ min: 1, max: 20 })), (bytes, sizes) => {
      const sent = Buffer.from(bytes);
      for (const observer of [
        new GenerateStreamObserver(SWITCHES, true),
        new GenerateObserver([]),
        new InferObserver(null),
        new InferObserver(20),
      ]) {
        expect(Buffer.from(pass(observer, sent, sizes)).equals(Buffer.from(sent.toString()))).toBe(true);
      }
    }),
  );
});
