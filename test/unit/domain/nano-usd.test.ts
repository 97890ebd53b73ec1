import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatUsd, formatUsdShortest, parseNanoUsd } from '#domain/nano-usd.ts';

describe('nano-usd', () => {
  it('parses decimal dollars exactly, as text or number, with exponents', () => {
    expect(parseNanoUsd('2.5')).toBe(2_500_000_000n);
    expect(parseNanoUsd(0.05)).toBe(50_000_000n);
    expect(parseNanoUsd('0.000000001')).toBe(1n);
    expect(parseNanoUsd('1e-3')).toBe(1_000_000n);
    expect(parseNanoUsd('-12')).toBe(-12_000_000_000n);
    expect(parseNanoUsd('9007199254740993.123456789')).toBe(9007199254740993123456789n);
  });

  it('refuses what is not an exact amount instead of rounding it', () => {
    for (const text of ['', '.', 'abc', '1,5', '0.0000000001', 'NaN', 'Infinity', '1e', '0x10']) {
      expect(() => parseNanoUsd(text), text).toThrow(RangeError);
    }
  });

  it('formats with nine places, or as the shortest decimal', () => {
    expect(formatUsd(8_573_387n)).toBe('0.008573387');
    expect(formatUsd(-1n)).toBe('-0.000000001');
    expect(formatUsdShortest(2_500_000_000n)).toBe('2.5');
    expect(formatUsdShortest(0n)).toBe('0');
    expect(formatUsdShortest(100_000_000_000n)).toBe('100');
  });

  it('parses back what it formats, for every amount', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), (nano) => {
        expect(parseNanoUsd(formatUsd(nano))).toBe(nano);
        expect(parseNanoUsd(formatUsdShortest(nano))).toBe(nano);
      }),
    );
  });
});
