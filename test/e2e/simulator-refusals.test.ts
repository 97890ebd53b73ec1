// What simulated engines refuse, on the wire: in the words, with the status and at the bounds of the server they stand for.
import { afterEach, describe, expect, it } from 'vitest';
import { createPseudoText } from '#simulator/pseudo-text.ts';
import { type FlavorName, type Simulator, type SimulatorOptions, startSimulator } from '#simulator/start-simulator.ts';

const model = 'llama-3.1-8b';
const running: Simulator[] = [];

afterEach(async () => {
  await Promise.all(running.splice(0).map((simulator) => simulator.close()));
});

async function start(flavor: FlavorName, options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ flavor, model, seed: 1, networkOverheadMs: 0, ...options });
  running.push(simulator);
  return simulator;
}

async function post(simulator: Simulator, path: string, body: object): Promise<{ status: number; body: unknown }> {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${simulator.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? (JSON.parse(text) as unknown) : text };
}

/** A prompt of completions that is `tokens` long: one token stands before its text. */
const promptOf = (tokens: number) => ({ model, prompt: createPseudoText(tokens - 1, 3) });

describe('the context', () => {
  const CONTEXT = 256;
  const tooLong: readonly (readonly [FlavorName, number, object])[] = [
    ['vllm', 400, { error: { type: 'BadRequestError', param: 'input_tokens', code: 400 } }],
    ['trtllm', 400, { object: 'error', type: 'BadRequestError', param: null, code: 400 }],
    ['triton', 500, { detail: expect.stringContaining('exceeds maximum input length') }],
  ];

  it.each(tooLong)(
    '%s refuses a prompt that fills it with %i in its own envelope',
    async (flavor, status, envelope) => {
      const simulator = await start(flavor, { contextTokens: CONTEXT });
      const refused = await post(simulator, '/v1/completions', { ...promptOf(CONTEXT), max_tokens: 1, stream: true });
      expect(refused).toMatchObject({ status, body: envelope });
      expect(simulator.truth()).toMatchObject({ busyMs: 0, requests: [] });
      const taken = await post(simulator, '/v1/completions', { ...promptOf(CONTEXT - 1), max_tokens: 1 });
      expect(taken).toMatchObject({ status: 200, body: { usage: { total_tokens: CONTEXT } } });
    },
  );

  it('vLLM refuses an answer that might leave it, others cut the answer there and say so', async () => {
    const vllm = await start('vllm', { contextTokens: CONTEXT });
    const wanted = { ...promptOf(250), ignore_eos: true };
    expect(await post(vllm, '/v1/completions', { ...wanted, max_tokens: 7 })).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('a total of at least 257 tokens') } },
    });
    expect(await post(vllm, '/v1/completions', { ...wanted, max_tokens: 6 })).toMatchObject({ status: 200 });
    for (const [simulator, limit] of [
      [vllm, {}],
      [await start('trtllm', { contextTokens: CONTEXT }), { max_tokens: 1e9, stop: 'never said' }],
    ] as const) {
      expect(await post(simulator, '/v1/completions', { ...wanted, ...limit })).toMatchObject({
        status: 200,
        body: { choices: [{ finish_reason: 'length' }], usage: { prompt_tokens: 250, completion_tokens: 6 } },
      });
    }
  });

  it('is what vLLM says of its model: the model’s own, or what its KV cache has room for', async () => {
    const declared = async (options: Partial<SimulatorOptions>) => {
      const simulator = await start('vllm', options);
      const { data } = (await (await fetch(`${simulator.url}/v1/models`)).json()) as {
        data: { max_model_len: number }[];
      };
      return { simulator, maxModelLen: data[0]?.max_model_len };
    };
    expect((await declared({})).maxModelLen).toBe(131_072);
    expect((await declared({ model: 'google/gemma-2-27b-it' })).maxModelLen).toBe(8192);
    const { simulator, maxModelLen } = await declared({ kvCapacityTokens: 650 });
    expect(maxModelLen).toBe(639);
    const filling = { ...promptOf(600), max_tokens: 39, ignore_eos: true };
    expect(await post(simulator, '/v1/completions', filling)).toMatchObject({ status: 200 });
    expect(await post(simulator, '/v1/completions', { ...filling, max_tokens: 40 })).toMatchObject({ status: 400 });
  });

  it('may be filled by a text to embed, and a longer one is refused', async () => {
    const simulator = await start('vllm', { contextTokens: CONTEXT });
    const embed = (tokens: number) => post(simulator, '/v1/embeddings', { model, input: promptOf(tokens).prompt });
    expect([(await embed(CONTEXT)).status, (await embed(CONTEXT + 1)).status]).toEqual([200, 400]);
  });
});

