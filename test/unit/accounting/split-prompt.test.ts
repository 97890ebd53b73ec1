// Prompts from the prefix cache of an engine that does not say so: told by the time to the first token, and only where that leaves no doubt.
import { assert, integer, property } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { splitPrompt } from '#accounting/split-prompt.ts';
import { prefillMs } from '#attribution/predict-work.ts';
import { PROFILE } from '#test/support/accounting-bench.ts';

const START_MS = 1_790_000_000_000;
const STREAM = { stream: true, sequences: 1 };
const tokens = (input: number | null, cachedInput: number | null = null) => ({
  input,
  cachedInput,
  output: 10,
  reasoning: null,
});
const first = (afterMs: number | null) => ({
  startMs: START_MS,
  firstContentMs: afterMs === null ? null : START_MS + afterMs,
});
const NEIGHBOURLESS = { profile: PROFILE };

describe('a prompt whose cached part is hidden', () => {
  test('what cannot have been prefilled before the first token was cached', () => {
    // 8000 tokens need 104 ms and more; of 20 ms one iteration takes 4.3, which leaves room for about 1200.
    const split = splitPrompt(STREAM, first(20), { ...NEIGHBOURLESS, tokens: tokens(8000) });
    expect((split.prompt ?? 0) + split.cached).toBe(8000);
    expect(split.prompt).toBeGreaterThan(800);
    expect(split.prompt).toBeLessThan(1250);
  });

  test('a prompt that could have been computed in that time, or nearly, was computed', () => {
    const neededMs = prefillMs(PROFILE, 4000, 0) + PROFILE.iterationMs;
    for (const afterMs of [neededMs * 10, neededMs + 5, neededMs * 0.85]) {
      expect(splitPrompt(STREAM, first(afterMs), { ...NEIGHBOURLESS, tokens: tokens(4000) })).toEqual({
        prompt: 4000,
        cached: 0,
      });
    }
  });

  test('what is expected to be cached is taken for cached, whether the answer streams or not', () => {
    const known = { ...NEIGHBOURLESS, tokens: tokens(4000), expectedCached: 3000 };
    for (const shape of [STREAM, { stream: false, sequences: 1 }]) {
      expect(splitPrompt(shape, first(2000), known)).toEqual({ prompt: 1000, cached: 3000 });
    }
    const all = { ...known, expectedCached: 5000 };
    expect(splitPrompt(STREAM, first(2000), all)).toEqual({ prompt: 1, cached: 3999 });
  });

  test('where even the rest had no time, the time says how much was cached', () => {
    const known = { ...NEIGHBOURLESS, tokens: tokens(8000), expectedCached: 1000 };
    expect(splitPrompt(STREAM, first(20), known)).toEqual(
      splitPrompt(STREAM, first(20), { ...NEIGHBOURLESS, tokens: tokens(8000) }),
    );
  });

  test('what the engine said stays as it said, and without a first token or a count nothing is inferred', () => {
    expect(splitPrompt(STREAM, first(1), { ...NEIGHBOURLESS, tokens: tokens(8000, 0), expectedCached: 99 })).toEqual({
      prompt: 8000,
      cached: 0,
    });
    expect(splitPrompt(STREAM, first(1), { ...NEIGHBOURLESS, tokens: tokens(10, 7990) })).toEqual({
      prompt: 10,
      cached: 7990,
    });
    expect(splitPrompt(STREAM, first(null), { ...NEIGHBOURLESS, tokens: tokens(8000) }).cached).toBe(0);
    expect(splitPrompt(STREAM, first(1), { ...NEIGHBOURLESS, tokens: tokens(null) })).toEqual({
      prompt: null,
      cached: 0,
    });
    const whole = { stream: false, sequences: 1 };
    expect(splitPrompt(whole, first(1), { ...NEIGHBOURLESS, tokens: tokens(8000) }).cached).toBe(0);
  });

  test('the two parts are always the whole prompt, and at least one token was computed', () => {
    assert(
      property(integer({ min: 1, max: 200_000 }), integer({ min: 0, max: 3000 }), (prompt, afterMs) => {
        const split = splitPrompt(STREAM, first(afterMs), { ...NEIGHBOURLESS, tokens: tokens(prompt) });
        expect((split.prompt ?? 0) + split.cached).toBe(prompt);
        expect(split.prompt).toBeGreaterThanOrEqual(1);
      }),
    );
  });
});
