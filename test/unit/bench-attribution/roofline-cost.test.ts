// The misspecified engine's truth: its shares are the iteration's time, and close to the Shapley value they stand for.
import { array, assert, constant, integer, property, record, tuple } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findEngineModel } from '#simulator/engine-models.ts';
import type { IterationWork } from '#simulator/iteration-cost.ts';
import { createSeededRandom } from '#simulator/seeded-random.ts';
import { costOfRoofline, rooflineMs } from '#test/bench/attribution/roofline-cost.ts';

const { coefficients } = findEngineModel('llama-3.1-8b-fp8');

const decode = record({ prefillTokens: constant(0), contextTokens: integer({ min: 1, max: 16_000 }) });
const prefill = record({
  prefillTokens: integer({ min: 1, max: 2048 }),
  contextTokens: integer({ min: 0, max: 16_000 }),
});
const batch = tuple(array(prefill, { maxLength: 4 }), array(decode, { maxLength: 60 })).map((parts) => parts.flat());

describe('roofline iterations', () => {
  test('the shares of an iteration add up to its time, whichever side bounds it', () => {
    assert(
      property(batch, (works) => {
        const cost = costOfRoofline(works, coefficients, 1);
        expect(cost.durationMs).toBeCloseTo(rooflineMs(works, coefficients), 9);
        expect(cost.sharesMs).toHaveLength(works.length);
        for (const share of cost.sharesMs) expect(share).toBeGreaterThan(0);
      }),
    );
  });

  test('noise scales duration and shares alike', () => {
    const works = [
      { prefillTokens: 900, contextTokens: 0 },
      { prefillTokens: 0, contextTokens: 700 },
    ];
    const plain = costOfRoofline(works, coefficients, 1);
    const noisy = costOfRoofline(works, coefficients, 1.25);
    expect(noisy.durationMs).toBeCloseTo(1.25 * plain.durationMs, 12);
    expect(noisy.sharesMs[0]).toBeCloseTo(1.25 * (plain.sharesMs[0] ?? 0), 12);
  });

  test.each([
    ['decode only', 0, 40],
    ['one full chunk among decodes', 1, 40],
    ['a chunk and few decodes', 1, 4],
    ['several chunks', 3, 60],
  ])('shares are within 2 % of the iteration of the Shapley value by permutations: %s', (_, chunks, decodes) => {
    const works: IterationWork[] = [
      ...Array.from({ length: chunks }, (__, index) => ({
        prefillTokens: Math.floor(2000 / chunks),
        contextTokens: 700 * index,
      })),
      ...Array.from({ length: decodes }, (__, index) => ({ prefillTokens: 0, contextTokens: 200 + 150 * index })),
    ];
    const exact = permuteShares(works, 4000);
    const { sharesMs, durationMs } = costOfRoofline(works, coefficients, 1);
    for (const [index, share] of sharesMs.entries()) {
      expect(Math.abs(share - (exact[index] ?? 0)) / durationMs).toBeLessThan(0.02);
    }
  });
});

/** Shapley values by sampled orders of arrival. */
function permuteShares(works: readonly IterationWork[], samples: number): readonly number[] {
  const random = createSeededRandom(5);
  const sums = works.map(() => 0);
  for (let sample = 0; sample < samples; sample += 1) {
    const order = works
      .map((work, index) => ({ work, index, key: random.uniform() }))
      .toSorted((a, b) => a.key - b.key);
    const present: IterationWork[] = [];
    let before = 0;
    for (const { work, index } of order) {
      present.push(work);
      const after = rooflineMs(present, coefficients);
      sums[index] = (sums[index] ?? 0) + after - before;
      before = after;
    }
  }
  return sums.map((sum) => sum / samples);
}
