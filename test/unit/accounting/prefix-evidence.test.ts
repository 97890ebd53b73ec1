// What is believed of a prefix cache by hits and misses at known distances.
import { assert, integer, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PrefixEvidence } from '#accounting/prefix-evidence.ts';

/** Distances spread evenly over octaves from 64 to 2^22 tokens, in an order that is not theirs. */
function distancesOf(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => 2 ** (6 + 16 * ((index * 0.618_034) % 1)));
}

describe('the evidence of a prefix cache', () => {
  test('without hits nothing is believed, however many misses there are', () => {
    const evidence = new PrefixEvidence();
    expect(evidence.capacityTokens).toBe(0);
    for (const distance of distancesOf(100)) evidence.addTrial(distance, false);
    expect(evidence.capacityTokens).toBe(0);
  });

  test('two hits may be chance, three are believed', () => {
    const evidence = new PrefixEvidence();
    for (const [count, isKnown] of [
      [1, false],
      [2, false],
      [3, true],
    ] as const) {
      evidence.addTrial(5000, true);
      expect(evidence.capacityTokens > 5000, String(count)).toBe(isKnown);
    }
  });

  test('the capacity is where hits cease, within an eighth of an octave of what was seen, though a third of the hits does not show', () => {
    assert(
      property(integer({ min: 2000, max: 1_000_000 }), (capacity) => {
        const evidence = new PrefixEvidence();
        for (const [index, distance] of distancesOf(1500).entries())
          evidence.addTrial(distance, distance < capacity && index % 3 !== 0);
        expect(evidence.capacityTokens / capacity).toBeGreaterThan(0.8);
        expect(evidence.capacityTokens / capacity).toBeLessThan(1.25);
      }),
      { numRuns: 50 },
    );
  });

  test('it is never beyond the farthest hit, so that nothing is expected at distances nobody tried', () => {
    const evidence = new PrefixEvidence();
    for (let count = 0; count < 50; count += 1) evidence.addTrial(1000 + count * 100, true);
    expect(evidence.capacityTokens).toBeGreaterThan(5900);
    expect(evidence.capacityTokens).toBeLessThan(8000);
  });

  test('hits that prompts seen for the first time show as often are a profile that is off, not a cache', () => {
    const evidence = new PrefixEvidence();
    for (let count = 0; count < 100; count += 1) {
      evidence.addTrial(5000, count % 2 === 0);
      evidence.addControl(count % 3 === 0);
    }
    expect(evidence.capacityTokens).toBe(0);
  });

  test('an engine whose cache was switched off is found out', () => {
    const evidence = new PrefixEvidence();
    for (const distance of distancesOf(1000)) evidence.addTrial(distance, true);
    expect(evidence.capacityTokens).toBeGreaterThan(1_000_000);
    for (const distance of distancesOf(20_000)) evidence.addTrial(distance, false);
    expect(evidence.capacityTokens).toBe(0);
  });
});
