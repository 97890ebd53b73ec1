import { afterEach, expect, test } from 'vitest';
import type { DeploymentConfig } from '#config/config.ts';
import { answerJson, answerStream, type Script } from '#test/support/fake-engine.ts';
import {
  ADS_KEY,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let running: Harness | undefined;

afterEach(async () => {
  await running?.close();
  running = undefined;
});

const ENSEMBLE_INPUTS = ['text_input', 'max_tokens', 'return_num_input_tokens', 'return_num_output_tokens'];
const LLM_API_INPUTS = ['text_input', 'streaming', 'sampling_param_max_tokens'];

/** A Triton whose model takes `inputs`; everything but its metadata is answered by `script`. */
function triton(inputs: readonly string[], script: Script): Script {
  return (res, request) => {
    if (request.method !== 'GET') return script(res, request);
    return answerJson({ name: 'ensemble', inputs: inputs.map((name) => ({ name })), outputs: [] })(res, request);
  };
}

async function start(script: Script, overrides: Partial<DeploymentConfig> = {}): Promise<Harness> {
  running = await startHarness((url) =>
    createConfig([
      createDeploymentConfig([createUpstreamConfig(url)], {
        engine: 'triton',
        models: ['llama-3.1-70b', 'meta-llama/Llama-3.1-70B-Instruct'],
        servedModel: 'ensemble',
        health: { path: '/health', intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 3 },
        ...overrides,
      }),
    ]),
  );
  running.engine.answerWith(script);
  return running;
}

const PATH = '/v2/models/llama-3.1-70b';
const GENERATE = { text_input: 'Hello there', max_tokens: 16 };
const tokensOf = (harness: Harness) => harness.metering.ends[0]?.record.tokens;
const sentBodies = (harness: Harness) => harness.engine.requests.filter(({ method }) => method === 'POST');

test('generate is asked for token counts where the model takes the question, and the client sees none of it', async () => {
  const harness = await start(
    triton(
      ENSEMBLE_INPUTS,
      answerJson({
        model_name: 'ensemble',
        num_input_tokens: 3,
        num_output_tokens: '16',
        text_output: ' hi "num_input_tokens": 9',
      }),
    ),
  );
  const answer = await send(harness.port, { path: `${PATH}/generate`, body: GENERATE });
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.text)).toEqual({ model_name: 'ensemble', text_output: ' hi "num_input_tokens": 9' });
  const [sent] = sentBodies(harness);
  expect(sent?.path).toBe('/v2/models/ensemble/generate');
  expect(sent?.body.toString()).toBe(
    '{"return_num_input_tokens":true,"return_num_output_tokens":true,"text_input":"Hello there","max_tokens":16}',
  );
  expect(harness.metering.ends).toHaveLength(1);
  expect(harness.metering.ends[0]?.record).toMatchObject({
    route: '/v2/models/{m}/generate',
    requestedModel: 'llama-3.1-70b',
    model: 'llama-3.1-70b',
    outcome: 'completed',
    stream: false,
    tokens: { input: 3, output: 16 },
    tokenSource: 'reported',
  });
  expect(harness.metering.starts[0]).toMatchObject({ work: 'tokens', maxTokens: 16 });
});

test('a model that does not take the question is not asked, and its metadata is read once', async () => {
  const harness = await start(triton(LLM_API_INPUTS, answerJson({ text_output: 'eight by' })));
  for (let round = 0; round < 3; round += 1) {
    const answer = await send(harness.port, { path: `${PATH}/generate`, body: GENERATE });
    expect(answer.text).toBe('{"text_output":"eight by"}');
  }
  expect(harness.engine.requests.filter(({ method }) => method === 'GET')).toHaveLength(1);
  expect(sentBodies(harness)[0]?.body.toString()).toBe(JSON.stringify(GENERATE));
  expect(tokensOf(harness)).toMatchObject({ input: 3, output: 2 });
  expect(harness.metering.ends[0]?.record.tokenSource).toBe('estimated');
});

