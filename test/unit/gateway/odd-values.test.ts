// Fields that hold another kind of value than their protocol says: they mean nothing, and break neither a request nor its answer.
import { afterEach, expect, it } from 'vitest';
import type { Script } from '#test/support/fake-engine.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness;
afterEach(() => harness.close());

/** An object that no text can be made of, and a list whose text would need a call per level. */
const ODD_VALUES = [
  ['an object', '{"toString":1,"valueOf":2}'],
  ['a deep list', `${'['.repeat(20_000)}${']'.repeat(20_000)}`],
] as const;

/** The text itself, of JSON that no JSON.stringify would write. A model's metadata names no inputs. */
function answerText(text: string): Script {
  const type = text.startsWith('data:') ? 'text/event-stream' : 'application/json';
  return (res, { method }) =>
    void res.writeHead(200, { 'content-type': type }).end(method === 'GET' ? '{"inputs":[]}' : text);
}

function startTriton(): Promise<Harness> {
  return startHarness((url) =>
    createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], {
        engine: 'triton',
        health: { path: '/health', intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 3 },
      }),
    ]),
  );
}

const USAGE = '"usage":{"prompt_tokens":3,"completion_tokens":2}';
const CALL = '"message":{"tool_calls":[{"index":ODD,"function":{"name":"f","arguments":"{}"}}]}';
const CHAT_ANSWERS: readonly [string, string, object][] = [
  ['the index of a choice', `{"choices":[{"index":ODD,"message":{"content":"x"}}]}`, { output: 1 }],
  ['the index of a tool call', `{"choices":[{"index":0,${CALL}}]}`, { output: 1 }],
  ['a count', '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":ODD}}', { input: 3, output: null }],
  [
    'the index in a stream',
    `data: {"choices":[{"index":ODD,"delta":{"content":"x"}}],${USAGE}}\n\ndata: [DONE]\n\n`,
    { input: 3, output: 2 },
  ],
];

it.each(
  ODD_VALUES.flatMap(([kind, odd]) =>
    CHAT_ANSWERS.map(([place, text, tokens]) => [kind, place, text.replace('ODD', odd), tokens] as const),
  ),
)('%s as %s leaves the answer whole and its record completed', async (_kind, _place, text, tokens) => {
  harness = await startHarness();
  harness.engine.answerWith(answerText(text));
  const answer = await send(harness.port);
  expect([answer.status, answer.complete, answer.text === text]).toEqual([200, true, true]);
  expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokens }]);
});

const ASKED =
  '{"inputs":[{"name":"input_ids","datatype":"INT32","data":[1]},{"name":"request_output_len","datatype":"INT32","data":[4]}]}';
const TENSORS: readonly [string, string, string][] = [
  ['the name of an input', '{"inputs":[{"name":ODD,"datatype":ODD,"data":[1]}]}', '{"outputs":[]}'],
  ['the size of an input', '{"inputs":[{"name":"a","parameters":{"binary_data_size":ODD}}]}', '{"outputs":[]}'],
  ['the name of an output', ASKED, '{"outputs":[{"name":ODD,"datatype":"INT32","data":[1]}]}'],
  ['an element of an output', ASKED, '{"outputs":[{"name":"sequence_length","datatype":"INT32","data":[ODD]}]}'],
];

it.each(
  ODD_VALUES.flatMap(([kind, odd]) =>
    TENSORS.map(([place, ...texts]) => [kind, place, ...texts.map((text) => text.replaceAll('ODD', odd))] as const),
  ),
)("%s as %s passes through infer, which is the engine's to refuse", async (_kind, _place, body = '', text = '') => {
  harness = await startTriton();
  harness.engine.answerWith(answerText(text));
  const answer = await send(harness.port, { path: '/v2/models/llama-3.1-70b/infer', body });
  expect([answer.status, answer.complete, answer.text === text]).toEqual([200, true, true]);
  expect(harness.engine.requests.at(-1)?.body.toString() === body).toBe(true);
  expect(harness.metering.records).toMatchObject([{ outcome: 'completed' }]);
});

it.each(ODD_VALUES)('%s among the inputs that a model says to take is no input', async (_kind, odd) => {
  harness = await startTriton();
  harness.engine.answerWith((res, { method }) => {
    const text = method === 'GET' ? `{"inputs":[{"name":${odd}}]}` : '{"text_output":"eight by"}';
    res.writeHead(200, { 'content-type': 'application/json' }).end(text);
  });
  const answer = await send(harness.port, { path: '/v2/models/llama-3.1-70b/generate', body: { text_input: 'x' } });
  expect(answer.text).toBe('{"text_output":"eight by"}');
});

it.each(['-3', '12.5', '1e9', '9007199254740991', '[]', 'null'])(
  'a count of %s is unknown, and taking counts out leaves JSON',
  async (count) => {
    harness = await startTriton();
    harness.engine.answerWith((res, { method }) => {
      const inputs = '{"inputs":[{"name":"return_num_input_tokens"},{"name":"return_num_output_tokens"}]}';
      const text = method === 'GET' ? inputs : `{"num_input_tokens":2,"num_output_tokens":${count},"text_output":"x"}`;
      res.writeHead(200, { 'content-type': 'application/json' }).end(text);
    });
    const answer = await send(harness.port, { path: '/v2/models/llama-3.1-70b/generate', body: { text_input: 'x' } });
    expect(JSON.parse(answer.text)).toMatchObject({ text_output: 'x' });
    expect(harness.metering.records).toMatchObject([{ tokens: { input: 2, output: null } }]);
  },
);

it('a negative count in raw contents is unknown, not four billion', async () => {
  harness = await startTriton();
  const head = '{"outputs":[{"name":"sequence_length","datatype":"INT32","parameters":{"binary_data_size":4}}]}';
  harness.engine.answerWith((res) => {
    res.writeHead(200, { 'inference-header-content-length': head.length });
    res.end(Buffer.concat([Buffer.from(head), Buffer.from([0xff, 0xff, 0xff, 0xff])]));
  });
  await send(harness.port, { path: '/v2/models/llama-3.1-70b/infer', body: ASKED });
  expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokens: { output: null } }]);
});
