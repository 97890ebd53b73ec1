import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PriceConfig } from '#config/config.ts';
import { priceInForce, priceSchedule, pricesInForce } from '#config/price-book.ts';
import { loadText, loadValid, MINIMAL, problemsOf, warningsOf } from './config-file.ts';

const price = (name: string, fromMs: number, nanoUsdPerGpuHour = 1n): PriceConfig => ({
  name,
  gpu: 'H100',
  nanoUsdPerGpuHour,
  usdPerGpuHour: '',
  fromMs,
  from: '',
  source: '',
});

test('a price holds from its first millisecond until the next one of its name begins', () => {
  const prices = [price('a', 2000, 20n), price('a', 1000, 10n), price('b', 1500, 99n)];
  expect([999, 1000, 1999, 2000].map((atMs) => priceInForce(prices, 'a', atMs)?.nanoUsdPerGpuHour)).toEqual([
    undefined,
    10n,
    10n,
    20n,
  ]);
  expect(priceSchedule(prices, 'a').map(({ fromMs }) => fromMs)).toEqual([1000, 2000]);
  expect(priceSchedule(prices, 'c')).toEqual([]);
});

test('of a name that the store knows its schedule holds, of others the file', () => {
  const facts = {
    effectiveFrom: 1,
    active: true,
    gpu: 'H100',
    gpuMillionths: 1_000_000,
    provisioned: { kind: 'always' },
    deployments: {},
  } as const;
  const entry = (from: number, nanoUsdPerGpuHour: string) => ({ name: 'a', from, nanoUsdPerGpuHour, source: 's' });
  const older = { ...facts, pool: 'p', prices: [entry(1, '10')] };
  const newer = { ...facts, pool: 'q', effectiveFrom: 2, prices: [entry(1, '10'), entry(5, '2500000000')] };
  const inForce = pricesInForce([price('a', 1000, 99n), price('a', 4000, 98n), price('b', 1500, 97n)], {
    version: 3,
    pools: { q: [newer], p: [older] },
  });
  expect(inForce.map(({ name, fromMs, nanoUsdPerGpuHour }) => [name, fromMs, nanoUsdPerGpuHour])).toEqual([
    ['a', 1000, 10n],
    ['a', 5000, 2_500_000_000n],
    ['b', 1500, 97n],
  ]);
  expect(inForce[1]).toMatchObject({ usdPerGpuHour: '2.5', from: '1970-01-01T00:00:05.000Z', source: 's' });
});

test('the price in force is the last step of the schedule that has begun', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 0, max: 1000 })),
      fc.integer({ min: 0, max: 1000 }),
      (starts, atMs) => {
        const prices = starts.map((fromMs) => price('a', fromMs));
        const expected = priceSchedule(prices, 'a').findLast(({ fromMs }) => fromMs <= atMs);
        expect(priceInForce(prices, 'a', atMs)?.fromMs).toBe(expected?.fromMs);
      },
    ),
  );
});

const withPrices = (...entries: readonly string[]): string =>
  MINIMAL.replace(/ {2}- \{ name: h100.*\n/, entries.map((entry) => `  - { ${entry} }\n`).join(''));

test('several entries of one name are one price over time, not two candidates', () => {
  const config = loadValid(
    withPrices(
      'name: h100, gpu: H100-SXM, usdPerGpuHour: 3, from: 2025-01-01',
      'name: h100, gpu: H100-SXM, usdPerGpuHour: 2.5, from: 2026-01-01T00:00:00+01:00',
    ),
  );
  expect(config.deployments[0]?.priceName).toBe('h100');
  expect(config.prices.map(({ fromMs }) => fromMs)).toEqual([Date.UTC(2025, 0, 1), Date.UTC(2025, 11, 31, 23)]);
});

test('two prices in force for one GPU are a problem that names both, unless the deployment names one', () => {
  const text = withPrices(
    'name: reserved, gpu: H100-SXM, usdPerGpuHour: 2, from: 2026-01-01',
    'name: spot, gpu: H100-SXM, usdPerGpuHour: 1, from: 2026-01-01',
  );
  expect(problemsOf(text)).toEqual([
    '8 deployments[0]: 2 prices are in force for H100-SXM (reserved, spot): name one with price:',
  ]);
  expect(loadValid(`${text}    price: spot\n`).deployments[0]?.priceName).toBe('spot');
});

test('a price that begins later is not in force', () => {
  const text = withPrices('name: next, gpu: H100-SXM, usdPerGpuHour: 2, from: 2027-01-01');
  expect(problemsOf(text)).toEqual(['7 deployments[0]: no price is in force for H100-SXM: next begins later']);
  expect(problemsOf(`${text}    price: next\n`)[0]).toContain(
    'price next is not in force yet: its first entry begins 2027-01-01',
  );
});

test('a second price that begins later does not compete today', () => {
  const text = withPrices(
    'name: now, gpu: H100-SXM, usdPerGpuHour: 2, from: 2026-01-01',
    'name: next, gpu: H100-SXM, usdPerGpuHour: 1, from: 2027-01-01',
  );
  expect(loadValid(text).deployments[0]?.priceName).toBe('now');
});

test('an unknown price name lists the book', () => {
  expect(problemsOf(`${MINIMAL}    price: h200\n`)).toEqual([
    '12 deployments[0].price: no price is named h200: the price book has h100 (H100-SXM)',
  ]);
});

test('one name never begins twice at the same instant, and never prices two GPU models', () => {
  const entry = 'name: h100, gpu: H100-SXM, usdPerGpuHour: 2, from: 2026-01-01';
  expect(problemsOf(withPrices(entry, entry.replace('2026-01-01', '2026-01-01T00:00:00Z')))[0]).toContain(
    'begins at the same instant',
  );
  expect(problemsOf(withPrices(entry, 'name: h100, gpu: L40S, usdPerGpuHour: 1, from: 2026-02-01'))[0]).toContain(
    'are for H100-SXM',
  );
});

test('a broken price entry does not also blame the deployments', () => {
  expect(problemsOf(MINIMAL.replace('2026-01-01', '2026-02-31'))).toEqual([
    '3 prices[0].from: expected a date such as 2026-01-01 or an RFC 3339 instant with its offset',
  ]);
  expect(problemsOf(MINIMAL.replace('2.50', 'cheap'))).toHaveLength(1);
});

test('a price for another GPU model is used when named, with a warning', () => {
  const text = withPrices('name: other, gpu: H200, usdPerGpuHour: 2') + '    price: other\n';
  expect(loadText(text).ok).toBe(true);
  expect(warningsOf(text)[0]).toContain('price other is for H200, the deployment runs on H100-SXM');
});