test('counts that the client asked for itself reach it untouched', async () => {
  const counted = { num_input_tokens: 3, num_output_tokens: 2, text_output: ' hi' };
  const harness = await start(triton(ENSEMBLE_INPUTS, answerJson(counted)));
  const body = { ...GENERATE, return_num_input_tokens: true, parameters: { return_num_output_tokens: true } };
  const answer = await send(harness.port, { path: `${PATH}/generate`, body });
  expect(answer.text).toBe(JSON.stringify(counted));
  expect(answer.headers['content-length']).toBe(String(Buffer.byteLength(answer.text)));
  expect(sentBodies(harness)[0]?.body.toString()).toBe(JSON.stringify(body));
  expect(tokensOf(harness)).toMatchObject({ input: 3, output: 2 });
});

const EVENTS = [' one', ' two', ''].map(
  (text, index) =>
    `data: {"model_name":"ensemble","num_input_tokens":5,"num_output_tokens":${index === 2 ? 0 : 1},"text_output":"${text}"}\n\n`,
);

test.each([
  ['event by event', EVENTS],
  ['in one piece', [EVENTS.join('')]],
  ['byte by byte', [...Buffer.from(EVENTS.join(''))].map((byte) => Buffer.from([byte]))],
])('generate_stream sums the counts of its events and strips them, %s', async (_how, chunks) => {
  const harness = await start(triton(ENSEMBLE_INPUTS, answerStream(chunks)));
  const answer = await send(harness.port, { path: `${PATH}/generate_stream`, body: GENERATE });
  expect(answer.text).toBe(
    [' one', ' two', ''].map((text) => `data: {"model_name":"ensemble","text_output":"${text}"}\n\n`).join(''),
  );
  expect(answer.complete).toBe(true);
  expect(harness.metering.ends).toHaveLength(1);
  expect(harness.metering.ends[0]?.record).toMatchObject({
    outcome: 'completed',
    stream: true,
    route: '/v2/models/{m}/generate_stream',
    tokens: { input: 5, output: 2 },
    tokenSource: 'reported',
  });
  expect(harness.metering.contents.reduce((sum, { steps }) => sum + steps, 0)).toBe(2);
});

test('without counts a stream is counted by its events with text', async () => {
  const events = ['a', 'b', '', 'c'].map((text) => `data: {"text_output":"${text}"}\n\n`);
  const harness = await start(triton(LLM_API_INPUTS, answerStream(events)));
  const answer = await send(harness.port, { path: `${PATH}/generate_stream`, body: GENERATE });
  expect(answer.text).toBe(events.join(''));
  expect(tokensOf(harness)).toMatchObject({ input: 3, output: 3 });
  expect(harness.metering.ends[0]?.record.tokenSource).toBe('counted');
});

test('an error event makes a stream of status 200 a failed one', async () => {
  const harness = await start(
    triton(ENSEMBLE_INPUTS, answerStream([EVENTS[0] ?? '', 'data: {"error":"out of memory"}\n\n'])),
  );
  const answer = await send(harness.port, { path: `${PATH}/generate_stream`, body: GENERATE });
  expect(answer.text).toContain('data: {"error":"out of memory"}\n\n');
  expect(harness.metering.ends[0]?.record).toMatchObject({ outcome: 'upstream_error', tokens: { output: 1 } });
});

test('a stream cut by its engine ends with one error event and keeps the tokens seen', async () => {
  const harness = await start(
    triton(ENSEMBLE_INPUTS, async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      await new Promise((resolve) => res.write(EVENTS[0], resolve));
      await new Promise((resolve) => res.write((EVENTS[1] ?? '').slice(0, 30), resolve));
      setImmediate(() => res.destroy());
    }),
  );
  const answer = await send(harness.port, { path: `${PATH}/generate_stream`, body: GENERATE });
  expect(answer.complete).toBe(false);
  expect(answer.text).toBe(
    'data: {"model_name":"ensemble","text_output":" one"}\n\ndata: {"error":"The engine broke off its answer."}\n\n',
  );
  expect(harness.metering.ends[0]?.record).toMatchObject({
    outcome: 'upstream_error',
    tokens: { input: 5, output: 1 },
  });
});

