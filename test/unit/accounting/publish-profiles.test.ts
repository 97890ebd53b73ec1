// Measured terms becoming versions of the fact book: of which profiles, from when, and never twice by two processes at one moment.
import { describe, expect, test } from 'vitest';
import { mergeProfiles, type ProfileUpdate } from '#accounting/publish-profiles.ts';
import { scalePrefill } from '#attribution/prefill-factor.ts';
import type { DeploymentFacts, FactBook } from '#domain/pool-facts.ts';
import { createPoolFacts, DEPLOYMENT_FACTS } from '#test/support/settlement-facts.ts';

const { profile: declared } = DEPLOYMENT_FACTS;
const at = { nowWindow: 100, frontier: 98 };

function bookOf(facts: Partial<DeploymentFacts> = {}, effectiveFrom = 0): FactBook {
  const deployments = { 'llama-8b': { ...DEPLOYMENT_FACTS, ...facts } };
  return { version: 1, pools: { 'pool-a': [createPoolFacts({ effectiveFrom, deployments })] } };
}

function updateOf(factor: number, more: Partial<ProfileUpdate> = {}): ProfileUpdate {
  const prefill = { declared, factor, error: 0.02, samples: 90 };
  return { deployments: ['llama-8b'], learned: null, prefill, drift: null, ...more };
}

function after(book: FactBook, update: ProfileUpdate) {
  return mergeProfiles(book, [update], at)?.['pool-a']?.at(-1)?.deployments['llama-8b'];
}

const factored = { profile: scalePrefill(declared, 0.8), prefillFactor: 0.8 };

describe('a part of prefill', () => {
  test('prices from two windows on, the versions before stay, and the drift mark of the terms before goes', () => {
    const book = bookOf({ profileDrift: -0.2 });
    const versions = mergeProfiles(book, [updateOf(0.8)], at)?.['pool-a'];
    expect(versions?.[0]).toEqual(book.pools['pool-a']?.[0]);
    expect(versions?.[1]).toEqual(
      createPoolFacts({ effectiveFrom: 102, deployments: { 'llama-8b': { ...DEPLOYMENT_FACTS, ...factored } } }),
    );
  });

  test('is always of the declared terms, not of the part before', () => {
    expect(after(bookOf(factored), updateOf(0.7))?.profile).toEqual(scalePrefill(declared, 0.7));
  });

  test('that is all of it leaves the facts as they were declared', () => {
    expect(after(bookOf(factored), updateOf(1))).toEqual(DEPLOYMENT_FACTS);
  });

  test.each([
    ['is fixed', { profileFixed: true as const }],
    ['was declared anew meanwhile', { profile: { ...declared, t0: '1' } }],
    ['is learned', { profileSource: 'learned' as const }],
    ['is the engine’s own', { profileSource: 'engine' as const }],
    ['is built in', { profileSource: 'builtin' as const }],
  ])('is not applied to a profile that %s', (_why, facts) => {
    expect(mergeProfiles(bookOf(facts), [updateOf(0.8)], at)).toBeNull();
  });

  test('does not take the place of one that another process applied a moment ago, nor of the same', () => {
    const versions = [...(bookOf().pools['pool-a'] ?? []), ...(bookOf(factored, 90).pools['pool-a'] ?? [])];
    expect(mergeProfiles({ version: 2, pools: { 'pool-a': versions } }, [updateOf(0.7)], at)).toBeNull();
    // A replica that came since has the terms of the others: neither waits for, nor departs from, what they get.
    const [joined] = bookOf(factored, 95).pools['pool-a'] ?? [];
    const replicas = { 'pool-b': joined === undefined ? [] : [{ ...joined, pool: 'pool-b' }], 'pool-a': versions };
    expect(mergeProfiles({ version: 3, pools: replicas }, [updateOf(0.7)], at)).toBeNull();
    expect(mergeProfiles(bookOf(factored), [updateOf(0.8)], at)).toBeNull();
  });

  test('comes to all replicas at once, also to one that joined, or got another price, a moment ago', () => {
    const [old] = bookOf(factored).pools['pool-a'] ?? [];
    const [joined] = bookOf(factored, 95).pools['pool-a'] ?? [];
    if (old === undefined || joined === undefined) throw new Error('no facts');
    const pools = {
      'pool-a': [old],
      'pool-b': [{ ...joined, pool: 'pool-b' }],
      'pool-c': [
        { ...old, pool: 'pool-c' },
        { ...joined, pool: 'pool-c', prices: [] },
      ],
    };
    const next = mergeProfiles({ version: 3, pools }, [updateOf(0.7)], at) ?? {};
    const factors = Object.values(next).map((versions) => versions.at(-1)?.deployments['llama-8b']?.prefillFactor);
    expect(factors).toEqual([0.7, 0.7, 0.7]);
  });

  test('comes with the mark of a drift that lasts where the terms stay as they are', () => {
    expect(after(bookOf(factored), updateOf(0.8, { drift: 0.3 }))).toEqual({
      ...DEPLOYMENT_FACTS,
      ...factored,
      profileDrift: 0.3,
    });
  });

  test('comes to the engines it was measured of, not to one that has an adapter besides', () => {
    const [plain] = bookOf().pools['pool-a'] ?? [];
    if (plain === undefined) throw new Error('no facts');
    const deployments = { ...plain.deployments, adapter: DEPLOYMENT_FACTS };
    const pools = { 'pool-a': [plain], 'pool-b': [{ ...plain, pool: 'pool-b', deployments }] };
    const next = mergeProfiles({ version: 2, pools }, [updateOf(0.8)], at);
    expect(next?.['pool-a']).toHaveLength(2);
    expect(next?.['pool-b']).toEqual(pools['pool-b']);
  });
});
