import type { FactBook, PoolFacts } from '#domain/pool-facts.ts';
import { hashPrices, sumPools } from '#reports/report-pools.ts';
import { describe, expect, test } from 'vitest';
import { createBook, DECEMBER, EXAMPLE_FACTS, NOVEMBER } from './sample-books.ts';

const PERIOD = { from: NOVEMBER, to: DECEMBER };
const POOL = 'llama-70b/trt-1';
const DAY = 86_400;

function createFacts(versions: readonly Partial<PoolFacts>[]): FactBook {
  const base = EXAMPLE_FACTS.pools[POOL]?.[0];
  if (base === undefined) throw new Error('the sample has facts');
  return { version: 2, pools: { [POOL]: versions.map((version) => ({ ...base, ...version })) } };
}

const price = (name: string, from: number, nanoUsdPerGpuHour: string) => ({
  name,
  from,
  nanoUsdPerGpuHour,
  source: '',
});

describe('the pools of a report', () => {
  test('name every price that was in force in the period, and none that was not', () => {
    const facts = createFacts([
      {
        prices: [
          price('old', NOVEMBER - 20 * DAY, '1'),
          price('before', NOVEMBER - DAY, '2'),
          price('during', NOVEMBER + DAY, '3'),
          price('after', DECEMBER, '4'),
        ],
      },
    ]);
    const [pool] = sumPools([createBook({})], facts, PERIOD);
    expect(pool?.prices.map(({ name }) => name)).toEqual(['before', 'during']);
  });

  test('a pool says how many windows its learned profile rests on, and the farthest its engine departed from a profile', () => {
    const deployment = (extra: object) => ({
      'llama-70b': {
        model: 'm',
        profile: { t0: '1', a: '1', halfQ: '1', d: '1', k: '1' },
        profileSource: 'learned' as const,
        profileFitError: 0.04,
        ...extra,
      },
    });
    const facts = createFacts([
      { effectiveFrom: 0, prices: [], deployments: deployment({ profileSamples: 60 }) },
      { effectiveFrom: NOVEMBER + 10, prices: [], deployments: deployment({ profileDrift: -0.31 }) },
      { effectiveFrom: NOVEMBER + 20, prices: [], deployments: deployment({ profileDrift: 0.2 }) },
      { effectiveFrom: NOVEMBER + 30, prices: [], deployments: deployment({ profileSamples: 900 }) },
    ]);
    const [pool] = sumPools([createBook({})], facts, PERIOD);
    expect(pool).toMatchObject({ profileSource: 'learned', profileSamples: 900, profileDrift: -0.31 });
  });

  test('a pool says which part of a declared prefill counted last, and nothing where none was measured', () => {
    const deployment = (extra: object) => ({
      'llama-70b': {
        model: 'm',
        profile: { t0: '1', a: '1', halfQ: '1', d: '1', k: '1' },
        profileSource: 'declared' as const,
        profileFitError: null,
        ...extra,
      },
    });
    const first = { effectiveFrom: 0, prices: [], deployments: deployment({}) };
    const then = [0.9, 0.8].map((prefillFactor, index) => ({
      effectiveFrom: NOVEMBER + 10 * (index + 1),
      prices: [],
      deployments: deployment({ prefillFactor }),
    }));
    const read = (facts: ReturnType<typeof createFacts>) => sumPools([createBook({})], facts, PERIOD)[0];
    expect(read(createFacts([first, ...then]))?.profilePrefillFactor).toBe(0.8);
    expect(read(createFacts([first]))?.profilePrefillFactor).toBeNull();
  });

  test('a version of the facts counts only while it was in force, the profile is the last one of the period', () => {
    const profile = (profileSource: 'builtin' | 'calibrated', profileFitError: number | null) => ({
      'llama-70b': {
        model: 'm',
        profile: { t0: '1', a: '1', halfQ: '1', d: '1', k: '1' },
        profileSource,
        profileFitError,
      },
    });
    const facts = createFacts([
      {
        effectiveFrom: 0,
        prices: [price('a', 0, '1'), price('b', NOVEMBER + 2 * DAY, '2')],
        deployments: profile('builtin', null),
      },
      { effectiveFrom: NOVEMBER + DAY, prices: [price('c', 0, '3')], deployments: profile('calibrated', 0.04) },
      { effectiveFrom: DECEMBER, prices: [price('d', 0, '4')], deployments: profile('builtin', null) },
    ]);
    const [pool] = sumPools([createBook({})], facts, PERIOD);
    expect(pool?.prices.map(({ name }) => name)).toEqual(['a', 'c']);
    expect([pool?.profileSource, pool?.profileFitError]).toEqual(['calibrated', 0.04]);
  });

  test('upstreams of one deployment are one line, shared GPUs and other GPU models are lines of their own', () => {
    const books = [
      createBook({ pool: 'p1' }, { capacityNanoUsd: 1n }),
      createBook({ pool: 'p2', hour: NOVEMBER + 3600 }, { capacityNanoUsd: 2n }),
      createBook({ pool: 'p3', deployments: 'gemma+llama-70b' }, { capacityNanoUsd: 4n }),
      createBook({ pool: 'p4', gpu: 'A100' }, { capacityNanoUsd: 8n }),
    ];
    const pools = sumPools(books, { version: 0, pools: {} }, PERIOD);
    expect(pools.map(({ deployment, gpu, capacityNanoUsd }) => [deployment, gpu, capacityNanoUsd])).toEqual([
      ['gemma+llama-70b', 'H100-SXM', 4n],
      ['llama-70b', 'A100', 8n],
      ['llama-70b', 'H100-SXM', 3n],
    ]);
    expect(pools[0]).toMatchObject({ prices: [], profileSource: null, profileFitError: null });
  });

  test('pending is what is charged and not claimed', () => {
    const [pool] = sumPools([createBook({}, { chargedNanoUsd: 7n, claimedNanoUsd: 5n })], EXAMPLE_FACTS, PERIOD);
    expect(pool?.pendingNanoUsd).toBe(2n);
  });

  test('the price set changes with any price and with nothing else', () => {
    const hashOf = (nanoUsd: string, capacityNanoUsd = 1n) =>
      hashPrices(
        sumPools([createBook({}, { capacityNanoUsd })], createFacts([{ prices: [price('a', 0, nanoUsd)] }]), PERIOD),
      );
    expect(hashOf('1')).toBe(hashOf('1', 2n));
    expect(hashOf('1')).not.toBe(hashOf('2'));
  });
});