const binaryInfer = (): { readonly body: Buffer; readonly header: string } => {
  const header = JSON.stringify({
    inputs: [
      { name: 'text_input', datatype: 'BYTES', shape: [1, 1], parameters: { binary_data_size: 9 } },
      { name: 'return_num_output_tokens', datatype: 'BOOL', shape: [1, 1], parameters: { binary_data_size: 1 } },
    ],
    outputs: [{ name: 'num_output_tokens', parameters: { binary_data: true } }],
  });
  const body = Buffer.concat([Buffer.from(header), Buffer.from([5, 0, 0, 0, 0xff, 0, 0x80, 10, 13, 1])]);
  return { body, header };
};

test('binary tensors pass byte for byte both ways, and counts among them are read', async () => {
  const answerHeader = JSON.stringify({
    outputs: [
      { name: 'logits', datatype: 'FP32', shape: [2], parameters: { binary_data_size: 8 } },
      { name: 'num_input_tokens', datatype: 'INT32', shape: [1, 1], parameters: { binary_data_size: 4 } },
      { name: 'num_output_tokens', datatype: 'UINT32', shape: [2], parameters: { binary_data_size: 8 } },
    ],
  });
  const tensors = Buffer.from([1, 2, 3, 4, 0xff, 0xfe, 0, 13, 7, 0, 0, 0, 1, 1, 0, 0, 2, 0, 0, 0]);
  const wholeAnswer = Buffer.concat([Buffer.from(answerHeader), tensors]);
  const harness = await start(
    triton(ENSEMBLE_INPUTS, (res) => {
      res.writeHead(200, {
        'content-type': 'application/octet-stream',
        'inference-header-content-length': Buffer.byteLength(answerHeader),
        'content-length': wholeAnswer.length,
      });
      res.end(wholeAnswer);
    }),
  );
  const { body, header } = binaryInfer();
  const answer = await send(harness.port, {
    path: `${PATH}/versions/3/infer`,
    body,
    headers: { 'content-type': 'application/octet-stream', 'Inference-Header-Content-Length': String(header.length) },
  });
  expect(answer.body.equals(wholeAnswer)).toBe(true);
  expect(answer.headers['inference-header-content-length']).toBe(String(answerHeader.length));
  const [sent] = sentBodies(harness);
  expect(sent?.path).toBe('/v2/models/ensemble/versions/3/infer');
  expect(sent?.body.equals(body)).toBe(true);
  expect(sent?.headers['inference-header-content-length']).toBe(String(header.length));
  expect(harness.metering.starts[0]).toMatchObject({ work: 'tokens' });
  expect(harness.metering.ends[0]?.record).toMatchObject({
    route: '/v2/models/{m}/infer',
    tokens: { input: 7, output: 259 },
    tokenSource: 'reported',
  });
});

test('infer on a model of unknown meaning is measured by time, and told as having no tokens', async () => {
  const harness = await start(
    triton(LLM_API_INPUTS, answerJson({ outputs: [{ name: 'scores', datatype: 'FP32', shape: [1], data: [0.5] }] })),
  );
  const body = { inputs: [{ name: 'image', datatype: 'FP32', shape: [2], data: [1, 2] }] };
  expect((await send(harness.port, { path: `${PATH}/infer`, body })).status).toBe(200);
  expect(harness.metering.starts[0]?.work).toBe('duration');
  expect(harness.metering.ends[0]?.record).toMatchObject({
    tokens: { input: null, output: null },
    tokenSource: 'unknown',
  });
});

test('counts in JSON tensors of an infer answer are read', async () => {
  const tensor = (name: string, data: unknown) => ({ name, datatype: 'INT32', shape: [1, 1], data });
  const harness = await start(
    triton(
      ENSEMBLE_INPUTS,
      answerJson({ outputs: [tensor('num_input_tokens', [[4]]), tensor('num_output_tokens', [6])] }),
    ),
  );
  const body = { inputs: [{ name: 'return_num_input_tokens', datatype: 'BOOL', shape: [1, 1], data: [true] }] };
  await send(harness.port, { path: `${PATH}/infer`, body });
  expect(tokensOf(harness)).toMatchObject({ input: 4, output: 6 });
});

