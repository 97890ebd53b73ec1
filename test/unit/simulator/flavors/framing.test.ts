// The bytes of each flavour's events and answers, as reference/upstreams.md has them.
import { describe, expect, it } from 'vitest';
import type { AnswerFrame, Flavor, TokenPiece, WholeChoice } from '#simulator/flavors/flavor.ts';
import { transformersFlavor } from '#simulator/flavors/transformers.ts';
import { tritonFlavor } from '#simulator/flavors/triton.ts';
import { trtllmFlavor } from '#simulator/flavors/trtllm.ts';
import { createVllmFlavor } from '#simulator/flavors/vllm.ts';

const vllmFlavor = createVllmFlavor({ promptTokensDetails: false, maxModelLen: 4096 });
const frame: AnswerFrame = { route: 'chat', id: 'chatcmpl-77', created: 1790000000, model: 'm' };
const textFrame: AnswerFrame = { ...frame, route: 'completions', id: 'cmpl-77' };
const usage = { promptTokens: 42, cachedTokens: 32, completionTokens: 2 };
const piece: TokenPiece = {
  choiceIndex: 0,
  index: 0,
  text: 'Hel',
  toolCall: null,
  endReason: null,
  logprobs: false,
  runningUsage: null,
};
const lastPiece: TokenPiece = { ...piece, text: 'lo', endReason: 'length' };
const toolPiece: TokenPiece = { ...piece, text: '', toolCall: { id: 'call_1', name: 'f', opens: true } };
const argumentPiece: TokenPiece = { ...piece, text: '{"a"', toolCall: { id: 'call_1', name: 'f', opens: false } };
const whole: WholeChoice = {
  index: 0,
  text: 'Hello',
  tokens: ['Hel', 'lo'],
  toolCall: null,
  endReason: 'length',
  logprobs: false,
};

describe('trtllm-serve', () => {
  const head = '"id":"chatcmpl-77","object":"chat.completion.chunk","created":1790000000,"model":"m"';

  it('writes a space before the newlines of the role chunk, one chunk per choice', () => {
    expect(trtllmFlavor.roleEvents(frame, [0, 1], null)).toBe(
      `data: {${head},"choices":[{"index":0,"delta":{"role":"assistant"}}]} \n\n` +
        `data: {${head},"choices":[{"index":1,"delta":{"role":"assistant"}}]} \n\n`,
    );
  });

  it('omits nulls in chat chunks', () => {
    expect(trtllmFlavor.tokenEvent(frame, piece)).toBe(
      `data: {${head},"choices":[{"index":0,"delta":{"content":"Hel","reasoning_content":""},"avg_decoded_tokens_per_iter":1.0}]}\n\n`,
    );
    expect(trtllmFlavor.tokenEvent(frame, lastPiece)).toBe(
      `data: {${head},"choices":[{"index":0,"delta":{"content":"lo","reasoning_content":""},"finish_reason":"length"}]}\n\n`,
    );
  });

  it('keeps nulls in completion chunks', () => {
    expect(trtllmFlavor.tokenEvent(textFrame, piece)).toBe(
      'data: {"id":"cmpl-77","object":"text_completion","created":1790000000,"model":"m","choices":[{"index":0,"text":"Hel",' +
        '"token_ids":null,"logprobs":null,"context_logits":null,"finish_reason":null,"stop_reason":null,' +
        '"disaggregated_params":null,"avg_decoded_tokens_per_iter":1.0}],"usage":null}\n\n',
    );
  });

  it('puts usage in a chunk without choices, cached tokens always said', () => {
    expect(trtllmFlavor.usageEvent(frame, usage)).toBe(
      `data: {${head},"choices":[],"usage":{"prompt_tokens":42,"total_tokens":44,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":32}}}\n\n`,
    );
    expect(trtllmFlavor.terminator).toBe('data: [DONE]\n\n');
  });

  it('carries usage in every chunk when it is continuous', () => {
    expect(trtllmFlavor.tokenEvent(frame, { ...piece, runningUsage: usage })).toContain(
      '}],"usage":{"prompt_tokens":42,"total_tokens":44,',
    );
  });

  it('names the function once and then sends pieces of its arguments', () => {
    expect(trtllmFlavor.tokenEvent(frame, toolPiece)).toContain(
      '"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}',
    );
    expect(trtllmFlavor.tokenEvent(frame, argumentPiece)).toContain(
      '"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\""}}]}',
    );
  });

  it('counts logprobs one entry a token', () => {
    expect(trtllmFlavor.tokenEvent(frame, { ...piece, logprobs: true })).toContain(
      '"logprobs":{"content":[{"token":"Hel","logprob":-0.5,"bytes":[72,101,108],"top_logprobs":[]}]}',
    );
  });

  it.each([
    [{}, false, false],
    [{ stream_options: {} }, true, false],
    [{ stream_options: { include_usage: false } }, false, false],
    [{ stream_options: { continuous_usage_stats: true } }, true, true],
    [{ stream_options: { include_usage: false, continuous_usage_stats: true } }, false, false],
  ])('%j: usage at the end %s, in every chunk %s', (body, atEnd, continuous) => {
    expect(trtllmFlavor.streamUsage(body)).toEqual({ atEnd, continuous });
    expect(vllmFlavor.streamUsage(body)).toEqual({ atEnd, continuous });
  });
});

