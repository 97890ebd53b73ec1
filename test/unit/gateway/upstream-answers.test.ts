// What each engine really answers where it does not stream, one row per trap (upstreams.md; the section stands in the row), and what of a
// client's request must never get to it.
import { afterEach, describe, expect, it } from 'vitest';
import type { EngineName } from '#config/config.ts';
import { answerJson } from '#test/support/fake-engine.ts';
import { type Harness, send } from './harness.ts';
import { post, REPORTED, startBefore, USAGE } from './upstream-facts.ts';

let harness: Harness;
afterEach(() => harness.close());

/** Whole answers, refusals and oddities: name, engine, status, body, record. */
const WHOLE: readonly [string, EngineName, number, unknown, object, string?][] = [
  [
    '§1.3 nulls everywhere, cached tokens always said',
    'tensorrt-llm',
    200,
    {
      choices: [
        { message: { content: 'x', reasoning: null, tool_calls: [] }, finish_reason: 'stop', stop_reason: null },
      ],
      usage: { ...USAGE, prompt_tokens_details: { cached_tokens: 5 } },
      prompt_token_ids: null,
    },
    { outcome: 'completed', tokenSource: 'reported', tokens: { input: 4, cachedInput: 5, output: 4 } },
  ],
  ['§1.5 a dead executor answers null', 'tensorrt-llm', 200, null, { outcome: 'completed', tokenSource: 'estimated' }],
  [
    '§1.5 validation: the error is a text',
    'tensorrt-llm',
    400,
    { error: 'long text' },
    { outcome: 'upstream_error', tokenSource: 'unknown' },
  ],
  [
    '§1.5 any exception is a flat 400',
    'tensorrt-llm',
    400,
    { object: 'error', message: 'too long', type: 'BadRequestError', param: null, code: 400 },
    { outcome: 'upstream_error', tokenSource: 'unknown' },
  ],
  [
    '§1.6 Responses without usage',
    'tensorrt-llm',
    200,
    {
      object: 'response',
      status: 'completed',
      error: null,
      output: [{ type: 'message', content: [{ type: 'output_text', text: 'eight by' }] }],
      usage: null,
    },
    { outcome: 'completed', tokenSource: 'estimated', tokens: { output: 2 } },
    '/v1/responses',
  ],
  [
    '§1.7 Anthropic: input without what was cached',
    'tensorrt-llm',
    200,
    { type: 'message', content: [], usage: { input_tokens: 10, output_tokens: 16, cache_read_input_tokens: 32 } },
    { outcome: 'completed', tokens: { input: 10, cachedInput: 32, output: 16 } },
    '/v1/messages',
  ],
  [
    '§2.3 usage null in a whole answer',
    'triton-openai',
    200,
    { choices: [{ message: { content: 'eight by' } }], usage: null },
    { outcome: 'completed', tokenSource: 'estimated', tokens: { output: 2 } },
  ],
  [
    '§2.4 unknown model is 400 with a detail',
    'triton-openai',
    400,
    { detail: 'Unknown model: x' },
    { outcome: 'upstream_error', status: 400 },
  ],
  [
    '§2.4 validation is 422 with a list',
    'triton-openai',
    422,
    { detail: [{ type: 'extra_forbidden', loc: ['body', 'foo'], msg: 'no' }] },
    { outcome: 'upstream_error', status: 422 },
  ],
  [
    '§2.4 a restricted API is 401',
    'triton-openai',
    401,
    { error: { message: 'no', type: 'authentication_error', code: 'invalid_auth' } },
    { outcome: 'upstream_error', status: 401 },
  ],
  [
    '§5.2 TGI overloaded is 429 with an error_type',
    'tgi',
    429,
    { error: 'Model is overloaded', error_type: 'overloaded' },
    { outcome: 'upstream_error', status: 429 },
  ],
  [
    '§5.3 a last message of the assistant is 200 {}',
    'transformers',
    200,
    {},
    { outcome: 'completed', tokenSource: 'estimated', tokens: { output: null } },
  ],
  [
    '§5.5 Dynamo overloaded is 529',
    'dynamo',
    529,
    { message: 'busy', type: 'Overloaded', code: 529 },
    { outcome: 'upstream_error', status: 529 },
  ],
  [
    '§6 embeddings say prompt and total alone',
    'vllm',
    200,
    { object: 'list', data: [], usage: { prompt_tokens: 8, total_tokens: 8 } },
    { outcome: 'completed', tokenSource: 'reported', tokens: { input: 8, output: 0 } },
    '/v1/embeddings',
  ],
  [
    '§3.2 Triton counts as text or number',
    'triton',
    200,
    { model_name: 'ensemble', text_output: 'x', num_input_tokens: '9', num_output_tokens: 4 },
    REPORTED,
    '/v2/models/m/generate',
  ],
  [
    '§3.1 Triton tells an error as text',
    'triton',
    400,
    { error: 'unexpected input' },
    { outcome: 'upstream_error', status: 400 },
    '/v2/models/m/generate',
  ],
];

describe('a whole answer', () => {
  it.each(WHOLE)('%s (%s)', async (_fact, engine, status, body, record, path = '/v1/chat/completions') => {
    harness = await startBefore(engine);
    harness.engine.answerWith(post(answerJson(body, status)));
    const question = path.startsWith('/v2')
      ? { text_input: 'x', return_num_input_tokens: true, return_num_output_tokens: true }
      : { model: 'm@main', messages: [{ role: 'user', content: 'Hi' }], input: 'x' };
    const answer = await send(harness.port, { path, body: question });
    expect([answer.status, answer.text]).toEqual([status, JSON.stringify(body)]);
    expect(harness.metering.records).toMatchObject([{ status, ...record }]);
  });

  it('§6 reading a Responses answer back is forwarded by no route, so that its usage is never billed twice', async () => {
    harness = await startBefore('vllm');
    const answer = await send(harness.port, { method: 'GET', path: '/v1/responses/resp_1' });
    expect(answer.status).toBe(404);
    expect(harness.engine.requests).toEqual([]);
  });
});

describe('what must not reach an engine', () => {
  it.each([
    ['§1.11', 'x-correlation-id'],
    ['§1.9', 'x-trtllm-msgpack'],
    ['§5.5', 'x-dynamo-worker-instance-id'],
    ['§5.5', 'x-worker-instance-id'],
    ['§5.5', 'x-dp-rank'],
  ])('%s: the header %s steers its routing', async (_section, name) => {
    harness = await startBefore('dynamo');
    await send(harness.port, { body: { model: 'm', messages: [] }, headers: { [name]: '1' } });
    expect(harness.engine.requests.at(-1)?.headers[name]).toBeUndefined();
  });

  it.each([
    '/update_weights',
    '/release_memory',
    '/resume_memory',
    '/pause',
    '/v1/models/m/load',
    '/invocations',
    '/busy_threshold',
    '/perf_metrics',
    '/metrics',
    '/start_profile',
    '/steady_clock_offset',
    '/kv_cache_events',
    '/_internal/tokenize',
    '/v2/repository/models/m/unload',
  ])('§8.3: the route %s', async (path) => {
    harness = await startBefore('vllm');
    for (const method of ['GET', 'POST']) expect((await send(harness.port, { method, path })).status).toBe(404);
    expect(harness.engine.requests).toEqual([]);
  });
});
