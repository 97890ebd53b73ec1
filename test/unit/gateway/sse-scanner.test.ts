import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAX_EVENT_BYTES, SseScanner, type ScanMode } from '#gateway/sse-scanner.ts';
import { StreamObserver } from '#gateway/observe-answer.ts';
import { chatEvents } from '#test/support/fake-engine.ts';

/** Runs a stream cut at the given places; returns events, bytes out, and what the observer makes of it. */
function scan(
  stream: Buffer,
  cuts: readonly number[],
  mode: ScanMode,
  isRemoved: (event: string) => boolean = () => false,
) {
  const events: string[] = [];
  const scanner = new SseScanner((bytes, start, end) => {
    const event = bytes.toString('latin1', start, end);
    events.push(event);
    return isRemoved(event);
  }, mode);
  const out: Buffer[] = [];
  const edges = [...new Set([0, ...cuts, stream.length])].sort((left, right) => left - right);
  for (let index = 0; index + 1 < edges.length; index += 1) {
    const bytes = scanner.scan(stream.subarray(edges[index], edges[index + 1]));
    if (bytes !== null) out.push(bytes);
  }
  const rest = scanner.end();
  if (rest !== null) out.push(rest);
  return { events, out: Buffer.concat(out).toString('latin1') };
}

const FIXTURES: Record<string, string> = {
  'line feeds, trailing space, comments': `: keep-alive\n\n${chatEvents(['Hel', 'lö 🙂'], { usage: true }).join('')}`,
  'carriage return and line feed': chatEvents(['a', 'b'], { usage: true }).join('').replaceAll('\n', '\r\n'),
  'carriage returns alone': chatEvents(['a', 'b'], { usage: true }).join('').replaceAll('\n', '\r'),
  'mixed line ends and empty lines': 'data: a\r\n\n\r\n\r\rdata: b\n\r\n: c\r\r\ndata: d\n\n\n\n',
  'several data lines and an unfinished tail': 'event: x\ndata: 1\ndata: 2\n\ndata: {"half',
};

describe('sse-scanner', () => {
  for (const [name, text] of Object.entries(FIXTURES)) {
    const stream = Buffer.from(text);
    const whole = scan(stream, [], 'observe');

    it(`every single cut of a stream gives one result: ${name}`, () => {
      for (let cut = 1; cut < stream.length; cut += 1) {
        expect(scan(stream, [cut], 'observe')).toEqual(whole);
        expect(scan(stream, [cut], 'filter')).toEqual(whole);
      }
      expect(whole.out).toBe(stream.toString('latin1'));
    });

    it(`any cuts, down to single bytes, give one result and bytes out equal bytes in: ${name}`, () => {
      fc.assert(
        fc.property(fc.array(fc.nat(stream.length)), (cuts) => {
          expect(scan(stream, cuts, 'observe')).toEqual(whole);
          expect(scan(stream, cuts, 'filter')).toEqual(whole);
        }),
      );
      const bytes = Array.from({ length: stream.length }, (_, index) => index);
      expect(scan(stream, bytes, 'filter')).toEqual(whole);
    });

    it(`taking one event out leaves every other byte, however the stream is cut: ${name}`, () => {
      const victim = whole.events.at(-1);
      const isRemoved = (event: string): boolean => event === victim;
      const removed = scan(stream, [], 'filter', isRemoved);
      expect(removed.out.length).toBeLessThan(whole.out.length);
      fc.assert(
        fc.property(fc.array(fc.nat(stream.length)), (cuts) => {
          expect(scan(stream, cuts, 'filter', isRemoved)).toEqual(removed);
        }),
      );
    });
  }

  it('any bytes at all come out as they went in', () => {
    const piece = fc.constantFrom('\n', '\r', 'data: x', ':', ' ', '\r\n', '{"usage":{}}', '\u00e9');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), fc.array(fc.nat(300)), (pieces, cuts) => {
        const stream = Buffer.from(pieces.join(''));
        const usable = cuts.filter((cut) => cut < stream.length);
        const whole = scan(stream, [], 'observe');
        expect(scan(stream, usable, 'filter')).toEqual(whole);
        expect(whole.out).toBe(stream.toString('latin1'));
      }),
      { numRuns: 500 },
    );
  });

  it('an event longer than the limit is passed on unread, and the next one is read again', () => {
    const long = `data: ${'x'.repeat(MAX_EVENT_BYTES)}\n\n`;
    const stream = Buffer.from(`${long}data: y\n\n`);
    for (const cuts of [[], [10], [MAX_EVENT_BYTES + 7], [1000, 200_000, 262_150]]) {
      for (const mode of ['observe', 'filter'] as const) {
        const { events, out } = scan(stream, cuts, mode);
        expect(events).toEqual(['data: y\n']);
        expect(out).toBe(stream.toString('latin1'));
      }
    }
  });

  it('bytes of finished events never wait for more, and of an unfinished one only where something may be taken out', () => {
    const observing = new SseScanner(() => false, 'observe');
    expect(observing.scan(Buffer.from('data: a\n\ndata: b'))?.toString()).toBe('data: a\n\ndata: b');
    const filtering = new SseScanner(() => false, 'filter');
    expect(filtering.scan(Buffer.from('data: a\n\ndata: b'))?.toString()).toBe('data: a\n\n');
    expect(filtering.scan(Buffer.from('\n\n'))?.toString()).toBe('data: b\n\n');
  });
});

describe('stream observer', () => {
  const observe = (stream: Buffer, cuts: readonly number[]) => {
    const observer = new StreamObserver({
      shape: 'chat',
      promptCount: 1,
      sequences: 1,
      removal: { chunk: true, running: false },
    });
    const out: Buffer[] = [];
    let steps = 0;
    const edges = [...new Set([0, ...cuts, stream.length])].sort((left, right) => left - right);
    for (let index = 0; index + 1 < edges.length; index += 1) {
      const bytes = observer.observe(stream.subarray(edges[index], edges[index + 1]));
      steps += observer.steps;
      if (bytes !== null) out.push(bytes);
    }
    const { isLast, isFinished, isFailed, contentEvents, usage } = observer;
    return { steps, isLast, isFinished, isFailed, contentEvents, usage, out: Buffer.concat(out).toString() };
  };

  it('usage, content and end are the same for every way to cut a chat stream, and only the usage chunk is missing', () => {
    const stream = Buffer.from(chatEvents(['Hel', 'lö', '', '"usage":{ x'], { usage: true }).join(''));
    const expected = {
      steps: 3,
      contentEvents: 3,
      isLast: true,
      isFinished: true,
      isFailed: false,
      usage: { prompt: 5, completion: 4, cached: null, reasoning: null },
      out: chatEvents(['Hel', 'lö', '', '"usage":{ x'], { usage: false }).join(''),
    };
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length)), (cuts) => {
        expect(observe(stream, cuts)).toEqual(expected);
      }),
    );
  });
});
