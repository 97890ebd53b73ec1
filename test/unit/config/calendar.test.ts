import { describe, expect, test } from 'vitest';
import { isTimeZone, parseInstant, parseMinuteOfDay, parseWeekDays } from '#config/calendar.ts';

describe('instants', () => {
  test.each([
    ['2026-01-01', '2026-01-01T00:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['2026-01-01T06:00:00Z', '2026-01-01T06:00:00.000Z'],
    ['2026-01-01T06:00:00.5+02:00', '2026-01-01T04:00:00.500Z'],
    ['2026-01-01 06:00:00-01:30', '2026-01-01T07:30:00.000Z'],
    ['2026-01-01t06:00:00z', '2026-01-01T06:00:00.000Z'],
  ])('%s is %s', (text, expected) => {
    expect(new Date(parseInstant(text) ?? Number.NaN).toISOString()).toBe(expected);
  });

  test.each([
    '2026-02-30',
    '2025-02-29',
    '2026-13-01',
    '2026-1-1',
    '2026-01-01T06:00:00',
    '2026-01-01T25:00:00Z',
    'soon',
    '',
    '2026',
  ])('%j is no instant', (text) => {
    expect(parseInstant(text)).toBeUndefined();
  });
});

describe('week days', () => {
  test.each([
    ['mon-fri', [1, 2, 3, 4, 5]],
    ['sat,sun', [6, 7]],
    ['fri-mon', [1, 5, 6, 7]],
    ['Mon, wed-thu', [1, 3, 4]],
    ['sun', [7]],
    ['mon-sun', [1, 2, 3, 4, 5, 6, 7]],
    ['mon-wed,tue', [1, 2, 3]],
  ])('%s are %j', (text, expected) => {
    expect(parseWeekDays(text)).toEqual(expected);
  });

  test.each(['', 'monday', 'mon-', 'mon-tue-wed', '1-5', 'mon;fri'])('%j are no week days', (text) => {
    expect(parseWeekDays(text)).toBeUndefined();
  });
});

test.each([
  ['00:00', 0],
  ['8:30', 510],
  ['23:59', 1439],
  ['24:00', 1440],
  ['24:01', undefined],
  ['12:60', undefined],
  ['noon', undefined],
  ['800', undefined],
])('%s is minute %s of the day', (text, expected) => {
  expect(parseMinuteOfDay(text)).toBe(expected);
});

test('time zones are those the platform knows', () => {
  expect(isTimeZone('Europe/Berlin')).toBe(true);
  expect(isTimeZone('UTC')).toBe(true);
  expect(isTimeZone('Europe/Atlantis')).toBe(false);
  expect(isTimeZone('')).toBe(false);
});
