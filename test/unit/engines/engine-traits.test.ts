import { describe, expect, it } from 'vitest';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';

describe('engine-traits', () => {
  it('each engine is found under its own name', () => {
    expect(Object.entries(ENGINE_TRAITS).filter(([name, traits]) => traits.name !== name)).toEqual([]);
    expect(Object.keys(ENGINE_TRAITS)).toHaveLength(9);
  });

  it('no health route generates', () => {
    for (const { healthPath } of Object.values(ENGINE_TRAITS)) expect(healthPath).not.toMatch(/generate|completions/);
  });

  it('transformers gets no stream_options, which it would refuse with 422', () => {
    expect(ENGINE_TRAITS.transformers.acceptsStreamOptions).toBe(false);
  });
});
