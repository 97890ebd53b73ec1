// The queue of lines that a full disk refuses: order, bound, what is not worth keeping.
import { describe, expect, it } from 'vitest';
import { UnwrittenLines } from '#accounting/unwritten-lines.ts';

describe('unwritten lines', () => {
  it('a line that is refused again stays first, and those before it are gone', () => {
    const lines = new UnwrittenLines();
    for (const json of ['1', '2', '3']) lines.keep(json);
    const taken: string[] = [];
    const write = (json: string) => {
      if (json === '2') throw new Error('full');
      taken.push(json);
    };
    expect(() => lines.drain(write, 10)).toThrow('full');
    expect([taken, lines.read(), lines.count]).toEqual([['1'], ['2', '3'], 2]);
  });

  it('no more than the limit is written at once', () => {
    const lines = new UnwrittenLines();
    for (const json of ['1', '2', '3']) lines.keep(json);
    const taken: string[] = [];
    lines.drain((json) => void taken.push(json), 2);
    expect([taken, lines.read()]).toEqual([['1', '2'], ['3']]);
  });

  it('what does not fit is counted as lost, and there is room again once lines were written', () => {
    const lines = new UnwrittenLines(4);
    lines.keep('aaaa');
    lines.keep('b');
    expect([lines.count, lines.dropped]).toEqual([1, 1]);
    lines.drain(() => {}, 10);
    lines.keep('cccc');
    expect([lines.count, lines.dropped]).toEqual([1, 1]);
  });

  it('progress is not kept: the next line says more', () => {
    const lines = new UnwrittenLines();
    lines.keep(JSON.stringify({ t: 'progress', atMs: 1, attempts: [] }));
    expect(lines.count).toBe(0);
  });
});
