import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decimal, dollars, duration, gpuMillionths, integer, text } from '#config/schema-leaf.ts';
import { nearestWord } from '#config/schema-section.ts';
import { loadValid, MINIMAL, problemsOf } from './config-file.ts';

describe('money', () => {
  test('every amount of nanodollars survives being written as dollars', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 100_000_000_000_000n }), (nanoUsd) => {
        const written = `${nanoUsd / 1_000_000_000n}.${String(nanoUsd % 1_000_000_000n).padStart(9, '0')}`;
        expect(dollars(100_000).parse(written)).toBe(nanoUsd);
      }),
    );
  });

  test('a YAML number is read by its digits, not through a float', () => {
    const config = loadValid(MINIMAL.replace('2.50', '98765.123456789'));
    expect(config.prices[0]?.nanoUsdPerGpuHour).toBe(98_765_123_456_789n);
  });

  test.each(['2.1234567891', '-1', '1e3', 'NaN', '.', '', 'two', '100000.000000001', '0x10', '2,5'])(
    '%s dollars are refused',
    (written) => {
      expect(problemsOf(MINIMAL.replace('2.50', `"${written}"`))).toEqual([
        expect.stringMatching(/^3 prices\[0]\.usdPerGpuHour: expected dollars/),
      ]);
    },
  );

  test.each(['0', '2.', '.5', '2.500000000', '100000'])('%s dollars are accepted', (written) => {
    expect(dollars(100_000).safeParse(written).success).toBe(true);
  });
});

describe('GPUs', () => {
  test('a fraction of a GPU is exact to the millionth', () => {
    expect(gpuMillionths(8).parse('0.142857')).toBe(142_857);
    expect(gpuMillionths(8).parse('0.3')).toBe(300_000);
    expect(gpuMillionths(8).parse('8')).toBe(8_000_000);
  });

  test.each(['0', '0.1234567', '-1', '9', 'many'])('%s of at most 8 GPUs is refused', (written) => {
    expect(gpuMillionths(8).safeParse(written).success).toBe(false);
  });
});

describe('durations', () => {
  const any = duration({ minMs: 0, maxMs: 10 ** 12 });

  test.each([
    ['250ms', 250],
    ['1.5s', 1500],
    ['15m', 900_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
    ['0s', 0],
    ['0', 0],
  ])('%s is %d ms', (written, expected) => {
    expect(any.parse(written)).toBe(expected);
  });

  test.each(['30', 's', '5 s', '5 sec', '-5s', '1h30m', '1e3s', 'Infinitys', ''])('%j is refused', (written) => {
    expect(any.safeParse(written).success).toBe(false);
  });

  test('the bounds belong to the range and stand in the message', () => {
    const bounded = duration({ minMs: 1000, maxMs: 60_000 });
    expect(bounded.safeParse('1s').success && bounded.safeParse('1m').success).toBe(true);
    expect(bounded.safeParse('61s').error?.issues[0]?.message).toBe('expected a duration from 1s to 1m, found "61s"');
    expect(bounded.safeParse('999ms').success).toBe(false);
  });
});

test('not a number, infinity and fractions are no whole numbers', () => {
  for (const value of [Number.NaN, Infinity, 1.5, '1', true, null, [], {}])
    expect(integer(0, 10).safeParse(value).success).toBe(false);
  for (const value of [Number.NaN, Infinity, -1, '1'])
    expect(decimal(0, 10, 'ms').safeParse(value).success).toBe(false);
});

test('a long wrong value is cut in the message', () => {
  const message = text({ pattern: /^x$/ }).safeParse('y'.repeat(500)).error?.issues[0]?.message ?? '';
  expect(message.length).toBeLessThan(120);
});

test.each([
  ['hots', 'host'],
  ['Port', 'port'],
  ['gpuPerReplica', 'gpusPerReplica'],
  ['colour', undefined],
  ['x'.repeat(1000), undefined],
])('the nearest key to %s is %s', (word, expected) => {
  expect(nearestWord(word, ['host', 'port', 'gpusPerReplica', 'tls'])).toBe(expected);
});
