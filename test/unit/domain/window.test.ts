import { describe, expect, it } from 'vitest';
import { formatSecond, hourOf, isMonthEdge, windowOf } from '#domain/window.ts';

const at = (text: string) => Date.parse(text) / 1000;

describe('windows', () => {
  it('are whole seconds, held by the UTC hour they lie in', () => {
    expect(windowOf(1500.7)).toBe(1);
    expect(hourOf(at('2026-11-22T10:59:59Z'))).toBe(at('2026-11-22T10:00:00Z'));
    expect(hourOf(-1)).toBe(-3600);
    expect(formatSecond(0)).toBe('1970-01-01T00:00:00Z');
  });

  it('at the edge of a month are those of its first and last UTC day, leap years included', () => {
    const edges = ['2026-10-31T23:00:00Z', '2026-11-01T00:00:00Z', '2026-11-01T23:59:59Z', '2028-02-29T05:00:00Z'];
    const inside = ['2026-11-02T00:00:00Z', '2026-10-30T23:59:59Z', '2028-02-28T12:00:00Z'];
    expect(edges.map((text) => isMonthEdge(at(text)))).toEqual([true, true, true, true]);
    expect(inside.map((text) => isMonthEdge(at(text)))).toEqual([false, false, false]);
  });
});
