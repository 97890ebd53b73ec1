// What each engine really streams, one row per trap (upstreams.md; the section stands in the row): the client gets the engine's bytes, less the
// usage chunk that the gateway asked for, and one record says what was worked.
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import type { EngineName } from '#config/config.ts';
import { answerStream } from '#test/support/fake-engine.ts';
import { type Harness, send } from './harness.ts';
import { data, post, REPORTED, startBefore, USAGE } from './upstream-facts.ts';

let harness: Harness;
afterEach(() => harness.close());

const chunk = (rest: object, top: object = {}): string =>
  data({
    id: 'chatcmpl-77',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'm',
    ...top,
    choices: [{ index: 0, ...rest }],
  });
const word = (content: string, top: object = {}): string => chunk({ delta: { content } }, top);
const finish = (reason = 'stop'): string => chunk({ delta: {}, finish_reason: reason });
const usageChunk = (usage: object, top: object = {}): string =>
  data({ id: 'chatcmpl-77', object: 'chat.completion.chunk', ...top, choices: [], usage });
const DONE = 'data: [DONE]\n\n';
const COUNTED = { tokenSource: 'counted', tokens: { output: 2 } };

/** Streams of chat (unless a path says otherwise): name, engine, the events, which of them the client does not get, the record. */
interface StreamRow {
  readonly fact: string;
  readonly engine: EngineName;
  readonly path?: string;
  readonly body?: object;
  readonly events: readonly string[];
  /** Events that the gateway takes out, by index. */
  readonly removed?: readonly number[];
  readonly record: object;
}