const PROMPT = 'Tell me something of the sea';

test.each([
  ['generate', { text_output: `${PROMPT}, it said.` }, {}, 20],
  ['generate, the prompt left out', { text_output: 'It said.' }, { exclude_input_in_output: true }, 26],
  ['generate of a model that was asked for no echo', { text_output: 'It said.' }, {}, 26],
])(
  '%s is charged what was generated, not the prompt that TensorRT-LLM counts with it',
  async (_what, answer, body, output) => {
    const counts = { num_input_tokens: 6, num_output_tokens: 26 };
    const harness = await start(triton(ENSEMBLE_INPUTS, answerJson({ ...answer, ...counts })));
    const request = { text_input: PROMPT, max_tokens: 64, ...body };
    expect(JSON.parse((await send(harness.port, { path: `${PATH}/generate`, body: request })).text)).toEqual(answer);
    expect(tokensOf(harness)).toMatchObject({ input: 6, output });
    expect(harness.metering.records).toMatchObject([{ tokenSource: 'reported' }]);
  },
);

test('vLLM’s backend repeats the prompt in its text and not in its counts', async () => {
  const inputs = ['text_input', 'sampling_parameters', 'return_num_input_tokens', 'return_num_output_tokens'];
  const answer = { text_output: `${PROMPT}, it said.`, num_input_tokens: 6, num_output_tokens: 26 };
  const harness = await start(triton(inputs, answerJson(answer)));
  await send(harness.port, { path: `${PATH}/generate`, body: { text_input: PROMPT } });
  expect(tokensOf(harness)).toMatchObject({ input: 6, output: 26 });
});

test('a whole reply in a stream is read as one, a reply per step as a step', async () => {
  const event = { text_output: `${PROMPT}, it said.`, num_input_tokens: 6, num_output_tokens: 26 };
  const steps = [
    { ...event, text_output: PROMPT, num_output_tokens: 8 },
    { ...event, num_output_tokens: 7 },
  ];
  for (const [body, events, output] of [
    [{}, [event], 20],
    [{ stream: true }, steps, 15],
  ] as const) {
    const harness = await start(
      triton(ENSEMBLE_INPUTS, answerStream(events.map((one) => `data: ${JSON.stringify(one)}\n\n`))),
    );
    const request = { text_input: PROMPT, max_tokens: 64, ...body };
    await send(harness.port, { path: `${PATH}/generate_stream`, body: request });
    expect(tokensOf(harness)).toMatchObject({ input: 6, output });
    await harness.close();
  }
  running = undefined;
});

const intTensor = (name: string, data: readonly unknown[]) => ({
  name,
  datatype: 'INT32',
  shape: [1, data.length],
  data,
});

test.each([
  ['with the prompt before it', [5, 6, 7, 40, 41, 42, 43], 4],
  ['without the prompt', [40, 41, 42, 43], 4],
])('the C++ model, which takes and gives tokens, is counted by its sequences %s', async (_what, ids, output) => {
  const outputs = [intTensor('output_ids', ids), intTensor('sequence_length', [ids.length])];
  const harness = await start(triton(['input_ids', 'request_output_len'], answerJson({ outputs })));
  const inputs = [
    intTensor('input_ids', [5, 6, 7]),
    intTensor('input_lengths', [3]),
    intTensor('request_output_len', [16]),
  ];
  await send(harness.port, { path: `${PATH}/infer`, body: { inputs } });
  expect(harness.metering.starts[0]).toMatchObject({ work: 'tokens', maxTokens: 16 });
  expect(harness.metering.records).toMatchObject([{ tokenSource: 'reported', tokens: { input: 3, output } }]);
  const generate = { input_ids: [5, 6, 7], input_lengths: 3, request_output_len: 16 };
  harness.engine.answerWith(
    triton(['input_ids', 'request_output_len'], answerJson({ output_ids: ids, sequence_length: ids.length })),
  );
  await send(harness.port, { path: `${PATH}/generate`, body: generate });
  expect(harness.metering.records[1]).toMatchObject({ tokenSource: 'reported', tokens: { input: 3, output } });
});

