// A profile read from an engine: which ones it replaces, and that no priced window ever changes.
import { describe, expect, test } from 'vitest';
import { mergeEngineProfile, publishEngineProfile } from '#accounting/publish-engine-profile.ts';
import { fromProfileFemtos, toProfileFemtos } from '#attribution/profile-femtos.ts';
import type { ProfileSource } from '#domain/engine-profile.ts';
import type { FactBook } from '#domain/pool-facts.ts';
import { MemorySettlementStore } from '#test/support/memory-settlement-store.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const PROFILE = {
  iterationMs: 5,
  prefillTokenMs: 0.01,
  prefillContextMs: 1e-6,
  decodeStepMs: 0.02,
  contextTokenMs: 5e-5,
};
const update = { pool: 'pool-a', deployments: ['llama-8b'], profile: PROFILE, fitError: 0.03, samples: 70 };
const bookOf = (profileSource: ProfileSource, effectiveFrom = 0): FactBook => ({
  version: 1,
  pools: {
    'pool-a': [createPoolFacts({ effectiveFrom, deployments: { 'llama-8b': { ...DEPLOYMENT_FACTS, profileSource } } })],
  },
});
const at = { nowWindow: 100, frontier: 98 };

describe('which profiles it replaces', () => {
  test.each(['builtin', 'learned', 'engine'] as const)('%s: from two windows on', (source) => {
    const versions = mergeEngineProfile(bookOf(source), update, at)?.['pool-a'];
    expect(versions).toHaveLength(2);
    expect(versions?.[0]).toEqual(bookOf(source).pools['pool-a']?.[0]);
    expect(versions?.[1]).toMatchObject({
      effectiveFrom: 102,
      deployments: {
        'llama-8b': {
          profile: toProfileFemtos(PROFILE),
          profileSource: 'engine',
          profileFitError: 0.03,
          profileSamples: 70,
        },
      },
    });
  });

  test.each(['declared', 'calibrated'] as const)('%s: never', (source) => {
    expect(mergeEngineProfile(bookOf(source), update, at)).toBeNull();
  });

  test('the same again, another pool or another deployment: nothing', () => {
    const pools = mergeEngineProfile(bookOf('builtin'), update, at) ?? {};
    expect(mergeEngineProfile({ version: 2, pools }, update, { nowWindow: 200, frontier: 198 })).toBeNull();
    expect(mergeEngineProfile(bookOf('builtin'), { ...update, pool: 'pool-b' }, at)).toBeNull();
    expect(mergeEngineProfile(bookOf('builtin'), { ...update, deployments: ['toString'] }, at)).toBeNull();
  });

  test('a version lies beyond the frontier and the last one, whatever the clock says', () => {
    const pools = mergeEngineProfile(bookOf('builtin', 500), update, { nowWindow: 100, frontier: 600 });
    expect(pools?.['pool-a']?.[1]?.effectiveFrom).toBe(601);
    expect(mergeEngineProfile(bookOf('builtin', 900), update, at)?.['pool-a']?.[1]?.effectiveFrom).toBe(901);
  });
});

test('two processes that come to it at once store it once each, and both versions hold in turn', async () => {
  const store = new MemorySettlementStore({ now: () => 1e9 });
  await store.open();
  await store.join({ journal: 'A', incarnation: 1 });
  await store.putFacts(bookOf('builtin').pools, 0);
  const other = { ...update, profile: { ...PROFILE, iterationMs: 6 } };
  expect(await Promise.all([publishEngineProfile(store, update), publishEngineProfile(store, other)])).toEqual([
    true,
    true,
  ]);
  const versions = (await store.readFacts()).pools['pool-a'] ?? [];
  expect(versions.map(({ effectiveFrom }) => effectiveFrom)).toEqual([0, 1_000_002, 1_000_003]);
});

test('terms come back from integers as they were', () => {
  expect(fromProfileFemtos(toProfileFemtos(PROFILE))).toEqual(PROFILE);
});
