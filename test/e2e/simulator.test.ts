// The simulated engine on the wire: the official SDK against every flavour, routes, faults, disconnects, truth.
import { request } from 'node:http';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { createPseudoText } from '#simulator/pseudo-text.ts';
import { startSimulator } from '#simulator/start-simulator.ts';
import type { FlavorName, RequestTruth, Simulator, SimulatorOptions } from '#simulator/start-simulator.ts';

const model = 'llama-3.1-8b';
const running: Simulator[] = [];

async function start(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ flavor: 'trtllm', model, seed: 1, networkOverheadMs: 0, ...options });
  running.push(simulator);
  return simulator;
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((simulator) => simulator.close()));
});

const clientOf = (simulator: Simulator) =>
  new OpenAI({ baseURL: `${simulator.url}/v1`, apiKey: 'unused', maxRetries: 0 });

const messages = [{ role: 'user' as const, content: 'tell me something' }];
const body = (fields: Record<string, unknown> = {}) => ({
  model,
  messages,
  max_tokens: 8,
  ignore_eos: true,
  ...fields,
});

function post(
  simulator: Simulator,
  fields: unknown,
  options: { path?: string; fault?: string; signal?: AbortSignal } = {},
) {
  return fetch(`${simulator.url}${options.path ?? '/v1/chat/completions'}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(options.fault === undefined ? {} : { 'x-simulate': options.fault }),
    },
    body: typeof fields === 'string' ? fields : JSON.stringify(fields),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
}

/** Waits for the next truth that the check accepts; the engine's clock is real time here. */
async function waitForTruth(simulator: Simulator, check: (requests: readonly RequestTruth[]) => boolean) {
  for (;;) {
    const { requests } = simulator.truth();
    if (check(requests)) return requests;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function readUntilBroken(response: Response): Promise<{ text: string; broken: boolean }> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const piece of response.body ?? []) text += decoder.decode(piece as Uint8Array, { stream: true });
    return { text, broken: false };
  } catch {
    return { text, broken: true };
  }
}

const contentOf = (text: string): number => text.split('\n').filter((line) => /"content":"[^"]/.test(line)).length;

describe.each<FlavorName>(['trtllm', 'triton', 'vllm', 'transformers'])('the OpenAI SDK against %s', (flavor) => {
  it('chats, whole and streamed, with the same words and the counts of the truth', async () => {
    const simulator = await start({ flavor });
    const client = clientOf(simulator);
    const whole = await client.chat.completions.create({ model, messages, max_tokens: 12 });
    const stream = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 12,
      stream: true,
      ...(flavor === 'transformers' ? {} : { stream_options: { include_usage: true } }),
    });
    let text = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]?.message.content);
    expect(usage).toMatchObject({ prompt_tokens: whole.usage?.prompt_tokens, completion_tokens: 12 });
    const requests = await waitForTruth(simulator, (all) => all.every((one) => one.finishedAtMs !== null));
    for (const request of requests) {
      expect(request).toMatchObject({ completionTokens: 12, promptTokens: whole.usage?.prompt_tokens, aborted: false });
    }
    expect(requests.map((request) => request.id)).toContain(whole.id);
    const { busyMs } = simulator.truth();
    expect(requests.reduce((sum, request) => sum + request.gpuTimeMs, 0)).toBeCloseTo(busyMs, 6);
  });

  it('lists its model and completes a prompt', async () => {
    const client = clientOf(await start({ flavor }));
    const ids: string[] = [];
    for await (const card of client.models.list()) ids.push(card.id);
    expect(ids).toEqual([model]);
    const completion = await client.completions.create({ model, prompt: 'once upon a time', max_tokens: 5 });
    expect(completion.choices[0]?.text).not.toBe('');
    expect(completion.usage?.completion_tokens).toBe(5);
  });
});

describe('the OpenAI SDK', () => {
  it('streams a tool call whose pieces join to valid arguments', async () => {
    const client = clientOf(await start());
    const stream = client.chat.completions.stream({
      model,
      messages,
      tool_choice: 'required',
      tools: [
        {
          type: 'function',
          function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
        },
      ],
    });
    const [choice] = (await stream.finalChatCompletion()).choices;
    expect(choice?.finish_reason).toBe('tool_calls');
    const [call] = choice?.message.tool_calls ?? [];
    expect(call).toMatchObject({ type: 'function', function: { name: 'weather' } });
    expect(JSON.parse(call?.type === 'function' ? call.function.arguments : '')).toEqual({ city: expect.any(String) });
  });

  it('gets embeddings, which cost prefill and nothing else', async () => {
    const simulator = await start();
    const answer = await clientOf(simulator).embeddings.create({
      model,
      input: ['one text', 'another text'],
      dimensions: 16,
    });
    expect(answer.data.map((one) => one.embedding.length)).toEqual([16, 16]);
    expect(answer.data[0]?.embedding).not.toEqual(answer.data[1]?.embedding);
    expect(answer.usage.total_tokens).toBe(answer.usage.prompt_tokens);
    const [request] = simulator.truth().requests;
    expect(request).toMatchObject({ decodeMs: 0, completionTokens: 0, promptTokens: answer.usage.prompt_tokens });
    expect(request?.prefillMs).toBeGreaterThan(7);
  });

  it('gets n choices that differ, the prompt counted once', async () => {
    const simulator = await start();
    const answer = await clientOf(simulator).chat.completions.create({ model, messages, n: 3, max_tokens: 6 });
    expect(new Set(answer.choices.map((choice) => choice.message.content)).size).toBe(3);
    expect(answer.usage).toMatchObject({
      prompt_tokens: simulator.truth().requests[0]?.promptTokens,
      completion_tokens: 18,
    });
  });
});

describe('on the wire', () => {
  it('Triton sends its role chunk before the prompt is computed, trtllm-serve after', async () => {
    const long = [{ role: 'user', content: createPseudoText(12_000, 3) }];
    for (const [flavor, before] of [
      ['triton', true],
      ['trtllm', false],
    ] as const) {
      const simulator = await start({ flavor });
      const response = await post(simulator, body({ messages: long, stream: true }));
      const first = await response.body?.getReader().read();
      expect(new TextDecoder().decode(first?.value)).toContain('"role":"assistant"');
      expect(simulator.truth().requests[0]?.firstTokenAtMs === null).toBe(before);
    }
  });

  it('trtllm-serve sends usage per prompt of a list, vLLM once', async () => {
    for (const [flavor, usages, ids] of [
      ['trtllm', 2, 2],
      ['vllm', 1, 1],
    ] as const) {
      const simulator = await start({ flavor });
      const fields = {
        model,
        prompt: ['first', 'second one'],
        max_tokens: 4,
        ignore_eos: true,
        stream: true,
        stream_options: {},
      };
      const text = await (await post(simulator, fields, { path: '/v1/completions' })).text();
      expect(text.match(/"usage":\{/g)).toHaveLength(usages);
      expect(new Set(text.match(/"id":"[^"]+"/g)).size).toBe(ids);
      expect(text.match(/\[DONE\]/g)).toHaveLength(1);
      expect(new Set(text.match(/"index":\d/g))).toEqual(new Set(['"index":0', '"index":1']));
    }
  });

  it('a second prompt with the same head reports cached tokens where the engine says so', async () => {
    const simulator = await start();
    const shared = createPseudoText(320, 5);
    await (await post(simulator, body({ messages: [{ role: 'user', content: `${shared} one` }] }))).json();
    const answer = await post(simulator, body({ messages: [{ role: 'user', content: `${shared} two` }] }));
    expect(await answer.json()).toMatchObject({ usage: { prompt_tokens_details: { cached_tokens: 320 } } });
  });

  it('an engine without token outputs has no usage anywhere', async () => {
    const simulator = await start({ flavor: 'triton', noUsage: true });
    expect(await (await post(simulator, body())).json()).toMatchObject({ usage: null });
    const stream = await post(simulator, body({ stream: true, stream_options: { include_usage: true } }));
    const text = await stream.text();
    expect(text).not.toContain('"usage":{');
    expect(text).toContain('[DONE]');
  });

  it('health, version and metrics are those of the flavour', async () => {
    const get = async (simulator: Simulator, path: string) => (await fetch(`${simulator.url}${path}`)).status;
    const trtllm = await start();
    const triton = await start({ flavor: 'triton' });
    const vllm = await start({ flavor: 'vllm' });
    const transformers = await start({ flavor: 'transformers' });
    expect([await get(trtllm, '/health'), await get(trtllm, '/version'), await get(trtllm, '/ping')]).toEqual([
      200, 200, 404,
    ]);
    expect([await get(triton, '/health/ready'), await get(triton, '/health'), await get(triton, '/version')]).toEqual([
      200, 404, 404,
    ]);
    triton.setReady(false);
    expect(await get(triton, '/health/ready')).toBe(400);
    expect([await get(vllm, '/health'), await get(vllm, '/ping')]).toEqual([200, 200]);
    expect(await (await fetch(`${transformers.url}/health`)).json()).toEqual({ status: 'ok' });
    expect(await get(transformers, '/metrics')).toBe(404);
    expect(await get(triton, `/v1/models/${model}`)).toBe(200);
    await (await post(vllm, body())).text();
    expect(await (await fetch(`${vllm.url}/metrics`)).text()).toContain(
      'vllm:generation_tokens_total{model_name="llama-3.1-8b"} 8',
    );
  });

  it("trtllm-serve's iteration rows are gone once read", async () => {
    const simulator = await start();
    await (await post(simulator, body())).text();
    const rows = (await (await fetch(`${simulator.url}/metrics`)).json()) as { gpuForwardTimeMS: number }[];
    expect(rows).toHaveLength(8);
    expect(rows.reduce((sum, row) => sum + row.gpuForwardTimeMS, 0)).toBeCloseTo(simulator.truth().busyMs, 6);
    expect(await (await fetch(`${simulator.url}/metrics`)).json()).toEqual([]);
  });

  it.each([
    ['trtllm', 400],
    ['triton', 422],
    ['vllm', 400],
    ['transformers', 422],
  ] as const)(
    '%s refuses broken JSON, missing messages and bad numbers with %i, and lives on',
    async (flavor, status) => {
      const simulator = await start({ flavor });
      for (const bad of ['{"model":', '[]', '"x"', { model }, body({ max_tokens: -1 }), body({ max_tokens: 'x' })]) {
        expect((await post(simulator, bad)).status).toBe(status);
      }
      expect((await post(simulator, body())).status).toBe(200);
    },
  );

  it('a prompt beyond the KV cache is refused before anything is sent', async () => {
    const simulator = await start({ kvCapacityTokens: 640, contextTokens: 131_072 });
    const response = await post(
      simulator,
      body({ messages: [{ role: 'user', content: createPseudoText(700, 1) }], stream: true }),
    );
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ object: 'error', type: 'BadRequestError' });
    expect(simulator.truth().requests).toMatchObject([{ gpuTimeMs: 0, aborted: true }]);
  });

  it('the truth is served as JSON, filtered by the instant of the end', async () => {
    const simulator = await start({ gpus: 2 });
    await (await post(simulator, body())).text();
    const read = async (query: string) =>
      (await (await fetch(`${simulator.url}/truth${query}`)).json()) as ReturnType<Simulator['truth']>;
    const truth = await read('');
    expect(truth).toMatchObject({ model, gpus: 2, busyGpuMs: truth.busyMs * 2 });
    expect(truth.totalGpuMs).toBeCloseTo((truth.nowMs - truth.startedAtMs) * 2, 6);
    expect(truth.requests).toHaveLength(1);
    expect((await read(`?since=${truth.nowMs + 1}`)).requests).toHaveLength(0);
  });
});

describe('a request whose target is no path', () => {
  it.each([
    ['vllm', '//'],
    ['triton', '/v1/models/%zz'],
    ['kserve', '/v2/models/%zz'],
    ['kserve', '/v2/models/%zz/generate'],
  ] as const)('%s has nothing at %s, and lives on', async (flavor, target) => {
    const simulator = await start({ flavor });
    const { port } = simulator;
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const asking = request({ port, path: target, agent: false }, (answer) => resolve(answer.resume().statusCode));
      asking.once('error', reject).end();
    });
    expect(status).toBe(404);
    expect((await fetch(`${simulator.url}/truth`)).status).toBe(200);
  });
});

describe('baseline', () => {
  it('runs one request at a time while the optimised engine runs them together', async () => {
    const spend = async (baseline: boolean) => {
      const simulator = await start({ baseline, noiseCv: 0 });
      await Promise.all([1, 2, 3].map(async (seed) => (await post(simulator, body({ seed }))).text()));
      const { requests, busyMs } = simulator.truth();
      return { busyMs, steps: requests.reduce((sum, request) => sum + request.steps, 0), requests };
    };
    const fast = await spend(false);
    const slow = await spend(true);
    expect(slow.steps).toBe(fast.steps);
    expect(slow.busyMs).toBeGreaterThan(2 * fast.busyMs);
    const spans = slow.requests.map((one) => [one.firstTokenAtMs ?? 0, one.finishedAtMs ?? 0] as const);
    for (const [index, [first]] of spans.entries()) {
      if (index > 0) expect(first).toBeGreaterThan(spans[index - 1]?.[1] ?? Infinity);
    }
  });
});

describe('hanging up', () => {
  it.each(['vllm', 'trtllm'] as const)('takes the request out of the batch of %s', async (flavor) => {
    const simulator = await start({ flavor });
    const abort = new AbortController();
    const response = await post(simulator, body({ stream: true, max_tokens: 4000 }), { signal: abort.signal });
    await response.body?.getReader().read();
    abort.abort();
    const [request] = await waitForTruth(simulator, (all) => all[0]?.finishedAtMs !== null);
    expect(request).toMatchObject({ aborted: true });
    expect(request?.completionTokens).toBeLessThan(1000);
    expect(request?.gpuTimeMs).toBeGreaterThan(0);
  });

  it('an engine that never notices runs to the end and spends its GPU time', async () => {
    const simulator = await start({ flavor: 'triton', disconnectLagMsMax: Infinity });
    const abort = new AbortController();
    const response = await post(simulator, body({ stream: true, max_tokens: 40 }), { signal: abort.signal });
    await response.body?.getReader().read();
    abort.abort();
    const [request] = await waitForTruth(simulator, (all) => all[0]?.finishedAtMs !== null);
    expect(request).toMatchObject({ completionTokens: 40, aborted: false });
  });
});

describe('faults', () => {
  const stream = (simulator: Simulator, fault: string) =>
    post(simulator, body({ stream: true, stream_options: { include_usage: true } }), { fault });

  it('cut-after sends exactly so many tokens and destroys the socket', async () => {
    const simulator = await start();
    const { text, broken } = await readUntilBroken(await stream(simulator, 'cut-after=3'));
    expect(broken).toBe(true);
    expect(contentOf(text)).toBe(3);
    expect(await readUntilBroken(await stream(simulator, 'cut-after=0'))).toEqual({ text: '', broken: true });
    await expect(post(simulator, body(), { fault: 'cut-after=2' })).rejects.toThrow('fetch failed');
  });

  it('no-done, no-usage and usage-zero change the end of the stream and nothing else', async () => {
    const simulator = await start();
    const [plain, noDone, noUsage, zero] = await Promise.all(
      ['', 'no-done', 'no-usage', 'usage-zero'].map(async (fault) => (await stream(simulator, fault)).text()),
    );
    expect(plain).toMatch(/"completion_tokens":8,.*\n\ndata: \[DONE\]\n\n$/);
    expect(noDone).toMatch(/"completion_tokens":8,[^\n]*\n\n$/);
    expect(noUsage).toMatch(/"finish_reason":"length"[^\n]*\n\ndata: \[DONE\]\n\n$/);
    expect(zero).toMatch(/"usage":\{"prompt_tokens":0,"total_tokens":0,"completion_tokens":0,/);
    expect([plain, noDone, noUsage, zero].map((text) => contentOf(text ?? ''))).toEqual([8, 8, 8, 8]);
  });

  it('half-chunk ends in the middle of an event', async () => {
    const { text, broken } = await readUntilBroken(await stream(await start(), 'half-chunk'));
    expect(broken).toBe(false);
    expect(text).not.toContain('[DONE]');
    expect(text.endsWith('\n\n')).toBe(false);
    expect(() => JSON.parse(text.slice(text.lastIndexOf('data: ') + 6)) as unknown).toThrow(SyntaxError);
  });

  it('error-event-after sends an error after so many tokens, and the sequence leaves the engine', async () => {
    const simulator = await start({ flavor: 'vllm' });
    const text = await (await stream(simulator, 'error-event-after=2')).text();
    expect(contentOf(text)).toBe(2);
    expect(text).toMatch(/data: \{"error":\{"message":[^\n]*\n\ndata: \[DONE\]\n\n$/);
    expect(simulator.truth().requests).toMatchObject([{ aborted: true }]);
  });

  it('stall-after goes silent without ending', async () => {
    const abort = new AbortController();
    const simulator = await start();
    const response = await post(simulator, body({ stream: true }), { fault: 'stall-after=2', signal: abort.signal });
    const reading = readUntilBroken(response);
    await waitForTruth(simulator, (all) => all[0]?.finishedAtMs !== null);
    abort.abort();
    const { text, broken } = await reading;
    expect(broken).toBe(true);
    expect(contentOf(text)).toBe(2);
  });

  it('status, error-200, garbage and tokens answer as they say', async () => {
    const simulator = await start({ flavor: 'vllm' });
    const refused = await post(simulator, body(), { fault: 'status=503' });
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: 503 } });
    const error = await post(simulator, body(), { fault: 'error-200' });
    expect(error.status).toBe(200);
    expect(await error.json()).toHaveProperty('error.message');
    const garbage = await post(simulator, body(), { fault: 'garbage' });
    await expect(garbage.json()).rejects.toThrow(SyntaxError);
    const pinned = await post(simulator, body({ max_tokens: 1000 }), { fault: 'tokens=9' });
    expect(await pinned.json()).toMatchObject({
      usage: { completion_tokens: 9 },
      choices: [{ finish_reason: 'stop' }],
    });
  });

  it('faults of the options hold for every request, and an unknown one is refused', async () => {
    const simulator = await start({ faults: 'no-usage' });
    expect(await (await post(simulator, body())).json()).toMatchObject({ usage: null });
    expect((await post(simulator, body(), { fault: 'explode' })).status).toBe(400);
    await expect(start({ faults: 'explode' })).rejects.toThrow('unknown fault');
  });

  it('delay-headers holds the answer back for so long', async () => {
    const simulator = await start();
    const startedAt = performance.now();
    await post(simulator, body({ stream: true }), { fault: 'delay-headers=80' });
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(79);
  });
});
