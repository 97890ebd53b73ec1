import { describe, expect, it } from 'vitest';
import { checkFields } from '#simulator/check-fields.ts';
import type { InferenceRoute, JsonObject } from '#simulator/inference-request.ts';
import { MalformedRequestError } from '#simulator/inference-request.ts';

const base: Readonly<Record<string, JsonObject>> = {
  chat: { messages: [{ role: 'user', content: 'hi' }] },
  completions: { prompt: 'hi' },
  embeddings: { input: 'hi' },
};

const check = (route: InferenceRoute, fields: JsonObject): JsonObject =>
  checkFields(route, { ...base[route], ...fields });

/** The field that a refusal blames; undefined where the request is taken. */
function blamed(route: InferenceRoute, fields: JsonObject): string | undefined {
  try {
    check(route, fields);
    return undefined;
  } catch (error) {
    if (error instanceof MalformedRequestError) return error.field;
    throw error;
  }
}

const tools = [{ type: 'function', function: { name: 'f' } }];

describe('checkFields', () => {
  it.each<[InferenceRoute, JsonObject]>([
    ['chat', { stop: 5 }],
    ['chat', { stop: [5] }],
    ['chat', { stop: {} }],
    ['chat', { max_tokens: 0 }],
    ['chat', { max_tokens: -1 }],
    ['chat', { max_tokens: 2.5 }],
    ['chat', { max_tokens: '5x' }],
    ['chat', { max_completion_tokens: 0 }],
    ['chat', { n: 0 }],
    ['chat', { temperature: 'hot' }],
    ['chat', { temperature: -0.1 }],
    ['chat', { top_p: 0 }],
    ['chat', { top_p: 1.1 }],
    ['chat', { top_k: -2 }],
    ['chat', { presence_penalty: 2.1 }],
    ['chat', { frequency_penalty: 'x' }],
    ['chat', { seed: 'x' }],
    ['chat', { stream: 'soon' }],
    ['chat', { ignore_eos: 7 }],
    ['chat', { user: 5 }],
    ['chat', { logit_bias: 'x' }],
    ['chat', { logprobs: 'x' }],
    ['chat', { top_logprobs: 3 }],
    ['chat', { top_logprobs: 21, logprobs: true }],
    ['completions', { logprobs: -1 }],
    ['chat', { stream_options: 'x', stream: true }],
    ['chat', { stream_options: { include_usage: 'perhaps' }, stream: true }],
    ['chat', { tools: 'x' }],
    ['chat', { tools: [1] }],
    ['chat', { tool_choice: 'required' }],
    ['chat', { tool_choice: 'sometimes', tools }],
    ['chat', { response_format: 'json' }],
    ['chat', { response_format: { type: 'poem' } }],
    ['chat', { response_format: { type: 'json_schema' } }],
    ['chat', { messages: [] }],
    ['chat', { messages: 'x' }],
    ['chat', { messages: [{ content: 'x' }] }],
    ['chat', { messages: [{ role: 'user', content: 5 }] }],
    ['chat', { messages: [{ role: 'user', content: [5] }] }],
    ['embeddings', { encoding_format: 'hex' }],
    ['embeddings', { dimensions: 0 }],
  ])('%s refuses %j and blames the field it names first', (route, fields) => {
    expect(blamed(route, fields)).toBe(Object.keys(fields)[0]);
  });

  it.each<[InferenceRoute, JsonObject]>([
    ['chat', { stop: ['a', 'b'], seed: -1, temperature: 0, top_p: 1, top_k: -1, min_tokens: 0 }],
    ['chat', { logprobs: true, top_logprobs: 20, stream: false, user: 'u' }],
    ['chat', { top_logprobs: 0, logprobs: false }],
    ['chat', { tools, tool_choice: { type: 'function', function: { name: 'f' } } }],
    ['chat', { tool_choice: 'none' }],
    ['chat', { response_format: { type: 'json_object' } }],
    [
      'chat',
      {
        messages: [
          { role: 'assistant', content: null },
          { role: 'user', content: [{ type: 'text', text: 'x' }] },
        ],
      },
    ],
    ['completions', { logprobs: 0, echo: true }],
    ['embeddings', { encoding_format: 'base64', dimensions: 3 }],
  ])('%s takes %j as it is', (route, fields) => {
    expect(check(route, fields)).toEqual({ ...base[route], ...fields });
  });

  it('reads what pydantic reads, and null as nothing said', () => {
    const fields = { max_tokens: '5', n: 2.0, temperature: '0.5', stream: 'True', ignore_eos: 1, stop: null };
    const options = { stream_options: { include_usage: 'no', other: 1 } };
    expect(check('chat', { ...fields, ...options })).toMatchObject({
      max_tokens: 5,
      n: 2,
      temperature: 0.5,
      stream: true,
      ignore_eos: true,
      stop: null,
      stream_options: { include_usage: false, other: 1 },
    });
  });
});
