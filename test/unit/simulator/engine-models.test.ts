// Which model a name means, and how slow its baseline is.
import { describe, expect, it } from 'vitest';
import { findEngineModel, slowToBaseline } from '#simulator/engine-models.ts';

describe('findEngineModel', () => {
  it.each([
    ['llama-3.1-8b', 'llama-3.1-8b'],
    ['meta-llama/Llama-3.1-8B-Instruct', 'llama-3.1-8b'],
    ['meta-llama/Meta-Llama-3.1-8B-Instruct-FP8', 'llama-3.1-8b-fp8'],
    ['meta-llama/Llama-3.3-70B-Instruct', 'llama-3.1-70b'],
    ['mistralai/Mistral-Nemo-Instruct-2407', 'mistral-nemo-12b'],
    ['google/gemma-2-27b-it', 'gemma-2-27b'],
  ])('%s is %s', (name, canonical) => {
    expect(findEngineModel(name).name).toBe(canonical);
  });

  it('70B on four GPUs and on eight are different engines', () => {
    expect(findEngineModel('llama-3.1-70b').gpus).toBe(4);
    expect(findEngineModel('llama-3.1-70b').coefficients.iterationMs).toBe(16.5);
    expect(findEngineModel('meta-llama/Llama-3.1-70B', { gpus: 8 }).coefficients.iterationMs).toBe(10);
  });

  it('an unknown model lies between its neighbours by the parameters in its name', () => {
    const smaller = findEngineModel('mistral-nemo-12b').coefficients;
    const unknown = findEngineModel('acme/Foo-13b-chat').coefficients;
    const larger = findEngineModel('gemma-2-27b').coefficients;
    for (const term of ['iterationMs', 'prefillTokenMs', 'decodeStepMs', 'contextTokenMs'] as const) {
      expect(unknown[term]).toBeGreaterThan(smaller[term]);
      expect(unknown[term]).toBeLessThan(larger[term]);
    }
  });

  it('a name without a size is taken for an 8B, and the ends extrapolate', () => {
    expect(findEngineModel('acme/foo').coefficients).toEqual(findEngineModel('llama-3.1-8b').coefficients);
    expect(findEngineModel('foo-1b').coefficients.iterationMs).toBe(2);
    expect(findEngineModel('foo-405b').gpus).toBe(8);
    expect(findEngineModel('foo-405b').coefficients.prefillTokenMs).toBeCloseTo((0.072 * 405) / 70, 9);
  });

  it('a faster memory shortens the iteration, slower arithmetic lengthens prefill', () => {
    const h100 = findEngineModel('llama-3.1-8b').coefficients;
    const h200 = findEngineModel('llama-3.1-8b', { gpu: 'H200-SXM' }).coefficients;
    const a100 = findEngineModel('llama-3.1-8b', { gpu: 'A100-SXM' }).coefficients;
    expect(h200.iterationMs).toBeLessThan(h100.iterationMs);
    expect(h200.prefillTokenMs).toBe(h100.prefillTokenMs);
    expect(a100.prefillTokenMs).toBeGreaterThan(3 * h100.prefillTokenMs);
    expect(() => findEngineModel('llama-3.1-8b', { gpu: 'TPU' })).toThrow(RangeError);
  });
});

describe('slowToBaseline', () => {
  it.each(['llama-3.1-8b', 'llama-3.1-70b', 'mistral-nemo-12b', 'gemma-2-27b'])(
    'the baseline of %s spends ten times the GPU time on a chat request, one at a time',
    (name) => {
      const fast = findEngineModel(name).coefficients;
      const slow = slowToBaseline(fast);
      // 500 prompt tokens and 300 output tokens, iteration by iteration.
      const spend = (one: typeof fast, inFlight: number): number => {
        let spentMs = one.prefillTokenMs * 500 + one.prefillContextMs * 500 * 250 + one.iterationMs / inFlight;
        for (let token = 1; token < 300; token += 1) {
          spentMs += one.decodeStepMs + one.contextTokenMs * (500 + token) + one.iterationMs / inFlight;
        }
        return spentMs;
      };
      expect(spend(slow, 1) / spend(fast, 8)).toBeCloseTo(10, 2);
      expect(slow.iterationMs).toBeGreaterThan(fast.iterationMs);
    },
  );
});
