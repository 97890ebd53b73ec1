import { describe, expect, it } from 'vitest';
import { createModelFilter } from '#tenancy/model-globs.ts';

describe('model-globs', () => {
  it.each([
    [['llama-*'], ['LLaMA-3.1-70b'], true],
    [['llama-*'], ['my-llama-3'], false],
    [['llama-3.1'], ['llama-3x1'], false],
    [['meta/*'], ['meta/a/b'], true],
    [['gpt-?'], ['gpt-4'], true],
    [['gpt-?'], ['gpt-40'], false],
    [['a(b)+[c]'], ['a(b)+[c]'], true],
    [['x', 'y'], ['sent', 'y', 'deployment'], true],
    [[], ['anything'], false],
  ])('%j over %j is %s', (globs, names, allowed) => {
    expect(createModelFilter(globs)(names)).toBe(allowed);
  });

  it('no globs at all allow every name', () => {
    expect(createModelFilter(null)(['anything'])).toBe(true);
  });
});
