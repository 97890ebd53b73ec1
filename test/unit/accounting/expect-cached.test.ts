// What is expected to be cached, and what requests teach about it: on an engine that caches, one that does not, and one that says.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { expectCached } from '#accounting/expect-cached.ts';
import { PrefixMemory } from '#accounting/prefix-memory.ts';
import { prefillMs } from '#attribution/predict-work.ts';
import { printEdges, type PromptPrint } from '#domain/prompt-print.ts';
import { createEnd, createStart, PROFILE, sendContent, startBench } from '#test/support/accounting-bench.ts';

const PROMPT_TOKENS = 6000;
const BLOCKS = 80;
/** Prompts of one family share 70 of 80 blocks. */
function createPrint(id: number, family: number): PromptPrint {
  const marks = Array.from({ length: BLOCKS }, (_, index) => index + 1000 * (index < 70 ? family : 5000 + id));
  return { marks, bytes: printEdges[BLOCKS - 1] ?? 0 };
}
const SHARED = Math.floor((PROMPT_TOKENS * (printEdges[69] ?? 0)) / (printEdges[BLOCKS - 1] ?? 1));

/** Serves requests one after another, two of each family in turn; returns what was expected of each. */
function serve(count: number, engine: { readonly caches: boolean; readonly says: boolean; readonly waitMs?: number }) {
  const memory = new PrefixMemory();
  return Array.from({ length: count }, (_, id) => {
    const startMs = 1_790_000_000_000 + id * 10_000;
    const print = createPrint(id, Math.floor(id / 2));
    const use = memory.begin({ pool: 'p', deployment: 'd', print, estimatedPromptTokens: 6000, stream: true });
    const cached = engine.caches && id % 2 === 1 ? SHARED : 0;
    const waitMs = engine.waitMs ?? 3;
    const firstContentMs = startMs + waitMs + PROFILE.iterationMs + prefillMs(PROFILE, PROMPT_TOKENS - cached, cached);
    use?.firstToken(firstContentMs);
    if (use === null) throw new Error('there is room');
    return expectCached(use, {
      shape: { stream: true, sequences: 1 },
      features: { startMs, firstContentMs },
      profile: PROFILE,
      tokens: engine.says
        ? { input: PROMPT_TOKENS - cached, cachedInput: cached, output: 10, reasoning: null }
        : { input: PROMPT_TOKENS, cachedInput: null, output: 10, reasoning: null },
      estimatedPromptTokens: 6000,
      entered: true,
    });
  });
}

describe('what is expected to be cached', () => {
  test('an engine that shows by its time that it caches is expected to go on so, to the block', () => {
    const expected = serve(20, { caches: true, says: false });
    expect(expected.slice(8).filter((_, index) => index % 2 === 1)).toEqual(Array.from({ length: 6 }, () => SHARED));
    expect(expected.filter((_, index) => index % 2 === 0).every((tokens) => tokens === 0)).toBe(true);
  });

  test('what an engine says teaches the same, however long its requests waited', () => {
    expect(serve(20, { caches: true, says: true, waitMs: 9000 }).at(-1)).toBe(SHARED);
  });

  test('bytes that are no text make no new text look cached: a shared filling before it counts for nothing', () => {
    const memory = new PrefixMemory();
    const expected = Array.from({ length: 40 }, (_, id) => {
      // Every fourth request is a new text of 6000 tokens behind 40 kB that the engine ignores; the others are repeated in full, and cached.
      const isPadded = id % 4 === 3;
      const shared = createPrint(id, isPadded ? 1 : 2);
      const print = isPadded
        ? { marks: shared.marks.slice(0, 70), bytes: (printEdges[69] ?? 0) + 26_000 }
        : createPrint(0, 2);
      const startMs = 1_790_000_000_000 + id * 10_000;
      const use = memory.begin({ pool: 'p', deployment: 'd', print, estimatedPromptTokens: 6000, stream: true });
      const cached = isPadded || id === 0 ? 0 : PROMPT_TOKENS - 1;
      const firstContentMs = startMs + PROFILE.iterationMs + 3 + prefillMs(PROFILE, PROMPT_TOKENS - cached, cached);
      if (use === null) throw new Error('there is room');
      use.firstToken(firstContentMs);
      return expectCached(use, {
        shape: { stream: true, sequences: 1 },
        features: { startMs, firstContentMs },
        profile: PROFILE,
        tokens: { input: PROMPT_TOKENS, cachedInput: null, output: 10, reasoning: null },
        estimatedPromptTokens: 6000,
        entered: true,
      });
    });
    expect(expected.at(-2)).toBeGreaterThan(0.9 * PROMPT_TOKENS);
    expect(Math.max(...expected.filter((_, id) => id % 4 === 3))).toBeLessThan(0.2 * PROMPT_TOKENS);
  });

  test('of an engine without a prefix cache nothing is ever expected', () => {
    expect(serve(200, { caches: false, says: false }).every((tokens) => tokens === 0)).toBe(true);
    expect(serve(200, { caches: false, says: true }).every((tokens) => tokens === 0)).toBe(true);
  });

  test('where all requests wait long, their time shows nothing, and nothing is expected', () => {
    expect(serve(200, { caches: true, says: false, waitMs: 9000 }).every((tokens) => tokens === 0)).toBe(true);
  });

  test('prints stay in memory: the journal has the expected number of tokens and no mark', async () => {
    const bench = await startBench();
    for (let id = 0; id < 12; id += 1) {
      const promptPrint = createPrint(id, 123_456);
      const start = createStart(bench.time, `r${id}`, { promptPrint, promptBytes: 24_000 });
      const meter = bench.accounting.metering.begin(start);
      const cached = id === 0 ? 0 : SHARED;
      bench.time.advance(PROFILE.iterationMs + prefillMs(PROFILE, PROMPT_TOKENS - cached, cached) + 2);
      sendContent(bench.time, meter);
      bench.time.advance(50);
      const end = createEnd(bench.time, start, { prompt: PROMPT_TOKENS, output: 10 });
      void meter.finish({ ...end, tokens: { ...end.tokens, cachedInput: null } });
    }
    await bench.pass(6000);
    const files = readdirSync(bench.dir, { recursive: true, encoding: 'utf8' }).filter((name) => /\d/.test(name));
    const journal = files.map((name) => readFileSync(join(bench.dir, name), 'utf8')).join('\n');
    bench.accounting.stop();
    expect(journal).toContain(`"expectedCachedTokens":${SHARED}`);
    expect(journal).not.toContain('promptPrint');
    expect(journal).not.toContain('123456');
  });
});
