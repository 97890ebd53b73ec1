// What one iteration costs and how it divides: the reference's test vector and efficiency of the shares.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { costOfIteration, costOfWork } from '#simulator/iteration-cost.ts';

const llama8b = {
  iterationMs: 7.2,
  prefillTokenMs: 0.022,
  prefillContextMs: 1.2e-6,
  decodeStepMs: 0.03,
  contextTokenMs: 6e-5,
};

describe('costOfIteration', () => {
  it('the test vector of the reference comes out: 30.07 ms as 25.00, 2.46 and 2.61', () => {
    const cost = costOfIteration(
      [
        { prefillTokens: 1000, contextTokens: 0 },
        { prefillTokens: 0, contextTokens: 500 },
        { prefillTokens: 0, contextTokens: 3000 },
      ],
      llama8b,
    );
    expect(cost.durationMs).toBeCloseTo(30.07, 9);
    expect(cost.sharesMs[0]).toBeCloseTo(25, 9);
    expect(cost.sharesMs[1]).toBeCloseTo(2.46, 9);
    expect(cost.sharesMs[2]).toBeCloseTo(2.61, 9);
  });

  it('a chunk of a prefill costs attention to what is cached before it', () => {
    const whole = costOfWork({ prefillTokens: 2000, contextTokens: 0 }, llama8b);
    const first = costOfWork({ prefillTokens: 1000, contextTokens: 0 }, llama8b);
    const second = costOfWork({ prefillTokens: 1000, contextTokens: 1000 }, llama8b);
    expect(first + second).toBeCloseTo(whole, 9);
    expect(second).toBeGreaterThan(first);
  });

  it('shares sum to the duration whatever the batch and the noise', () => {
    const work = fc.record({ prefillTokens: fc.nat(2048), contextTokens: fc.nat(100_000) });
    fc.assert(
      fc.property(
        fc.array(work, { minLength: 1, maxLength: 256 }),
        fc.double({ min: 0.5, max: 2, noNaN: true }),
        (works, noise) => {
          const cost = costOfIteration(works, llama8b, noise);
          const modelled = (works.reduce((sum, one) => sum + costOfWork(one, llama8b), 0) + 7.2) * noise;
          expect(cost.sharesMs.reduce((sum, share) => sum + share, 0)).toBe(cost.durationMs);
          expect(Math.abs(cost.durationMs / modelled - 1)).toBeLessThan(1e-9);
        },
      ),
    );
  });

  it('an iteration without members takes no time', () => {
    expect(costOfIteration([], llama8b)).toEqual({ durationMs: 0, sharesMs: [] });
  });
});