test('tokens in binary tensors are counted as well', async () => {
  const ints = (...values: number[]) => Buffer.from(Int32Array.from(values).buffer);
  const raw = (name: string, datatype: string, size: number) => ({
    name,
    datatype,
    shape: [1, size],
    parameters: { binary_data_size: size },
  });
  const answerHeader = JSON.stringify({
    outputs: [raw('sequence_length', 'INT32', 4), raw('output_ids', 'INT32', 20)],
  });
  const answer = Buffer.concat([Buffer.from(answerHeader), ints(5), ints(5, 6, 7, 40, 41)]);
  const harness = await start(
    triton([], (res) => {
      const headers = { 'content-type': 'application/octet-stream', 'content-length': answer.length };
      res.writeHead(200, { ...headers, 'inference-header-content-length': answerHeader.length });
      res.end(answer);
    }),
  );
  const header = JSON.stringify({
    inputs: [
      raw('input_ids', 'INT32', 12),
      raw('input_lengths', 'INT32', 4),
      raw('request_output_len', 'INT32', 4),
      raw('streaming', 'BOOL', 1),
    ],
  });
  const body = Buffer.concat([Buffer.from(header), ints(5, 6, 7), ints(3), ints(2), Buffer.from([0])]);
  const headers = {
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(header.length),
  };
  await send(harness.port, { path: `${PATH}/infer`, body, headers });
  expect(sentBodies(harness)[0]?.body.equals(body)).toBe(true);
  expect(harness.metering.starts[0]).toMatchObject({ work: 'tokens', maxTokens: 2 });
  expect(harness.metering.records).toMatchObject([{ tokenSource: 'reported', tokens: { input: 3, output: 2 } }]);
});

test('work: duration is respected on every route', async () => {
  const harness = await start(triton(ENSEMBLE_INPUTS, answerJson({ text_output: 'x' })), { work: 'duration' });
  await send(harness.port, { path: `${PATH}/generate`, body: GENERATE });
  expect(sentBodies(harness)[0]?.body.toString()).toBe(JSON.stringify(GENERATE));
  expect(harness.engine.requests).toHaveLength(1);
  expect(harness.metering.starts[0]?.work).toBe('duration');
  expect(harness.metering.ends[0]?.record).toMatchObject({ tokenSource: 'unknown', outcome: 'completed' });
});

test.each([
  ['an alias with a slash, encoded', '/v2/models/meta-llama%2FLlama-3.1-70B-Instruct/generate', 200],
  ['an alias with a slash, raw', '/v2/models/meta-llama/Llama-3.1-70B-Instruct/generate', 200],
  ['the name upstream, which is nobody else to know', '/v2/models/ensemble/generate', 404],
  ['a version that is no number', `${PATH}/versions/..%2f..%2frepository/generate`, 404],
  ['dot segments', '/v2/models/../repository/models/ensemble/generate', 404],
])('%s in the path answers as its name says', async (_what, path, status) => {
  const harness = await start(triton(LLM_API_INPUTS, answerJson({ text_output: 'x' })));
  const answer = await send(harness.port, { path, body: GENERATE });
  expect(answer.status).toBe(status);
  if (status === 404) {
    expect(JSON.parse(answer.text)).toEqual({ error: expect.any(String) });
    expect(harness.engine.requests).toEqual([]);
    expect(harness.metering.records).toHaveLength(1);
    expect(harness.metering.records[0]?.outcome).toBe('rejected');
  } else expect(sentBodies(harness)[0]?.path).toBe('/v2/models/ensemble/generate');
});

