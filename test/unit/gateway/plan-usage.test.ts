import { describe, expect, it } from 'vitest';
import { ENGINE_TRAITS } from '#engines/engine-traits.ts';
import { parseRequest } from '#gateway/parse-request.ts';
import { planUsage } from '#gateway/plan-usage.ts';

const plan = (body: object, engine: keyof typeof ENGINE_TRAITS): string =>
  planUsage(parseRequest(Buffer.from(JSON.stringify(body)), 'chat'), ENGINE_TRAITS[engine]);

describe('plan-usage', () => {
  it.each([
    [{ stream: true }, 'inject', 'inject', 'leave'],
    [{ stream: true, stream_options: null }, 'inject', 'inject', 'leave'],
    [{ stream: true, stream_options: {} }, 'leave', 'inject', 'leave'],
    [{ stream: true, stream_options: { include_usage: true } }, 'leave', 'leave', 'leave'],
    [{ stream: true, stream_options: { include_usage: false } }, 'inject', 'inject', 'leave'],
    [
      { stream: true, stream_options: { include_usage: false, continuous_usage_stats: true } },
      'leave',
      'leave',
      'leave',
    ],
    [{ stream: true, stream_options: 'yes' }, 'leave', 'leave', 'leave'],
    [{ stream: true, stream_options: { include_usage: 'yes' } }, 'leave', 'leave', 'leave'],
    [{ stream: false }, 'leave', 'leave', 'leave'],
    [{ stream: false, stream_options: {} }, 'leave', 'leave', 'leave'],
    [{ stream: 'true' }, 'leave', 'leave', 'leave'],
    [{}, 'leave', 'leave', 'leave'],
  ])('%j: trtllm-serve %s, Triton %s, transformers %s', (body, trtllm, triton, transformers) => {
    expect(plan(body, 'tensorrt-llm')).toBe(trtllm);
    expect(plan(body, 'triton-openai')).toBe(triton);
    expect(plan(body, 'transformers')).toBe(transformers);
  });
});
