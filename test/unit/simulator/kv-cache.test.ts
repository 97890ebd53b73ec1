// The KV cache's bookkeeping under any sequence of operations.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KvCache } from '#simulator/kv-cache.ts';
import type { BlockHolding } from '#simulator/kv-cache.ts';

const operation = fc.oneof(
  fc.record({ kind: fc.constant('hold' as const), prefixes: fc.uniqueArray(fc.nat(12), { maxLength: 6 }) }),
  fc.record({ kind: fc.constant('grow' as const), holder: fc.nat(5), blocks: fc.nat(9) }),
  fc.record({ kind: fc.constant('publish' as const), holder: fc.nat(5), prefix: fc.nat(12) }),
  fc.record({ kind: fc.constant('release' as const), holder: fc.nat(5) }),
);

describe('KvCache', () => {
  it('never holds more than its capacity, and everything given back is free again', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
        const cache = new KvCache({ capacityBlocks: 16, prefixes: true });
        const holdings: BlockHolding[] = [];
        for (const step of operations) {
          const holding = step.kind === 'hold' ? undefined : holdings[step.holder % Math.max(1, holdings.length)];
          if (step.kind === 'hold') {
            const matching = step.prefixes.slice(0, cache.countMatching(step.prefixes));
            if (cache.countIdle(matching) <= cache.freeBlocks) holdings.push(cache.hold(matching));
          } else if (holding === undefined) continue;
          else if (step.kind === 'grow') {
            const { freeBlocks } = cache;
            expect(cache.grow(holding, step.blocks)).toBe(step.blocks <= freeBlocks);
          } else if (step.kind === 'publish') cache.publish(holding, step.prefix);
          else cache.release(holding);
          const held = new Set(holdings.flatMap((one) => one.sharedBlocks));
          expect(cache.usedBlocks).toBe(held.size + holdings.reduce((sum, one) => sum + one.ownBlocks, 0));
          expect(cache.usedBlocks).toBeLessThanOrEqual(16);
        }
        for (const holding of holdings) cache.release(holding);
        expect(cache.freeBlocks).toBe(16);
      }),
    );
  });

  it('idle prefixes and held blocks together never exceed the capacity', () => {
    const cache = new KvCache({ capacityBlocks: 4, prefixes: true });
    for (const start of [0, 4, 8]) {
      const holding = cache.hold([]);
      cache.grow(holding, 4);
      for (const prefix of [start, start + 1, start + 2, start + 3]) cache.publish(holding, prefix);
      cache.release(holding);
    }
    const known = Array.from({ length: 12 }, (_, prefix) => cache.countMatching([prefix]));
    expect(known).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it('a block that two hold stays until both have given it back', () => {
    const cache = new KvCache({ capacityBlocks: 4, prefixes: true });
    const first = cache.hold([]);
    cache.grow(first, 1);
    cache.publish(first, 7);
    const second = cache.hold([7]);
    cache.release(first);
    expect(cache.usedBlocks).toBe(1);
    cache.release(second);
    expect(cache.usedBlocks).toBe(0);
    expect(cache.countMatching([7])).toBe(1);
  });
});
