import { describe, expect, test } from 'vitest';
import { formatDay, LedgerFlagError, listDays, parseDay, parseHour } from '#ledger/ledger-period.ts';

describe('days and hours of ledger commands', () => {
  test('a UTC day is its first second, an hour its own', () => {
    expect(parseHour('--from', '2026-11-22')).toBe(Date.UTC(2026, 10, 22) / 1000);
    expect(parseHour('--from', '2026-11-22T10:00Z')).toBe(Date.UTC(2026, 10, 22, 10) / 1000);
    expect(parseHour('--from', '2026-11-22T10:00:00.000Z')).toBe(Date.UTC(2026, 10, 22, 10) / 1000);
    expect(parseHour('--from', undefined)).toBeNull();
    expect(formatDay(parseDay('--day', '2024-02-29'))).toBe('2024-02-29');
  });

  test.each(['2026-02-30', '2026-13-01', 'yesterday', '2026-11-22T10:30Z', '2026-11-22T10:00+02:00', ''])(
    '"%s" is refused, naming the flag',
    (text) => {
      expect(() => parseHour('--to', text)).toThrow(LedgerFlagError);
      expect(() => parseHour('--to', text)).toThrow(/--to/);
    },
  );

  test('an instant is no day', () => {
    expect(() => parseDay('--day', '2026-11-22T10:00Z')).toThrow(LedgerFlagError);
  });

  test('days from inclusive to exclusive', () => {
    const from = parseDay('--from', '2026-02-27');
    expect(listDays(from, parseDay('--to', '2026-03-02')).map(formatDay)).toEqual([
      '2026-02-27',
      '2026-02-28',
      '2026-03-01',
    ]);
    expect(listDays(from, from)).toEqual([]);
  });
});
