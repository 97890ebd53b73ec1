// The built-in profile against the ranges of reference/attribution-and-finops.md §2.2, and how names are read.
import { describe, expect, test } from 'vitest';
import { createBuiltinProfile } from '#attribution/builtin-profile.ts';
import { findGpuSpeed } from '#attribution/gpu-speed.ts';
import { readModelSize } from '#attribution/model-size.ts';
import type { EngineProfile } from '#domain/engine-profile.ts';

type Range = readonly [low: number, high: number];
const around = (centre: number): Range => [centre * 0.8, centre * 1.2];

/** Ranges of §2.2; where it gives only a centre, ± 20 %. */
const rows: readonly { model: string; gpus: number; ranges: Record<keyof EngineProfile, Range> }[] = [
  {
    model: 'meta-llama/Llama-3.1-8B-Instruct',
    gpus: 1,
    ranges: {
      iterationMs: [6, 8],
      prefillTokenMs: [0.015, 0.031],
      prefillContextMs: around(1.2e-6),
      decodeStepMs: [0.02, 0.06],
      contextTokenMs: [3.9e-5, 7.6e-5],
    },
  },
  {
    model: 'llama-3.1-8b-fp8',
    gpus: 1,
    ranges: {
      iterationMs: [3, 5],
      prefillTokenMs: [0.01, 0.016],
      prefillContextMs: around(0.6e-6),
      decodeStepMs: around(0.025),
      contextTokenMs: around(6e-5),
    },
  },
  {
    model: 'llama-3.1-70b',
    gpus: 4,
    ranges: {
      iterationMs: [12.6, 17],
      prefillTokenMs: [0.058, 0.107],
      prefillContextMs: around(1.5e-6),
      decodeStepMs: [0.06, 0.33],
      contextTokenMs: [2.5e-5, 4.8e-5],
    },
  },
  {
    model: 'llama-3.1-70b',
    gpus: 8,
    ranges: {
      iterationMs: [9.7, 14],
      prefillTokenMs: [0.029, 0.069],
      prefillContextMs: around(0.75e-6),
      decodeStepMs: [0.02, 0.3],
      contextTokenMs: [1.2e-5, 2.4e-5],
    },
  },
  {
    model: 'llama-3.1-70b-fp8',
    gpus: 2,
    ranges: {
      iterationMs: around(16.5),
      prefillTokenMs: around(0.072),
      prefillContextMs: around(1.5e-6),
      decodeStepMs: around(0.07),
      contextTokenMs: [4.9e-5, 9.5e-5],
    },
  },
];

describe('on H100', () => {
  for (const { model, gpus, ranges } of rows) {
    test(`${model} on ${gpus} GPUs lies within the published ranges`, () => {
      const profile = createBuiltinProfile({ gpu: 'H100-SXM', gpus, modelNames: [model] });
      for (const term of Object.keys(ranges) as (keyof EngineProfile)[]) {
        expect(profile[term], term).toBeGreaterThanOrEqual(ranges[term][0]);
        expect(profile[term], term).toBeLessThanOrEqual(ranges[term][1]);
      }
    });
  }
});

test('half the bandwidth doubles the cost of context, half the GPUs too', () => {
  const whole = createBuiltinProfile({ gpu: 'H200', gpus: 2, modelNames: ['70b'] });
  const half = createBuiltinProfile({ gpu: 'H200', gpus: 1, modelNames: ['70b'] });
  expect(half.contextTokenMs / whole.contextTokenMs).toBeCloseTo(2, 1);
  expect(half.iterationMs).toBeGreaterThan(whole.iterationMs);
});

test('an unknown GPU counts as an A100 and a model without a size as an 8B', () => {
  expect(createBuiltinProfile({ gpu: 'abacus', gpus: 1, modelNames: ['assistant'] })).toEqual(
    createBuiltinProfile({ gpu: 'A100-SXM', gpus: 1, modelNames: ['llama-3.1-8b'] }),
  );
});

test('every term is positive and finite for any table entry and size', () => {
  for (const gpu of ['H100-SXM', 'A10G', 'L4', 'B200', 'T4']) {
    for (const name of ['0.5b', '8x7b', 'qwen3-30b-a3b', '405b-fp8', '671b']) {
      for (const term of Object.values(createBuiltinProfile({ gpu, gpus: 0.5, modelNames: [name] }))) {
        expect(term).toBeGreaterThan(0);
        expect(term).toBeLessThan(100_000);
      }
    }
  }
});

describe('names', () => {
  test.each([
    ['meta-llama/Llama-3.1-70B-Instruct', 70, 70],
    ['llama-3.1-8b', 8, 8],
    ['Qwen2.5-0.5B', 0.5, 0.5],
    ['mistral-nemo', 12.2, 12.2],
    ['mistralai/Mistral-Nemo-Instruct-2407', 12.2, 12.2],
    ['mixtral-8x7b-instruct', 46.48, 12.88],
    ['Qwen3-30B-A3B', 30, 3],
    ['bge-m3-560m', 0.56, 0.56],
    ['deepseek-r1-distill-qwen-32b', 32, 32],
    ['deepseek-r1', 671, 37],
    ['gemma_2_27b', 27, 27],
  ])('%s has %d billion parameters, %d active', (name, billions, active) => {
    const size = readModelSize([name]);
    expect(size?.billions).toBeCloseTo(billions, 6);
    expect(size?.activeBillions).toBeCloseTo(active, 6);
  });

  test('an alias without a size leaves the word to the next name', () => {
    expect(readModelSize(['assistant', 'llama-3.1-70b'])?.billions).toBe(70);
    expect(readModelSize(['assistant', 'gpt2'])).toBeNull();
  });

  test('precision follows from the name', () => {
    expect(readModelSize(['llama-8b'])).toMatchObject({ bytesPerWeight: 2, eightBitArithmetic: false });
    expect(readModelSize(['llama-8b-FP8'])).toMatchObject({ bytesPerWeight: 1, eightBitArithmetic: true });
    expect(readModelSize(['llama-8b-awq'])).toMatchObject({ bytesPerWeight: 0.5, eightBitArithmetic: false });
  });

  test('a GPU is known in the spellings of configs, drivers and clouds', () => {
    const h100 = findGpuSpeed('H100-SXM');
    expect(h100).toEqual({ halfFlops: 989.5e12, eightBitFlops: 1979e12, memoryBandwidth: 3.35e12 });
    expect(findGpuSpeed('NVIDIA H100 80GB HBM3')).toEqual(h100);
    expect(findGpuSpeed('Tesla T4')?.memoryBandwidth).toBe(0.32e12);
    expect(findGpuSpeed('nvidia_h100_pcie')?.memoryBandwidth).toBe(2e12);
    expect(findGpuSpeed('L4')?.memoryBandwidth).toBe(0.3e12);
    expect(findGpuSpeed('H20')?.memoryBandwidth).toBe(4e12);
    expect(findGpuSpeed('A10G')?.halfFlops).toBe(70e12);
    expect(findGpuSpeed('TPU v5')).toBeUndefined();
  });
});