test('bad JSON, a foreign key and a forbidden model answer in KServe words, and nothing is sent', async () => {
  const harness = await start(triton(LLM_API_INPUTS, answerJson({})));
  const path = `${PATH}/generate`;
  const broken = await send(harness.port, { path, body: '{"text_input":' });
  expect([broken.status, JSON.parse(broken.text)]).toEqual([400, { error: 'The request body is not valid JSON.' }]);
  const unknown = await send(harness.port, { path, key: 'sk-nobody-0123456789' });
  expect([unknown.status, JSON.parse(unknown.text)]).toEqual([401, { error: expect.any(String) }]);
  const forbidden = await send(harness.port, { path, key: ADS_KEY });
  expect([forbidden.status, JSON.parse(forbidden.text)]).toEqual([403, { error: expect.any(String) }]);
  expect(harness.engine.requests).toEqual([]);
});

test('an error of the engine passes unchanged and is recorded as one', async () => {
  const refusal = { error: "unexpected inference input 'foo' for model 'ensemble'" };
  const harness = await start(triton(ENSEMBLE_INPUTS, answerJson(refusal, 400)));
  const answer = await send(harness.port, { path: `${PATH}/generate`, body: GENERATE });
  expect([answer.status, answer.text]).toEqual([400, JSON.stringify(refusal)]);
  expect(harness.metering.ends[0]?.record).toMatchObject({
    outcome: 'upstream_error',
    status: 400,
    tokenSource: 'unknown',
  });
});

test('a deployment of another engine does not answer on KServe routes', async () => {
  const harness = await start(answerJson({}), { engine: 'vllm' });
  const answer = await send(harness.port, { path: `${PATH}/generate`, body: GENERATE });
  expect(answer.status).toBe(404);
  expect(harness.engine.requests).toEqual([]);
});

test.each([
  ['one text', { text_output: 'x', num_output_tokens: 40 }, 1],
  ['a list of texts', { text_output: ['x', 'y'], num_output_tokens: 40 }, 2],
])('generate tells how many sequences its answer held, whatever was asked for: %s', async (_what, body, sequences) => {
  const harness = await start(triton(ENSEMBLE_INPUTS, answerJson(body)));
  await send(harness.port, { path: `${PATH}/generate`, body: { ...GENERATE, n: 1000 } });
  expect(harness.metering.starts).toMatchObject([{ sequences: 1000 }]);
  expect(harness.metering.ends).toMatchObject([{ sequences }]);
});

test.each([
  ['one', [{}, {}], 1],
  ['one of several by its number', [{ sequence_index: 0 }, { sequence_index: 2 }, { sequence_index: 1 }], 3],
])('generate_stream tells how many sequences its events held: %s', async (_what, events, sequences) => {
  const lines = events.map((event) => `data: ${JSON.stringify({ text_output: 'x', ...event })}\n\n`);
  const harness = await start(triton(ENSEMBLE_INPUTS, answerStream(lines)));
  await send(harness.port, { path: `${PATH}/generate_stream`, body: { ...GENERATE, n: 1000 } });
  expect(harness.metering.ends).toMatchObject([{ sequences }]);
});

test.each([1, Number.MAX_SAFE_INTEGER])(
  'a length of %d that a text request claims for its prompt is not believed: the model knows no such input and ignores it',
  async (claimed) => {
    const harness = await start(triton(LLM_API_INPUTS, answerJson({ text_output: 'x', num_output_tokens: 4 })));
    await send(harness.port, { path: `${PATH}/generate`, body: { ...GENERATE, input_lengths: claimed } });
    expect(tokensOf(harness)?.input ?? null).toBeNull();
  },
);

test('the length that is said beside token ids is at most theirs', async () => {
  const harness = await start(
    triton(['input_ids', 'input_lengths', 'request_output_len'], answerJson({ sequence_length: 4 })),
  );
  const body = { input_ids: [1, 2, 3], input_lengths: Number.MAX_SAFE_INTEGER, request_output_len: 4, streaming: true };
  await send(harness.port, { path: `${PATH}/generate`, body });
  expect(tokensOf(harness)).toMatchObject({ input: 3, output: 4 });
});