const STREAMS: readonly StreamRow[] = [
  {
    fact: '§1.4 a role chunk with a space before its line end, usage before [DONE] with its nulls',
    engine: 'tensorrt-llm',
    events: [
      `${chunk({ delta: { role: 'assistant' } }).trimEnd()} \n\n`,
      word('Hel'),
      word('lo'),
      finish(),
      usageChunk({ ...USAGE, prompt_tokens_details: { cached_tokens: 0 }, completion_tokens_details: null }),
      DONE,
    ],
    removed: [4],
    record: { ...REPORTED, tokens: { input: 9, cachedInput: 0, output: 4, reasoning: null } },
  },
  {
    fact: '§1.4 older code: a new id and time in every chunk',
    engine: 'tensorrt-llm',
    events: [
      ...['Hel', 'lo'].map((text, index) => word(text, { id: `chatcmpl-${index}`, created: index })),
      finish(),
      usageChunk(USAGE, { id: 'chatcmpl-x' }),
      DONE,
    ],
    removed: [3],
    record: REPORTED,
  },
  {
    fact: '§1.4 newer code: chunks without content for steps that bore a token',
    engine: 'tensorrt-llm',
    events: [word('Hel'), word(''), word(''), word('lo'), finish('length'), usageChunk(USAGE), DONE],
    removed: [5],
    record: REPORTED,
  },
  {
    fact: '§1.4 completions write "usage":null where they say none',
    engine: 'tensorrt-llm',
    path: '/v1/completions',
    body: { prompt: 'x' },
    events: [
      data({ id: 'cmpl-1', choices: [{ index: 0, text: 'Hello', finish_reason: null }], usage: null }),
      data({ id: 'cmpl-1', choices: [{ index: 0, text: '', finish_reason: 'stop' }], usage: null }),
      data({ id: 'cmpl-1', choices: [], usage: USAGE }),
      DONE,
    ],
    removed: [2],
    record: REPORTED,
  },
  {
    fact: '§1.4 a list of prompts: one usage chunk each, to be summed by id',
    engine: 'tensorrt-llm',
    path: '/v1/completions',
    body: { prompt: ['x', 'y', 'z'], n: 1 },
    events: [
      ...[0, 1, 2].map((index) =>
        data({ id: `cmpl-${index}`, choices: [{ index, text: 'a', finish_reason: 'stop' }] }),
      ),
      ...[0, 1, 2].map((index) =>
        data({ id: `cmpl-${index}`, choices: [], usage: { prompt_tokens: 3, completion_tokens: index } }),
      ),
      DONE,
    ],
    removed: [3, 4, 5],
    record: { tokenSource: 'reported', tokens: { input: 9, output: 3 } },
  },
  {
    fact: '§1.4 n choices: the prompt once, the completions summed by the engine',
    engine: 'tensorrt-llm',
    body: { n: 2 },
    events: [
      chunk({ index: 0, delta: { content: 'a' } }),
      chunk({ index: 1, delta: { content: 'b' } }),
      chunk({ index: 1, delta: {}, finish_reason: 'stop' }),
      chunk({ index: 0, delta: {}, finish_reason: 'stop' }),
      usageChunk(USAGE),
      DONE,
    ],
    removed: [4],
    record: REPORTED,
  },
  {
    fact: '§1.4 tool calls: fragments are content, finish_reason tool_calls',
    engine: 'tensorrt-llm',
    events: [
      chunk({ delta: { tool_calls: [{ index: 0, id: 'c1', function: { name: 'find', arguments: '' } }] } }),
      chunk({ delta: { tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] } }),
      finish('tool_calls'),
      DONE,
    ],
    record: COUNTED,
  },
  {
    fact: '§2.3 Triton: no usage chunk although it was asked for, finish_reason stop whatever the reason',
    engine: 'triton-openai',
    events: [word('Hel'), word('lo'), finish('stop'), DONE],
    record: COUNTED,
  },
  {
    fact: '§2.3 Triton: a usage chunk without any details',
    engine: 'triton-openai',
    events: [word('Hel', { system_fingerprint: null }), finish('stop'), usageChunk(USAGE), DONE],
    removed: [2],
    record: { ...REPORTED, tokens: { input: 9, cachedInput: null, output: 4, reasoning: null } },
  },
  {
    fact: '§5.1 vLLM: comments between events',
    engine: 'vllm',
    events: [': keep-alive\n\n', word('Hel'), ': keep-alive\n\n', finish(), usageChunk(USAGE), DONE],
    removed: [4],
    record: REPORTED,
  },
  {
    fact: '§5.1 vLLM: null prompt details, metrics beside the usage',
    engine: 'vllm',
    events: [
      word('Hel'),
      finish(),
      usageChunk(
        { ...USAGE, prompt_tokens_details: null },
        { metrics: { time_to_first_token_ms: 200, queue_time_ms: 1 } },
      ),
      DONE,
    ],
    removed: [2],
    record: { ...REPORTED, tokens: { input: 9, cachedInput: null, output: 4 } },
  },
  {
    fact: '§5.1 vLLM: an error event, then [DONE]: failed, and its text is no output',
    engine: 'vllm',
    events: [
      word('Hel'),
      data({ error: { message: 'many words of no use', type: 'x', param: null, code: 400 } }),
      DONE,
    ],
    record: { outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 1 } },
  },
  {
    fact: '§5.2 TGI: the usage chunk has an empty id',
    engine: 'tgi',
    events: [word('Hel', { id: '' }), finish(), usageChunk(USAGE, { id: '' }), DONE],
    removed: [2],
    record: REPORTED,
  },
  {
    fact: '§5.3 transformers: usage unasked in the last chunk that has choices, no [DONE], the model with its revision',
    engine: 'transformers',
    events: [
      word('Hel', { model: 'served@main' }),
      data({ id: 'r', model: 'served@main', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: USAGE }),
    ],
    record: REPORTED,
  },
  {
    fact: '§5.3 transformers: an error as text',
    engine: 'transformers',
    events: [word('Hel'), 'data: {"error": "out of memory on this device"}\n\n'],
    record: { outcome: 'upstream_error', tokenSource: 'counted', tokens: { output: 1 } },
  },
  {
    fact: '§5.5 Dynamo: named annotations and comments among the chunks',
    engine: 'dynamo',
    events: [
      'event: worker_id\n: "7587"\n\n',
      word('Hel'),
      finish(),
      usageChunk({ ...USAGE, completion_tokens_details: { reasoning_tokens: 1 } }),
      DONE,
    ],
    removed: [3],
    record: { tokenSource: 'reported', tokens: { input: 9, output: 3, reasoning: 1 } },
  },
  {
    fact: '§6 OpenAI: obfuscation is no content, usage null in every other chunk',
    engine: 'openai',
    body: { stream_options: { include_usage: true } },
    events: [
      chunk({ delta: { content: '' } }, { usage: null, obfuscation: 'x8Kq2' }),
      chunk({ delta: { content: 'Hel' } }, { usage: null, obfuscation: 'aa' }),
      chunk({ delta: {}, finish_reason: 'stop' }, { usage: null }),
      usageChunk({ ...USAGE, prompt_tokens_details: { cached_tokens: 5, cache_write_tokens: 1 } }),
      DONE,
    ],
    record: { tokenSource: 'reported', tokens: { input: 4, cachedInput: 5, output: 4 } },
  },
  {
    fact: '§6 data over several lines, fields without a space, CRLF',
    engine: 'openai',
    events: [
      'data:{"choices":[{"index":0,\r\ndata:"delta":{"content":"Hel"}}]}\r\n\r\n',
      `data:${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\r\n\r\n`,
      `data:${JSON.stringify({ choices: [], usage: USAGE })}\r\n\r\n`,
      'data:[DONE]\r\n\r\n',
    ],
    removed: [2],
    record: REPORTED,
  },
  {
    fact: '§3.2 Triton generate_stream: output counted per event, input repeated, no [DONE], perf fields as text',
    engine: 'triton',
    path: '/v2/models/m/generate_stream',
    body: { text_input: 'x', return_num_input_tokens: true, return_num_output_tokens: true },
    events: [
      data({ model_name: 'ensemble', text_output: 'Hel', num_input_tokens: 9, num_output_tokens: 1 }),
      data({
        model_name: 'ensemble',
        text_output: 'lo',
        num_input_tokens: 9,
        num_output_tokens: '3',
        last_token_time_ns: '76736545324000',
      }),
    ],
    record: REPORTED,
  },
  {
    fact: '§3.2 Triton generate_stream: an error inside, status 200',
    engine: 'triton',
    path: '/v2/models/m/generate_stream',
    body: { text_input: 'x' },
    events: [data({ text_output: 'Hel' }), 'data: {"error":"in ensemble, failed to infer"}\n\n'],
    record: { outcome: 'upstream_error' },
  },
];

