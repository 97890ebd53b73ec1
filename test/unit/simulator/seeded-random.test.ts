// The distributions have the means and spreads they promise, and repeat themselves by seed.
import { describe, expect, it } from 'vitest';
import { createSeededRandom, mixSeed } from '#simulator/seeded-random.ts';

const draws = 50_000;

function measure(draw: () => number): { mean: number; deviation: number } {
  const values = Array.from({ length: draws }, draw);
  const mean = values.reduce((sum, value) => sum + value, 0) / draws;
  return { mean, deviation: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / draws) };
}

describe('createSeededRandom', () => {
  it('uniform numbers stay in [0, 1) and spread evenly', () => {
    const random = createSeededRandom(1);
    const { mean, deviation } = measure(() => {
      const value = random.uniform();
      if (value < 0 || value >= 1) throw new RangeError(String(value));
      return value;
    });
    expect(mean).toBeCloseTo(0.5, 2);
    expect(deviation).toBeCloseTo(1 / Math.sqrt(12), 2);
  });

  it('log-normal numbers have the mean and the coefficient of variation asked for', () => {
    const random = createSeededRandom(2);
    const noise = measure(() => random.logNormal(1, 0.04));
    expect(noise.mean).toBeCloseTo(1, 3);
    expect(noise.deviation).toBeCloseTo(0.04, 3);
    const lengths = measure(() => random.logNormal(200, 0.6));
    expect(lengths.mean / 200).toBeCloseTo(1, 2);
    expect(lengths.deviation / 120).toBeCloseTo(1, 1);
    expect(random.logNormal(3, 0)).toBe(3);
  });

  it('exponential gaps have their mean as their deviation', () => {
    const random = createSeededRandom(3);
    const { mean, deviation } = measure(() => random.exponential(50));
    expect(mean / 50).toBeCloseTo(1, 1);
    expect(deviation / 50).toBeCloseTo(1, 1);
  });

  it('one seed is one stream', () => {
    const take = (seed: number): number[] => {
      const random = createSeededRandom(seed);
      return Array.from({ length: 5 }, () => random.uniform());
    };
    expect(take(9)).toEqual(take(9));
    expect(take(9)).not.toEqual(take(10));
    expect(mixSeed(1, 2)).not.toBe(mixSeed(2, 1));
  });
});
