// Rounding of the engine profile to integer femtoseconds.
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseProfileFemtos, toProfileFemtos } from '#attribution/profile-femtos.ts';

const llama8b = {
  iterationMs: 4.3,
  prefillTokenMs: 0.013,
  prefillContextMs: 6e-7,
  decodeStepMs: 0.025,
  contextTokenMs: 6e-5,
};

test('the 8B profile becomes the integers of the split model', () => {
  expect(toProfileFemtos(llama8b)).toEqual({
    t0: '4300000000000',
    a: '13000000000',
    halfQ: '300000',
    d: '25000000000',
    k: '60000000',
  });
});

test('each term is the nearest femtosecond, halves up', () => {
  const profile = {
    ...llama8b,
    iterationMs: 1.5e-12,
    prefillTokenMs: 1.4999e-12,
    prefillContextMs: 1e-12,
    decodeStepMs: 0,
  };
  expect(toProfileFemtos({ ...profile, contextTokenMs: 3e-13 })).toEqual({
    t0: '2',
    a: '1',
    halfQ: '1',
    d: '0',
    k: '0',
  });
});

test('text and integers say the same', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 10_000, noNaN: true }), (termMs) => {
      const femtos = toProfileFemtos({ ...llama8b, iterationMs: termMs });
      const distanceMs = Math.abs(Number(parseProfileFemtos(femtos).t0) / 1e12 - termMs);
      expect(distanceMs).toBeLessThanOrEqual(5.1e-13 + termMs * 1e-15);
    }),
  );
});

test('a negative or endless term is refused', () => {
  for (const term of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => toProfileFemtos({ ...llama8b, decodeStepMs: term })).toThrow(RangeError);
  }
});