describe('a stream', () => {
  it.each(STREAMS)('$engine $fact', async ({ engine, path, body, events, removed = [], record }) => {
    harness = await startBefore(engine);
    harness.engine.answerWith(post(answerStream(events)));
    const answer = await send(harness.port, {
      path: path ?? '/v1/chat/completions',
      body: { model: 'm', messages: [{ role: 'user', content: 'Hi' }], stream: true, ...body },
    });
    expect(answer.text).toBe(events.filter((_event, index) => !removed.includes(index)).join(''));
    expect(answer.complete).toBe(true);
    const asks = engine !== 'transformers' && engine !== 'triton';
    // An engine may be asked for its models meanwhile.
    const sent = harness.engine.requests.findLast(({ method }) => method === 'POST');
    expect(String(sent?.body).includes('"include_usage":true')).toBe(asks);
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', status: 200, ...record }]);
  });

  it('that comes compressed although nobody asked passes as it is, and its record knows no output instead of none', async () => {
    harness = await startBefore('vllm');
    const bytes = gzipSync([word('Hel'), word('lo'), finish(), DONE].join(''));
    harness.engine.answerWith(
      post((res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' });
        res.end(bytes);
      }),
    );
    const body = { model: 'm', messages: [{ role: 'user', content: 'Hi' }], stream: true };
    const answer = await send(harness.port, { path: '/v1/chat/completions', body });
    expect(answer.body).toEqual(bytes);
    const tokens = { input: 1, cachedInput: null, output: null, reasoning: null };
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'estimated', tokens }]);
  });
});
