// Fact changes: when they hold, what is refused, what other members keep.
import { describe, expect, test } from 'vitest';
import { mergeFacts, storeFacts, type FactChange } from '#accounting/change-facts.ts';
import type { WantedFacts } from '#accounting/pool-facts-from-config.ts';
import { scalePrefill } from '#attribution/prefill-factor.ts';
import type { DeploymentFacts, FactBook, PoolFacts, PriceEntry } from '#domain/pool-facts.ts';
import { createFreezeInput, createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const NOW = 1_000_000;

function wantedOf(...facts: readonly PoolFacts[]): ReadonlyMap<string, WantedFacts> {
  return new Map(
    facts.map((versioned) => {
      const { effectiveFrom: _, ...wanted } = versioned;
      return [wanted.pool, wanted];
    }),
  );
}

function bookOf(...versions: readonly PoolFacts[]): FactBook {
  return { version: 3, pools: { 'pool-a': versions } };
}

function priceOf(from: number, usd: number, name = 'h100'): PriceEntry {
  return { name, from, nanoUsdPerGpuHour: (usd * 1e9).toString(), source: 'test' };
}

function merge(overrides: Partial<FactChange>) {
  return mergeFacts({
    book: { version: 0, pools: {} },
    wanted: new Map(),
    nowWindow: NOW,
    frontier: NOW - 3,
    otherMembers: false,
    ...overrides,
  });
}

const stored = createPoolFacts();

describe('from when', () => {
  test('a new pool holds from now', () => {
    const { pools, changed } = merge({ wanted: wantedOf(stored) });
    expect(changed).toBe(true);
    expect(pools['pool-a']?.map((facts) => facts.effectiveFrom)).toEqual([NOW]);
  });

  test('a changed pool holds two windows from now and its old version stays as it was', () => {
    const { pools } = merge({ book: bookOf(stored), wanted: wantedOf({ ...stored, gpuMillionths: 2_000_000 }) });
    expect(pools['pool-a']).toEqual([stored, { ...stored, gpuMillionths: 2_000_000, effectiveFrom: NOW + 2 }]);
  });

  test('a version never holds at or before the frontier, nor before the one it follows', () => {
    const ahead = merge({ wanted: wantedOf(stored), frontier: NOW + 5 });
    expect(ahead.pools['pool-a']?.[0]?.effectiveFrom).toBe(NOW + 6);
    const pending = { ...stored, gpuMillionths: 3, effectiveFrom: NOW + 2 };
    const { pools } = merge({ book: bookOf(stored, pending), wanted: wantedOf({ ...stored, gpuMillionths: 4 }) });
    expect(pools['pool-a']?.map((facts) => facts.effectiveFrom)).toEqual([0, NOW + 2, NOW + 3]);
  });

  test('the same facts in another order of keys change nothing', () => {
    const reordered = Object.fromEntries(Object.entries(stored).toReversed()) as unknown as PoolFacts;
    expect(merge({ book: bookOf(stored), wanted: wantedOf(reordered) })).toMatchObject({
      changed: false,
      refusals: [],
    });
  });
});

describe('leaving', () => {
  test('a pool that left the configuration becomes inactive when nobody else settles', () => {
    const { pools } = merge({ book: bookOf(stored) });
    expect(pools['pool-a']?.at(-1)).toEqual({ ...stored, active: false, effectiveFrom: NOW + 2 });
    expect(merge({ book: { version: 4, pools } }).changed).toBe(false);
  });

  test('pools and deployments that only other members know stay', () => {
    expect(merge({ book: bookOf(stored), otherMembers: true }).changed).toBe(false);
    const wanted = wantedOf({ ...stored, deployments: { mine: DEPLOYMENT_FACTS } });
    const shared = merge({ book: bookOf(stored), wanted, otherMembers: true });
    expect(Object.keys(shared.pools['pool-a']?.at(-1)?.deployments ?? {})).toEqual(['llama-8b', 'mine']);
    const alone = merge({ book: bookOf(stored), wanted });
    expect(Object.keys(alone.pools['pool-a']?.at(-1)?.deployments ?? {})).toEqual(['mine']);
  });

  test('a pool that a gateway saw leave ends for all, once, though the others stay members', () => {
    const wanted = wantedOf({ ...stored, active: false });
    const { pools } = merge({ book: bookOf(stored), wanted, otherMembers: true });
    expect(pools['pool-a']?.at(-1)).toEqual({ ...stored, active: false, effectiveFrom: NOW + 2 });
    const again = merge({ book: { version: 4, pools }, wanted, otherMembers: true, nowWindow: NOW + 100 });
    expect(again.changed).toBe(false);
  });

  test('a pool that a reload took out of one configuration ends for all, and comes back with whoever still has it', () => {
    const { pools } = merge({ book: bookOf(stored), otherMembers: true, left: new Set(['pool-a']) });
    expect(pools['pool-a']?.at(-1)).toEqual({ ...stored, active: false, effectiveFrom: NOW + 2 });
    const book = { version: 4, pools };
    expect(merge({ book, otherMembers: true, left: new Set(['pool-a']) }).changed).toBe(false);
    const kept = merge({ book, wanted: wantedOf(stored), otherMembers: true, nowWindow: NOW + 100 });
    expect(kept.pools['pool-a']?.at(-1)).toEqual({ ...stored, effectiveFrom: NOW + 102 });
  });

  test('a pool that comes back is active again', () => {
    const gone = { ...stored, active: false, effectiveFrom: 10 };
    const { pools } = merge({ book: bookOf(stored, gone), wanted: wantedOf(stored) });
    expect(pools['pool-a']?.at(-1)).toEqual({ ...stored, effectiveFrom: NOW + 2 });
  });
});

describe('prices', () => {
  const withPrices = (prices: readonly PriceEntry[]) => ({ ...stored, prices });
  const book = bookOf(withPrices([priceOf(0, 2.5)]));

  test('another amount for time that is priced is refused, says what to do, and the book keeps its price', () => {
    const result = merge({ book, wanted: wantedOf(withPrices([priceOf(0, 3)])) });
    expect(result.changed).toBe(false);
    expect(result.refusals).toEqual([
      'The price "h100" from 1970-01-01T00:00:00Z was changed from 2.5 to 3 USD, but that time is already priced. ' +
        'Hours already priced keep their price, so the schedule in the store stays in force. ' +
        'Add an entry of "h100" with a `from` after 1970-01-12T13:46:42Z instead, or name a new price.',
    ]);
  });

  test('a new entry in the past is refused even where the rest of the pool changes', () => {
    const wanted = wantedOf({ ...withPrices([priceOf(0, 2.5), priceOf(NOW, 9)]), gpuMillionths: 8 });
    const { pools, refusals } = merge({ book, wanted });
    expect(refusals).toHaveLength(1);
    expect(pools['pool-a']?.at(-1)).toMatchObject({ gpuMillionths: 8, prices: [priceOf(0, 2.5)] });
  });

  test('an entry is taken from the first window that its version can price, not one before', () => {
    const at = (from: number) => merge({ book, wanted: wantedOf(withPrices([priceOf(0, 2.5), priceOf(from, 9)])) });
    expect(at(NOW + 1).refusals).toHaveLength(1);
    expect(at(NOW + 2)).toMatchObject({ changed: true, refusals: [] });
  });

  test('removing the entry in force is refused, removing one long replaced is not', () => {
    const both = bookOf(withPrices([priceOf(0, 2.5), priceOf(500, 2)]));
    expect(merge({ book: both, wanted: wantedOf(withPrices([priceOf(0, 2.5)])) }).refusals).toHaveLength(1);
    expect(merge({ book: both, wanted: wantedOf(withPrices([priceOf(500, 2)])) }).refusals).toEqual([]);
  });

  test('moving a pool to another price name holds from now on', () => {
    const { pools, refusals } = merge({ book, wanted: wantedOf(withPrices([priceOf(0, 9, 'new')])) });
    expect(refusals).toEqual([]);
    expect(pools['pool-a']?.at(-1)).toMatchObject({ effectiveFrom: NOW + 2, prices: [priceOf(0, 9, 'new')] });
  });

  test('a new pool cannot bring a back-dated schedule of a price the book knows', () => {
    const other = { ...withPrices([priceOf(0, 1)]), pool: 'pool-b' };
    const { pools, refusals } = merge({ book, wanted: wantedOf(stored, other) });
    expect(refusals).toHaveLength(1);
    expect(pools['pool-b']?.[0]?.prices).toEqual([priceOf(0, 2.5)]);
  });
});

describe('storeFacts', () => {
  test('a lost race is merged again onto what the winner stored', async () => {
    let facts: FactBook = { version: 0, pools: {} };
    let puts = 0;
    const store = {
      readFreezeInput: async () => createFreezeInput({ facts, nowMs: NOW * 1000, frontier: NOW - 3 }),
      putFacts: async (pools: FactBook['pools'], expected: number) => {
        puts += 1;
        if (puts === 1) facts = { version: 1, pools: { theirs: [createPoolFacts({ pool: 'theirs' })] } };
        if (expected !== facts.version) return 'stale' as const;
        facts = { version: expected + 1, pools };
        return 'stored' as const;
      },
    };
    const options = { store, journal: 'mine', wanted: wantedOf(stored) };
    const { book } = await storeFacts(options);
    expect(book).toEqual(facts);
    expect(Object.keys(book.pools).toSorted()).toEqual(['pool-a', 'theirs']);
    await storeFacts(options);
    expect(puts).toBe(2);
  });

  test('races without end become an error', async () => {
    const store = {
      readFreezeInput: async () => createFreezeInput({ facts: { version: 0, pools: {} } }),
      putFacts: async () => 'stale' as const,
    };
    await expect(storeFacts({ store, journal: 'mine', wanted: wantedOf(stored) })).rejects.toThrow('kept changing');
  });
});

describe('a measured profile', () => {
  const guessed = { ...DEPLOYMENT_FACTS, profileSource: 'builtin' as const };
  const learned = {
    ...DEPLOYMENT_FACTS,
    profile: { ...DEPLOYMENT_FACTS.profile, t0: '9000000000000' },
    profileSource: 'learned' as const,
    profileFitError: 0.03,
    profileSamples: 900,
  };
  const inBook = createPoolFacts({ deployments: { 'llama-8b': learned } });

  test('stays where the configuration has none: a restart or a reload makes no new version', () => {
    const wanted = wantedOf(createPoolFacts({ deployments: { 'llama-8b': guessed } }));
    expect(merge({ book: bookOf(inBook), wanted }).changed).toBe(false);
  });

  test('gives way to one that the configuration declares', () => {
    const { pools } = merge({ book: bookOf(inBook), wanted: wantedOf(createPoolFacts()) });
    expect(pools['pool-a']?.at(-1)?.deployments['llama-8b']).toEqual(DEPLOYMENT_FACTS);
  });

  test.each([
    ['GPU', { gpu: 'L40S' }],
    ['number of GPUs', { gpuMillionths: 4_000_000 }],
    ['model', { deployments: { 'llama-8b': { ...guessed, model: 'qwen-7b' } } }],
  ])('is not taken over to another %s', (_name, change) => {
    const wanted = wantedOf(createPoolFacts({ deployments: { 'llama-8b': guessed }, ...change }));
    const { pools } = merge({ book: bookOf(inBook), wanted });
    expect(pools['pool-a']?.at(-1)?.deployments['llama-8b']?.profileSource).toBe('builtin');
  });

  test('the mark that an engine departs from its declared profile outlives a reload, not another profile', () => {
    const marked = createPoolFacts({ deployments: { 'llama-8b': { ...DEPLOYMENT_FACTS, profileDrift: 0.2 } } });
    expect(merge({ book: bookOf(marked), wanted: wantedOf(createPoolFacts()) }).changed).toBe(false);
    const other = { ...DEPLOYMENT_FACTS, profile: { ...DEPLOYMENT_FACTS.profile, t0: '1' } };
    const { pools } = merge({
      book: bookOf(marked),
      wanted: wantedOf(createPoolFacts({ deployments: { 'llama-8b': other } })),
    });
    expect(pools['pool-a']?.at(-1)?.deployments['llama-8b']).toEqual(other);
  });
});

describe('a measured part of a declared prefill', () => {
  const { profile } = DEPLOYMENT_FACTS;
  const factored = { ...DEPLOYMENT_FACTS, profile: scalePrefill(profile, 0.83), prefillFactor: 0.83 };
  const inBook = createPoolFacts({ deployments: { 'llama-8b': factored } });
  const last = (wanted: PoolFacts) => merge({ book: bookOf(inBook), wanted: wantedOf(wanted) }).pools['pool-a']?.at(-1);

  test('stays while the configuration declares the same terms: a restart or a reload makes no new version', () => {
    expect(merge({ book: bookOf(inBook), wanted: wantedOf(createPoolFacts()) }).changed).toBe(false);
    const marked = createPoolFacts({ deployments: { 'llama-8b': { ...factored, profileDrift: 0.2 } } });
    expect(merge({ book: bookOf(marked), wanted: wantedOf(createPoolFacts()) }).changed).toBe(false);
  });

  test('stays where the configuration now says that the same terms were calibrated', () => {
    const wanted = { ...DEPLOYMENT_FACTS, profileSource: 'calibrated' as const, profileFitError: 0.01 };
    expect(last(createPoolFacts({ deployments: { 'llama-8b': wanted } }))?.deployments['llama-8b']).toEqual({
      ...wanted,
      profile: factored.profile,
      prefillFactor: 0.83,
    });
  });

  test.each(['t0', 'a', 'halfQ', 'd', 'k'] as const)('goes where the configuration declares another %s', (name) => {
    const wanted = { ...DEPLOYMENT_FACTS, profile: { ...profile, [name]: '77' } };
    expect(last(createPoolFacts({ deployments: { 'llama-8b': wanted } }))?.deployments['llama-8b']).toEqual(wanted);
  });

  test.each([
    ['GPU', { gpu: 'L40S' }],
    ['number of GPUs', { gpuMillionths: 4_000_000 }],
    ['model', { deployments: { 'llama-8b': { ...DEPLOYMENT_FACTS, model: 'qwen-7b' } } }],
    ['wish, to have the terms fixed', { deployments: { 'llama-8b': { ...DEPLOYMENT_FACTS, profileFixed: true } } }],
  ] as const)('goes with another %s', (_name, change) => {
    const deployment = last(createPoolFacts(change))?.deployments['llama-8b'];
    expect(deployment?.profile).toEqual(profile);
    expect(deployment).not.toHaveProperty('prefillFactor');
  });

  test('is that of a further deployment of the same engine with the same terms, and of none with others', () => {
    const adapter = { ...DEPLOYMENT_FACTS, model: 'llama-8b-sql' };
    const other = { ...adapter, profile: { ...profile, t0: '1' } };
    const deployments = { 'llama-8b': DEPLOYMENT_FACTS, adapter, other };
    expect(last(createPoolFacts({ deployments }))?.deployments).toEqual({
      'llama-8b': factored,
      adapter: { ...factored, model: 'llama-8b-sql' },
      other,
    });
  });
});

test('a deployment that fixes its terms takes the part of prefill from all with these terms on its engine', () => {
  const { profile } = DEPLOYMENT_FACTS;
  const factored = { ...DEPLOYMENT_FACTS, profile: scalePrefill(profile, 0.83), prefillFactor: 0.83 };
  const other = { ...DEPLOYMENT_FACTS, profile: { ...profile, t0: '1' } };
  const otherFactored = { ...other, profile: scalePrefill(other.profile, 0.9), prefillFactor: 0.9 };
  const book = bookOf(
    createPoolFacts({ deployments: { 'llama-8b': factored, adapter: factored, other: otherFactored } }),
  );
  const adapter = { ...DEPLOYMENT_FACTS, profileFixed: true as const };
  const wanted = wantedOf(createPoolFacts({ deployments: { 'llama-8b': DEPLOYMENT_FACTS, adapter, other } }));
  expect(merge({ book, wanted }).pools['pool-a']?.at(-1)?.deployments).toEqual({
    'llama-8b': DEPLOYMENT_FACTS,
    adapter,
    other: otherFactored,
  });
  const marked = createPoolFacts({ deployments: { adapter: { ...adapter, profileDrift: 0.2 } } });
  expect(merge({ book: bookOf(marked), wanted: wantedOf(createPoolFacts({ deployments: { adapter } })) }).changed).toBe(
    false,
  );
});

describe('a further replica of a deployment', () => {
  const { profile } = DEPLOYMENT_FACTS;
  const factored = { ...DEPLOYMENT_FACTS, profile: scalePrefill(profile, 0.83), prefillFactor: 0.83 };
  const learned = { ...DEPLOYMENT_FACTS, profile: { ...profile, t0: '9' }, profileSource: 'learned' as const };
  const guessed = { ...DEPLOYMENT_FACTS, profileSource: 'builtin' as const };
  const poolOf = (facts: DeploymentFacts, more: Partial<PoolFacts> = {}) =>
    createPoolFacts({ deployments: { 'llama-8b': facts }, ...more });
  const joined = (there: DeploymentFacts, wanted: DeploymentFacts, more: Partial<PoolFacts> = {}) =>
    merge({
      book: bookOf(poolOf(there)),
      wanted: wantedOf(poolOf(wanted), poolOf(wanted, { pool: 'pool-b', ...more })),
    }).pools['pool-b'];

  test.each([
    ['the measured part of prefill', factored, DEPLOYMENT_FACTS],
    ['the learned profile', learned, guessed],
  ])('is priced by %s of those that are there', (_name, there, wanted) => {
    expect(joined(there, wanted)).toEqual([poolOf(there, { pool: 'pool-b', effectiveFrom: NOW })]);
  });

  test.each([
    ['another GPU', { gpu: 'L40S' }],
    ['more GPUs', { gpuMillionths: 2_000_000 }],
  ])('on %s begins with what the configuration says', (_name, more) => {
    expect(joined(factored, DEPLOYMENT_FACTS, more)?.[0]?.deployments['llama-8b']).toEqual(DEPLOYMENT_FACTS);
  });

  test('that was away is priced by what was measured meanwhile, and one that leaves makes no versions', () => {
    const gone = poolOf(DEPLOYMENT_FACTS, { pool: 'pool-b', active: false, effectiveFrom: 50 });
    const book: FactBook = { version: 3, pools: { 'pool-b': [gone], 'pool-a': [poolOf(factored)] } };
    const back = wantedOf(createPoolFacts(), poolOf(DEPLOYMENT_FACTS, { pool: 'pool-b' }));
    expect(merge({ book, wanted: back }).pools['pool-b']?.at(-1)?.deployments['llama-8b']).toEqual(factored);
    const still = wantedOf(createPoolFacts(), poolOf(DEPLOYMENT_FACTS, { pool: 'pool-b', active: false }));
    expect(merge({ book, wanted: still }).changed).toBe(false);
  });
});