describe("Triton's OpenAI frontend", () => {
  const tail = '"created":1790000000,"model":"m","system_fingerprint":null,"object":"chat.completion.chunk"';

  it('ends every answer with stop, whatever cut it', () => {
    expect(tritonFlavor.tokenEvent(frame, lastPiece)).toBe(
      'data: {"id":"chatcmpl-77","choices":[{"delta":{"content":"lo","tool_calls":null,"role":null},"logprobs":null,' +
        `"finish_reason":"stop","index":0}],${tail},"usage":null}\n\n`,
    );
    expect(tritonFlavor.wholeAnswer(frame, [whole], usage)).toMatchObject({ choices: [{ finish_reason: 'stop' }] });
  });

  it('knows nothing of cached tokens', () => {
    expect(tritonFlavor.usageEvent(frame, usage)).toBe(
      `data: {"id":"chatcmpl-77","choices":[],${tail},"usage":{"prompt_tokens":42,"completion_tokens":2,"total_tokens":44}}\n\n`,
    );
  });

  it('sends roles before prefill, takes sixteen tokens for no limit, and usage only when told', () => {
    expect(tritonFlavor.rolesBeforePrefill).toBe(true);
    expect(tritonFlavor.defaultMaxTokens).toBe(16);
    expect(tritonFlavor.streamUsage({ stream_options: {} }).atEnd).toBe(false);
    expect(tritonFlavor.streamUsage({ stream_options: { include_usage: true } }).atEnd).toBe(true);
    expect(tritonFlavor.wholeAnswer(frame, [whole], null)).toMatchObject({ usage: null });
  });

  it('has cmpl ids with a uuid for chat too', () => {
    const uuid = '0123456789abcdef0123456789abcdef';
    expect(tritonFlavor.answerId({ route: 'chat', requestId: 'r', engineId: 1, uuid })).toBe(
      'cmpl-01234567-89ab-cdef-0123-456789abcdef',
    );
  });
});

describe('vLLM', () => {
  it('writes empty content in the role chunk, and details of the prompt only when enabled', () => {
    expect(vllmFlavor.roleEvents(frame, [0], null)).toBe(
      'data: {"id":"chatcmpl-77","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,' +
        '"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n',
    );
    expect(vllmFlavor.wholeAnswer(frame, [whole], usage)).toMatchObject({ usage: { prompt_tokens_details: null } });
    const detailed = createVllmFlavor({ promptTokensDetails: true, maxModelLen: 4096 });
    expect(detailed.wholeAnswer(frame, [whole], usage)).toMatchObject({
      usage: { prompt_tokens_details: { cached_tokens: 32 } },
    });
    expect(vllmFlavor.usageEvent(frame, usage)).not.toContain('details');
    expect(detailed.usageEvent(frame, usage)).toContain('"prompt_tokens_details":{"cached_tokens":32}');
  });

  it('builds the id from the request id', () => {
    expect(vllmFlavor.answerId({ route: 'chat', requestId: 'r-1', engineId: 1, uuid: 'u' })).toBe('chatcmpl-r-1');
    expect(vllmFlavor.answerId({ route: 'completions', requestId: null, engineId: 1, uuid: 'u' })).toBe('cmpl-u');
  });
});