describe('a refusal in another protocol than chat', () => {
  const long = createPseudoText(300, 3);
  const tokens = { max_tokens: 3, messages: [{ role: 'user', content: 'x' }] };

  it.each([
    ['max_output_tokens', { input: 'x', max_output_tokens: 0 }],
    ['input', { input: [] }],
    ['temperature', { input: 'x', temperature: 'hot' }],
    ['tools', { input: 'x', tools: [5] }],
    ['input_tokens', { input: long }],
  ])('of Responses blames %s', async (param, fields) => {
    const simulator = await start('vllm', { contextTokens: 256 });
    const refused = await post(simulator, '/v1/responses', { model, ...fields });
    expect(refused).toMatchObject({ status: 400, body: { error: { param } } });
  });

  it.each([
    ['stop_sequences: ', { stop_sequences: 5 }],
    ['temperature: ', { temperature: -1 }],
    ['tools: ', { tools: [5] }],
    ["This model's maximum context length is 256", { messages: [{ role: 'user', content: long }] }],
  ])('of Messages begins with %s', async (begin, fields) => {
    const simulator = await start('vllm', { contextTokens: 256 });
    const refused = await post(simulator, '/v1/messages', { model, ...tokens, ...fields });
    const message = expect.stringMatching(new RegExp(`^${begin}`));
    expect(refused).toMatchObject({ status: 400, body: { type: 'error', error: { message } } });
  });
});

describe('a value of the wrong kind', () => {
  const wrong: readonly (readonly [FlavorName, number, object])[] = [
    ['vllm', 400, { error: { type: 'BadRequestError', param: 'stop', code: 400 } }],
    ['trtllm', 400, { error: expect.stringContaining("'stop'") }],
    ['triton', 422, { detail: [{ loc: ['body', 'stop'] }] }],
    ['transformers', 422, { detail: expect.any(String) }],
  ];

  it.each(wrong)('%s refuses it with %i in its own envelope', async (flavor, status, body) => {
    const simulator = await start(flavor);
    expect(await post(simulator, '/v1/completions', { ...promptOf(3), stop: 5 })).toMatchObject({ status, body });
    expect(simulator.truth().requests).toEqual([]);
  });

  it('is not what can be read as the right one: a stream asked for in words is a stream', async () => {
    const simulator = await start('vllm');
    const asked = { ...promptOf(3), max_tokens: '2', stream: 'true', stream_options: { include_usage: 'true' } };
    expect((await post(simulator, '/v1/completions', asked)).body).toMatch(/"completion_tokens":2\D[^]*\[DONE\]/);
  });

  it.each([
    ['suffix', { suffix: 'x' }],
    ['more tokens at least than at most', { min_tokens: 4, max_tokens: 3 }],
    ['texts and tokens as one list of prompts', { prompt: ['a', [1]] }],
    ['a token that is none', { prompt: [-1] }],
  ])('vLLM refuses also %s', async (_what, fields) => {
    expect((await post(await start('vllm'), '/v1/completions', { ...promptOf(3), ...fields })).status).toBe(400);
  });
});
