import { describe, expect, it } from 'vitest';
import { readUsage, toTokenCounts } from '#gateway/read-usage.ts';
import { resolveTokens, type TokenEvidence } from '#gateway/resolve-tokens.ts';
import { StreamUsage } from '#gateway/stream-usage.ts';

const count = (usage: object) => {
  const reported = readUsage({ usage });
  return reported === null ? null : toTokenCounts(reported).tokens;
};

describe('read-usage', () => {
  it.each([
    ['chat', { prompt_tokens: 10, completion_tokens: 4 }, [10, null, 4, null]],
    ['zero is a value', { prompt_tokens: 0, completion_tokens: 0 }, [0, null, 0, null]],
    [
      'cached inside the prompt',
      { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 8 } },
      [2, 8, 4, null],
    ],
    ['no details', { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: null }, [10, null, 4, null]],
    [
      'reasoning inside the completion',
      { prompt_tokens: 1, completion_tokens: 9, completion_tokens_details: { reasoning_tokens: 7 } },
      [1, null, 2, 7],
    ],
    [
      'more cached than prompt is clamped',
      { prompt_tokens: 3, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 9 } },
      [0, 3, 1, null],
    ],
    ['embeddings produce nothing', { prompt_tokens: 6, total_tokens: 6 }, [6, null, 0, null]],
    [
      'responses',
      {
        input_tokens: 9,
        output_tokens: 5,
        input_tokens_details: { cached_tokens: 4 },
        output_tokens_details: { reasoning_tokens: 2 },
      },
      [5, 4, 3, 2],
    ],
    [
      'anthropic leaves the cache out of input',
      { input_tokens: 5, cache_read_input_tokens: 20, cache_creation_input_tokens: 3, output_tokens: 2 },
      [8, 20, 2, null],
    ],
    [
      'negative or broken counts are not known',
      { prompt_tokens: -1, completion_tokens: 1.5 },
      [null, null, null, null],
    ],
    [
      'counts beyond 32 bits are a fault, and not known',
      { prompt_tokens: Number.MAX_SAFE_INTEGER, completion_tokens: 2 ** 31 },
      [null, null, null, null],
    ],
    [
      'the largest count of 32 bits',
      { prompt_tokens: 2 ** 31 - 1, completion_tokens: 1 },
      [2 ** 31 - 1, null, 1, null],
    ],
  ])('buckets are disjoint: %s', (_name, usage, [input, cachedInput, output, reasoning]) => {
    expect(count(usage)).toEqual({ input, cachedInput, output, reasoning });
  });

  it.each([null, 'x', 3, [], undefined])('usage that is no object is no usage: %j', (usage) => {
    expect(readUsage({ usage })).toBeNull();
  });

  it('a clamped count says so', () => {
    expect(toTokenCounts({ prompt: 1, cached: 2, completion: 0, reasoning: 0 }).clamped).toBe(true);
    expect(toTokenCounts({ prompt: 2, cached: 2, completion: 0, reasoning: 0 }).clamped).toBe(false);
  });
});

describe('stream usage', () => {
  const final = (id: string, prompt_tokens: number, completion_tokens: number) => ({
    id,
    choices: [],
    usage: { prompt_tokens, completion_tokens },
  });
  const running = (index: number, prompt_tokens: number, completion_tokens: number) => ({
    id: 'a',
    choices: [{ index }],
    usage: { prompt_tokens, completion_tokens },
  });

  it('the last cumulative count replaces the ones before', () => {
    const usage = new StreamUsage({ promptCount: 1, sequences: 1 });
    for (const event of [running(0, 5, 1), running(0, 5, 2), running(0, 5, 3)]) expect(usage.add(event)).toBe(false);
    expect(usage.read()).toMatchObject({ prompt: 5, completion: 3 });
    expect(usage.add(final('a', 5, 4))).toBe(true);
    expect(usage.read()).toMatchObject({ prompt: 5, completion: 4 });
  });

  it('a stream of list prompts is the sum of its prompts, by id', () => {
    const usage = new StreamUsage({ promptCount: 2, sequences: 2 });
    for (const event of [final('a', 5, 1), final('b', 7, 2), final('a', 5, 3)]) usage.add(event);
    expect(usage.read()).toMatchObject({ prompt: 12, completion: 5 });
  });

  it('running counts of several choices are summed, their prompt counted once', () => {
    const usage = new StreamUsage({ promptCount: 1, sequences: 2 });
    for (const event of [running(0, 5, 1), running(1, 5, 4), running(0, 5, 2)]) usage.add(event);
    expect(usage.read()).toMatchObject({ prompt: 5, completion: 6 });
  });

  it("Anthropic's start and delta make one count", () => {
    const usage = new StreamUsage({ promptCount: 1, sequences: 1 });
    usage.add({
      type: 'message_start',
      message: { usage: { input_tokens: 10, cache_read_input_tokens: 4, output_tokens: 1 } },
    });
    usage.add({ type: 'message_delta', usage: { output_tokens: 9 } });
    expect(usage.read()).toEqual({ prompt: 14, cached: 4, completion: 9, reasoning: null });
  });
});

describe('resolve-tokens', () => {
  const evidence: TokenEvidence = {
    usage: null,
    promptTextBytes: 41,
    isStream: false,
    prefillOnly: false,
    work: 'tokens',
    engineStatus: 200,
    contentEvents: 6,
    contentBytes: 9,
  };
  const usage = { prompt: 3, cached: null, completion: 0, reasoning: null };
  it.each([
    ['reported wins, even over an error status', { usage, engineStatus: 500 }, 'reported', 3, 0],
    ['a refusal is unknown', { engineStatus: 422 }, 'unknown', null, null],
    ['work metered by duration is unknown', { work: 'duration' as const }, 'unknown', null, null],
    ['a stream is counted', { isStream: true }, 'counted', 11, 6],
    [
      'a stream cut after a start that says zero has its prompt estimated',
      { isStream: true, usage: { prompt: 0, cached: null, completion: null, reasoning: null } },
      'counted',
      11,
      6,
    ],
    ['a stream without any content is counted as none', { isStream: true, contentEvents: 0 }, 'counted', 11, 0],
    [
      'a stream that cannot be read (compressed unasked) has no known output, not none',
      { isStream: true, contentEvents: null, contentBytes: null },
      'estimated',
      11,
      null,
    ],
    ['an answer without usage is estimated from its bytes', {}, 'estimated', 11, 3],
    [
      'usage without any sound number reports nothing',
      { usage: { prompt: null, cached: 5, completion: null, reasoning: null } },
      'estimated',
      11,
      3,
    ],
    [
      'an answer that never came has no known output',
      { contentBytes: null, engineStatus: null },
      'estimated',
      11,
      null,
    ],
    ['embeddings have no output', { prefillOnly: true, contentBytes: null }, 'estimated', 11, 0],
  ])('%s', (_name, change, source, input, output) => {
    const resolved = resolveTokens({ ...evidence, ...change });
    expect(resolved.source).toBe(source);
    expect(resolved.tokens).toMatchObject({ input, output });
  });
});
