import { ceilHour, parsePeriod } from '#reports/report-period.ts';
import type { PeriodRequest } from '#reports/report-period.ts';
import { dayOf, instantOf, parseTimeZone } from '#reports/time-zone.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const NOW_MS = Date.parse('2026-11-22T10:30:15.250Z');

function parse(request: PeriodRequest): readonly [string, string] {
  const { from, to } = parsePeriod(request, NOW_MS);
  return [from, to].map((second) => new Date(second * 1000).toISOString().replace('.000Z', 'Z')) as [string, string];
}

describe('the period of a report', () => {
  test.each<[PeriodRequest, string, string]>([
    [{}, '2026-11-01T00:00:00Z', '2026-11-22T10:30:15Z'],
    [{ timezone: 'Europe/Berlin' }, '2026-10-31T23:00:00Z', '2026-11-22T10:30:15Z'],
    [{ month: '2026-12' }, '2026-12-01T00:00:00Z', '2027-01-01T00:00:00Z'],
    // October has the hour that ends summer time: 745 hours.
    [{ month: '2026-10', timezone: 'Europe/Berlin' }, '2026-09-30T22:00:00Z', '2026-10-31T23:00:00Z'],
    [
      { from: '2026-11-01', to: '2026-11-02', timezone: 'America/New_York' },
      '2026-11-01T04:00:00Z',
      '2026-11-02T05:00:00Z',
    ],
    [{ from: '2026-11-01T08:00:00Z', to: '2026-11-01T12:00:00+02:00' }, '2026-11-01T08:00:00Z', '2026-11-01T10:00:00Z'],
    [
      { from: '2026-11-01T08:00', to: '2026-11-01T09:00', timezone: 'Europe/Berlin' },
      '2026-11-01T07:00:00Z',
      '2026-11-01T08:00:00Z',
    ],
    [{ from: '2026-11-20' }, '2026-11-20T00:00:00Z', '2026-11-22T10:30:15Z'],
  ])('%o is %s to %s', (request, from, to) => {
    expect(parse(request)).toEqual([from, to]);
  });

  test.each<[PeriodRequest, RegExp]>([
    [{ to: '2026-11-01' }, /^from: /],
    [{ from: '2026-02-30' }, /^from: /],
    [{ from: '2026-11-01T24:00:00Z' }, /^from: /],
    [{ from: '2026-11-01T08:00:01Z' }, /^from: /],
    [{ from: '2026-11-01T08:00:00+05:30' }, /^from: /],
    // RFC 3339 knows offsets of less than a day, and a slip in the year is no year of the last century.
    [{ from: '2026-11-01T08:00:00+99:00' }, /^from: /],
    [{ from: '0026-11-01' }, /^from: /],
    [{ month: '0026-11' }, /^month: /],
    [{ month: '2026-1' }, /^month: /],
    [{ timezone: 'Asia/Kolkata' }, /^timezone: .*whole hours/],
    [{ timezone: 'Australia/Lord_Howe', from: '2026-01-01', to: '2027-01-01' }, /^timezone: .*whole hours/],
    [{ timezone: 'America/St_Johns', month: '2026-11' }, /^timezone: /],
    [{ from: '2026-11-23', to: '2026-11-23' }, /^to: /],
    [{ from: '2020-01-01', to: '2026-01-01' }, /^to: .*800 days/],
  ])('%o is refused with %s', (request, message) => {
    expect(() => parsePeriod(request, NOW_MS)).toThrow(message);
  });

  test('in the first instant of a month the default period is not empty', () => {
    const { from, to } = parsePeriod({}, Date.parse('2026-12-01T00:00:00Z'));
    expect(to).toBeGreaterThan(from);
  });

  test('reading covers the hour that has begun', () => {
    expect([ceilHour(7200), ceilHour(7201)]).toEqual([7200, 10_800]);
  });
});

describe('time zones', () => {
  test('midnight of a local date lies in that date, in every zone of whole hours', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          'UTC',
          'Europe/Berlin',
          'America/New_York',
          'Pacific/Auckland',
          'America/Sao_Paulo',
          'Asia/Tokyo',
        ),
        fc.integer({ min: 0, max: 365 * 6 }),
        (name, day) => {
          const date = new Date(Date.UTC(2024, 0, 1 + day));
          const local = { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate(), hour: 0 };
          const zone = parseTimeZone(name);
          const midnight = instantOf(local, zone);
          expect(dayOf(midnight, zone)).toBe(date.toISOString().slice(0, 10));
          expect(dayOf(midnight - 1, zone)).not.toBe(date.toISOString().slice(0, 10));
        },
      ),
    );
  });
});
