import { coverPeriod, HOUR_CELL_SECONDS, nextStart, startOf } from '#reports/cover-period.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const NOW = Date.parse('2026-11-22T10:30:00Z') / 1000;
const at = (text: string) => Date.parse(text) / 1000;

describe('the cells that cover a period', () => {
  test('a closed month is one month cell, even when its hours are long gone', () => {
    const period = { from: at('2026-01-01T00:00:00Z'), to: at('2026-02-01T00:00:00Z') };
    expect(coverPeriod({ period, coarsest: 'month', now: NOW })).toEqual([{ granularity: 'month', period }]);
  });

  test('edges are read in days and hours', () => {
    const period = { from: at('2026-10-30T22:00:00Z'), to: at('2026-11-21T02:00:00Z') };
    const parts = coverPeriod({ period, coarsest: 'month', now: NOW });
    expect(parts.map(({ granularity, period: { from, to } }) => [granularity, (to - from) / 3600])).toEqual([
      ['hour', 2],
      ['day', 21 * 24],
      ['hour', 2],
    ]);
  });

  test('a period that reaches beyond now may use the cells of the running day and month', () => {
    const period = { from: at('2026-11-01T00:00:00Z'), to: at('2026-11-22T11:00:00Z') };
    expect(coverPeriod({ period, coarsest: 'month', now: NOW }).map(({ granularity }) => granularity)).toEqual([
      'month',
    ]);
    const nearly = coverPeriod({ period, coarsest: 'month', now: period.to - 30 });
    expect(nearly.map(({ granularity }) => granularity)).toEqual(['day', 'hour']);
  });

  test('hours older than 35 days are refused with what to do instead', () => {
    const period = { from: at('2026-09-14T22:00:00Z'), to: at('2026-10-14T22:00:00Z') };
    expect(() => coverPeriod({ period, coarsest: 'month', now: NOW })).toThrow(/35 days.*whole UTC days/);
  });

  test('a month of any time zone stays readable, however old: the hours of its edges are kept', () => {
    for (const offsetHours of [-12, -5, 2, 14]) {
      const [from, to] = [at('2025-09-01T00:00:00Z'), at('2025-10-01T00:00:00Z')].map(
        (utc) => utc - offsetHours * 3600,
      );
      const parts = coverPeriod({ period: { from: from ?? 0, to: to ?? 0 }, coarsest: 'month', now: NOW });
      expect([parts[0]?.period.from, parts.at(-1)?.period.to]).toEqual([from, to]);
    }
  });

  test('every hour of the past is covered exactly once, by cells that are aligned and not too coarse', () => {
    const hours = fc.integer({ min: 0, max: (HOUR_CELL_SECONDS - 3600) / 3600 });
    fc.assert(
      fc.property(
        hours,
        hours,
        fc.constantFrom('hour' as const, 'day' as const, 'month' as const),
        (a, b, coarsest) => {
          fc.pre(a !== b);
          const [from, to] = [NOW, NOW].map(
            (now, i) => startOf(now, 'hour') - 3600 * (i === 0 ? Math.max(a, b) : Math.min(a, b)),
          );
          const period = { from: from ?? 0, to: to ?? 0 };
          const parts = coverPeriod({ period, coarsest, now: NOW });
          let reached = period.from;
          for (const part of parts) {
            expect(part.period.from).toBe(reached);
            expect(startOf(part.period.from, part.granularity)).toBe(part.period.from);
            expect(startOf(part.period.to, part.granularity)).toBe(part.period.to);
            if (coarsest === 'hour') expect(part.granularity).toBe('hour');
            if (coarsest === 'day') expect(part.granularity).not.toBe('month');
            reached = part.period.to;
          }
          expect(reached >= period.to).toBe(true);
          expect(reached === period.to || period.to > NOW).toBe(true);
        },
      ),
    );
  });

  test('months end where the next begins', () => {
    expect(nextStart(at('2026-12-31T23:00:00Z'), 'month')).toBe(at('2027-01-01T00:00:00Z'));
  });
});