describe('transformers serve', () => {
  it('puts usage in the last chunk with content and ends without a terminator', () => {
    expect(transformersFlavor.tokenEvent(frame, { ...lastPiece, runningUsage: usage })).toBe(
      'data: {"id":"chatcmpl-77","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,' +
        '"delta":{"content":"lo"},"finish_reason":"length"}],"usage":{"prompt_tokens":42,"completion_tokens":2,"total_tokens":44}}\n\n',
    );
    expect(transformersFlavor.terminator).toBe('');
    expect(transformersFlavor.modelName('acme/m', 'm')).toBe('acme/m@main');
  });
});

const check = (flavor: Flavor, body: Record<string, unknown>) =>
  flavor.check({ route: 'chat', servedModel: 'm', body: { model: 'm', messages: [], ...body } });

describe('what a flavour refuses', () => {
  it('trtllm-serve: unknown fields, stream options without a stream or with more keys', () => {
    const refusal = { status: 400, body: { error: expect.stringContaining('metadata') } };
    expect(check(trtllmFlavor, { metadata: {} })).toEqual(refusal);
    expect(check(trtllmFlavor, { stream_options: {} })?.status).toBe(400);
    expect(check(trtllmFlavor, { stream: true, stream_options: { include_obfuscation: false } })?.status).toBe(400);
    expect(check(trtllmFlavor, { stream: true, stream_options: { include_usage: true } })).toBeUndefined();
    expect(check(trtllmFlavor, { model: 'anything' })).toBeUndefined();
    expect(trtllmFlavor.problem(400, 'too long').body).toEqual({
      object: 'error',
      message: 'too long',
      type: 'BadRequestError',
      param: null,
      code: 400,
    });
  });

  it('Triton: unknown fields 422, unknown model 400, n, logprobs and lists of prompts 400, other keys of stream options let through', () => {
    expect(check(tritonFlavor, { foo: 1 })).toEqual({
      status: 422,
      body: {
        detail: [{ type: 'extra_forbidden', loc: ['body', 'foo'], msg: 'Extra inputs are not permitted', input: 1 }],
      },
    });
    expect(check(tritonFlavor, { model: 'x' })).toEqual({ status: 400, body: { detail: 'Unknown model: x' } });
    expect(check(tritonFlavor, { n: 2 })?.status).toBe(400);
    expect(check(tritonFlavor, { logprobs: true })?.status).toBe(400);
    expect(check(tritonFlavor, { stream: true, stream_options: { odd: 1 } })).toBeUndefined();
    const prompts = { route: 'completions' as const, servedModel: 'm', body: { model: 'm', prompt: ['a', 'b'] } };
    expect(tritonFlavor.check(prompts)?.status).toBe(400);
  });

  it('vLLM: another model with 404, never an unknown field', () => {
    expect(check(vllmFlavor, { model: 'x' })).toEqual({
      status: 404,
      body: { error: { message: 'The model `x` does not exist.', type: 'NotFoundError', param: 'model', code: 404 } },
    });
    expect(check(vllmFlavor, { anything: true })).toBeUndefined();
    expect(check(vllmFlavor, { stream_options: {} })?.status).toBe(400);
  });

  it('transformers serve: stream options with 422, and it has nothing to add to its own turn', () => {
    expect(check(transformersFlavor, { stream: true, stream_options: { include_usage: true } })?.status).toBe(422);
    expect(check(transformersFlavor, { messages: [{ role: 'assistant', content: 'x' }] })).toEqual({
      status: 200,
      body: {},
    });
  });
});
