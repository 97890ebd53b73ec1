// What is remembered of prompts, and when it counts as seen.
import { describe, expect, test } from 'vitest';
import { PrefixMemory, type PrefixUse } from '#accounting/prefix-memory.ts';
import { printEdges, type PromptPrint } from '#domain/prompt-print.ts';

/** A prompt of so many blocks, of which the first `shared` are those of everybody's with the same `family`. */
function createPrint(id: number, { shared = 0, blocks = 20, family = 0 } = {}): PromptPrint {
  const marks = Array.from({ length: blocks }, (_, index) => index + 1000 * (index < shared ? family : id + 1000));
  return { marks, bytes: printEdges[blocks - 1] ?? 0 };
}

let memory = new PrefixMemory();
function begin(print: PromptPrint | null, options: { stream?: boolean; deployment?: string } = {}): PrefixUse {
  const { stream = true, deployment = 'd' } = options;
  const use = memory.begin({ pool: 'p', deployment, print, estimatedPromptTokens: 1000, stream });
  if (use === null) throw new Error('there is room for an engine');
  return use;
}
/** A request that came and went: first token at `firstMs`. */
function pass(print: PromptPrint | null, firstMs: number, tokens = 1000): PrefixUse {
  const use = begin(print);
  use.firstToken(firstMs);
  use.end(tokens, true);
  return use;
}

describe('the memory of prompts', () => {
  test('a beginning that another prompt had is seen, as long as that of the engine’s blocks', () => {
    memory = new PrefixMemory();
    pass(createPrint(1, { shared: 10 }), 100);
    const use = begin(createPrint(2, { shared: 10 }));
    use.firstToken(200);
    expect(use.seen(Infinity, 195)?.part).toBeCloseTo(0.5, 9);
    const other = begin(createPrint(3, { shared: 10, family: 7 }));
    other.firstToken(300);
    expect(other.seen(Infinity, 295)).toBeNull();
  });

  test('the distance is what the engine took in since the beginning was given back, with what it held then', () => {
    memory = new PrefixMemory();
    const long = begin(createPrint(50));
    long.firstToken(50);
    pass(createPrint(1, { shared: 20 }), 100);
    for (let id = 2; id < 7; id += 1) pass(createPrint(id), 100 + id, 2000);
    const use = begin(createPrint(9, { shared: 20 }));
    use.firstToken(200);
    // The long one's 1000, its own 1000, five times 2000, and the new one's 1000, since nothing is expected yet.
    expect(use.seen(Infinity, 195)?.distanceTokens).toBe(13_000);
    expect(use.seen(13_000, 195)).toBeNull();
    expect(use.seen(13_001, 195)?.part).toBe(1);
  });

  test('what is still in use has no distance, and without a capacity even that is not expected', () => {
    memory = new PrefixMemory();
    begin(createPrint(1, { shared: 20 })).firstToken(100);
    const use = begin(createPrint(2, { shared: 20 }));
    use.firstToken(200);
    expect(use.seen(Infinity, 195)).toEqual({ part: 1, newBytes: 0, distanceTokens: 0 });
    expect(use.seen(0, 195)).toBeNull();
  });

  test('a prompt that is computed in the same iteration is not seen yet: what both share with an earlier one is', () => {
    memory = new PrefixMemory();
    pass(createPrint(1, { shared: 5 }), 100);
    const twin = begin(createPrint(2, { shared: 20 }));
    const use = begin(createPrint(3, { shared: 20 }));
    twin.firstToken(200);
    use.firstToken(201);
    expect(use.seen(Infinity, 196)?.part).toBeCloseTo(0.25, 9);
    expect(use.seen(Infinity, 200)?.part).toBe(1);
  });

  test('a request that the engine refused leaves nothing behind, and what was there before it stays', () => {
    memory = new PrefixMemory();
    pass(createPrint(1, { shared: 10 }), 100);
    const refused = begin(createPrint(2, { shared: 20 }));
    refused.end(0, false);
    const use = begin(createPrint(3, { shared: 20 }));
    use.firstToken(200);
    expect(use.seen(Infinity, 195)?.part).toBeCloseTo(0.5, 9);
  });

  test('a request that was cut off before its prompt was computed lends it to none, not even to those who came meanwhile', () => {
    memory = new PrefixMemory();
    const cut = begin(createPrint(1, { shared: 20 }), { stream: false });
    const use = begin(createPrint(2, { shared: 20 }), { stream: false });
    cut.end(0, false);
    expect(use.seen(Infinity, 195)).toBeNull();
  });

  test('a full memory costs each request about what an empty one does', () => {
    memory = new PrefixMemory();
    let id = 1;
    const time = (requests: number): number => {
      const startMs = performance.now();
      for (let at = 0; at < requests; at += 1) pass(createPrint((id += 1)), id);
      return performance.now() - startMs;
    };
    time(1000);
    const empty = time(4000);
    time(10_000);
    // Long enough to meet the memory with as many holes as it gets.
    expect(time(16_000) / 4).toBeLessThan(5 * empty);
  });

  test('deployments do not see each other’s prompts', () => {
    memory = new PrefixMemory();
    pass(createPrint(1, { shared: 20 }), 100);
    const use = begin(createPrint(2, { shared: 20 }), { deployment: 'other' });
    use.firstToken(200);
    expect(use.seen(Infinity, 195)).toBeNull();
  });

  test('the oldest prompts are forgotten, the heads of those in use last', () => {
    memory = new PrefixMemory();
    const blocks = 100;
    pass(createPrint(1, { shared: blocks, blocks, family: 1 }), 1);
    for (let id = 2; id < 4000; id += 1) pass(createPrint(id, { shared: 10, blocks, family: 2 }), id);
    const use = begin(createPrint(4001, { shared: blocks, blocks, family: 1 }));
    use.firstToken(5000);
    expect(use.seen(Infinity, 4995)).toBeNull();
    const head = begin(createPrint(4002, { shared: 10, blocks, family: 2 }));
    head.firstToken(5001);
    expect(head.seen(Infinity, 4999)?.part).toBeGreaterThan(0);
  });

  test('more engines than can be remembered are served without', () => {
    memory = new PrefixMemory();
    const uses = Array.from({ length: 300 }, (_, index) =>
      memory.begin({ pool: 'p', deployment: `d${index}`, print: null, estimatedPromptTokens: 1, stream: true }),
    );
    expect(uses.filter((use) => use === null)).toHaveLength(44);
  });
});
