// The gRPC port of the simulated Triton, asked by a client made from the published proto: inference, faults, hang-ups, what it says of itself.
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { type Simulator, type SimulatorOptions, startSimulator } from '#simulator/start-simulator.ts';
import { collectStream, connectKserve, type KserveClient, type Message } from '#test/support/kserve-grpc.ts';

const model = 'llama-3.1-8b';
let simulator: Simulator | undefined;
let client: KserveClient | undefined;

afterEach(async () => {
  client?.close();
  await simulator?.close();
  simulator = client = undefined;
});

async function start(options: Partial<SimulatorOptions> = {}): Promise<{ simulator: Simulator; client: KserveClient }> {
  const base = { flavor: 'triton', model, seed: 5, networkOverheadMs: 0, noiseCv: 0, grpcPort: 0 } as const;
  simulator = await startSimulator({ ...base, ...options });
  client = connectKserve(simulator.grpcPort ?? 0, 'unused');
  return { simulator, client };
}

const typed = (name: string, datatype: string, contents: Message) => ({ name, datatype, shape: [1, 1], contents });

function ask(text: string, maxTokens: number, fields: Message = {}): Message {
  return {
    model_name: model,
    ...fields,
    inputs: [
      typed('text_input', 'BYTES', { bytes_contents: [Buffer.from(text)] }),
      typed('max_tokens', 'INT32', { int_contents: [maxTokens] }),
      typed('ignore_eos', 'BOOL', { bool_contents: [true] }),
      typed('return_num_output_tokens', 'BOOL', { bool_contents: [true] }),
    ],
  };
}

interface Reply {
  readonly id: string;
  readonly isFinal: boolean | undefined;
  readonly text: string;
  readonly input: number | undefined;
  readonly output: number | undefined;
}

function readReply(message: Message | undefined): Reply {
  const outputs = (message?.['outputs'] ?? []) as { name: string; datatype: string }[];
  const raw = (message?.['raw_output_contents'] ?? []) as Buffer[];
  const find = (name: string): Buffer | undefined => raw[outputs.findIndex((output) => output.name === name)];
  const parameters = message?.['parameters'] as Record<string, { bool_param?: boolean }> | undefined;
  return {
    id: String(message?.['id'] ?? ''),
    isFinal: parameters?.['triton_final_response']?.bool_param,
    text: find('text_output')?.toString('utf8', 4) ?? '',
    input: find('num_input_tokens')?.readInt32LE(0),
    output: find('num_output_tokens')?.readInt32LE(0),
  };
}

const inside = (reply: Message): Reply => readReply(reply['infer_response'] as Message | undefined);

describe('inference', () => {
  it('a call and a stream say the same words and the counts of the truth', async () => {
    const { simulator, client } = await start();
    const { error, message } = await client.call('ModelInfer', ask('tell me', 7, { id: 'one' }), {
      metadata: { 'x-request-id': 'r-1' },
    });
    expect(error).toBeNull();
    const whole = readReply(message);
    expect(whole).toMatchObject({ id: 'one', isFinal: true, output: 7 });
    const stream = client.stream();
    const done = collectStream(stream);
    stream.write(ask('tell me', 7, { id: 'two' }));
    stream.end();
    const replies = (await done).replies.map(inside);
    expect(replies.map(({ text }) => text).join('')).toBe(whole.text);
    expect(replies.map(({ isFinal }) => isFinal)).toEqual([...Array.from({ length: 6 }, () => false), true]);
    expect(replies.map(({ output }) => output)).toEqual(Array.from({ length: 7 }, () => 1));
    const [first, second] = simulator.truth().requests;
    expect(first).toMatchObject({ id: 'one', requestId: 'r-1', promptTokens: whole.input, completionTokens: 7 });
    expect(second).toMatchObject({ id: 'two', promptTokens: replies[0]?.input, completionTokens: 7, aborted: false });
  });

  it('tensors may come raw, several requests may share a stream, and HTTP answers the same', async () => {
    const { simulator, client } = await start();
    const raw = (text: string): Buffer => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(text.length);
      return Buffer.concat([length, Buffer.from(text)]);
    };
    const shape = [1, 1];
    const stream = client.stream();
    const done = collectStream(stream);
    for (const id of ['a', 'b', 'c']) {
      stream.write({
        model_name: model,
        id,
        inputs: [
          { name: 'text_input', datatype: 'BYTES', shape },
          { name: 'max_tokens', datatype: 'INT32', shape },
        ],
        raw_input_contents: [raw('tell me'), Buffer.from([5, 0, 0, 0])],
      });
    }
    stream.end();
    const replies = (await done).replies.map(inside);
    expect(
      replies
        .filter(({ isFinal }) => isFinal)
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(['a', 'b', 'c']);
    expect(replies.every(({ output }) => output === undefined)).toBe(true);
    const answer = await fetch(`${simulator.url}/v2/models/${model}/generate`, {
      method: 'POST',
      body: JSON.stringify({ text_input: 'tell me', max_tokens: 5 }),
    });
    const { text_output } = (await answer.json()) as { text_output: string };
    const ofOne = replies.filter(({ id }) => id === 'b').map(({ text }) => text);
    expect(ofOne.join('')).toBe(text_output);
  });

  it('a client that hangs up takes its request out of the batch', async () => {
    const { simulator, client } = await start();
    const stream = client.stream();
    stream.on('error', () => {});
    stream.write(ask('go on', 4000));
    await new Promise((resolve) => stream.once('data', resolve));
    stream.cancel();
    const call = client.call('ModelInfer', ask('go on', 4000), { onCall: (one) => setTimeout(() => one.cancel(), 30) });
    expect((await call).error?.code).toBe(status.CANCELLED);
    for (;;) {
      const { requests } = simulator.truth();
      if (requests.length === 2 && requests.every(({ aborted }) => aborted)) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });

  it.each<[string, Message, status]>([
    ['an unknown model', ask('x', 1, { model_name: 'nobody' }), status.NOT_FOUND],
    ['a version it does not have', ask('x', 1, { model_version: '9' }), status.NOT_FOUND],
    ['a missing input', { model_name: model, inputs: [] }, status.INVALID_ARGUMENT],
  ])('%s is refused, in a stream by a message', async (_name, request, code) => {
    const { client } = await start();
    expect((await client.call('ModelInfer', request)).error?.code).toBe(code);
    const stream = client.stream();
    const done = collectStream(stream);
    stream.write({ ...request, id: 'x' });
    stream.end();
    const { replies, status: ended } = await done;
    expect(replies).toMatchObject([{ error_message: expect.stringMatching(/\w/), infer_response: { id: 'x' } }]);
    expect(ended.code).toBe(status.OK);
  });
});

describe('faults', () => {
  it('are asked for in the metadata: a status, a break, an error in the middle, silence about counts', async () => {
    const { client } = await start();
    const call = (fault: string) => client.call('ModelInfer', ask('x', 9), { metadata: { 'x-simulate': fault } });
    expect((await call('status=503')).error?.code).toBe(status.UNAVAILABLE);
    expect((await call('cut-after=3')).error?.code).toBe(status.UNAVAILABLE);
    expect((await call('error-event-after=3')).error?.code).toBe(status.INTERNAL);
    expect(readReply((await call('no-usage')).message).output).toBeUndefined();
    expect(readReply((await call('usage-zero, tokens=4')).message)).toMatchObject({ input: 0, output: 0 });
    const stream = async (fault: string) => {
      const opened = client.stream({ metadata: { 'x-simulate': fault } });
      const done = collectStream(opened);
      opened.write(ask('x', 9));
      opened.end();
      return done;
    };
    const erring = await stream('error-event-after=3');
    expect([erring.replies.length, erring.replies.at(-1)?.['error_message'], erring.status.code]).toEqual([
      4,
      'simulated failure of the engine',
      status.OK,
    ]);
    const cut = await stream('cut-after=3');
    expect([cut.replies.length, cut.status.code]).toEqual([3, status.UNAVAILABLE]);
  });
});

describe('what it says of itself', () => {
  it('health, metadata, configuration, index and statistics', async () => {
    const { simulator, client } = await start({ flavor: 'kserve' });
    const read = async (method: string, message: Message = {}) => (await client.call(method, message)).message;
    expect(await read('ServerLive')).toEqual({ live: true });
    expect(await read('ServerReady')).toEqual({ ready: true });
    expect(await read('ModelReady', { name: model })).toEqual({ ready: true });
    expect(await read('ServerMetadata')).toMatchObject({ name: 'triton', extensions: ['generate', 'statistics'] });
    const metadata = await read('ModelMetadata', { name: model });
    expect(metadata).toMatchObject({ name: model, versions: ['1'], platform: 'ensemble' });
    expect(metadata?.['inputs']).toContainEqual({ name: 'max_tokens', datatype: 'INT32', shape: [-1] });
    expect(metadata?.['outputs']).toContainEqual({ name: 'num_output_tokens', datatype: 'INT32', shape: [-1] });
    expect(await read('ModelConfig', { name: model })).toMatchObject({ config: { name: model } });
    expect(await read('RepositoryIndex')).toMatchObject({ models: [{ name: model, version: '1', state: 'READY' }] });
    await client.call('ModelInfer', ask('x', 1));
    expect(await read('ModelStatistics')).toMatchObject({ model_stats: [{ name: model, inference_count: 1 }] });
    expect((await client.call('ModelMetadata', { name: 'nobody' })).error?.code).toBe(status.NOT_FOUND);
    simulator.setReady(false);
    expect(await read('ServerReady')).toEqual({});
    expect((await read('RepositoryIndex'))?.['models']).toMatchObject([{ state: 'UNAVAILABLE' }]);
  });

  it('a model without counts neither names nor takes their inputs', async () => {
    const { client } = await start({ noUsage: true });
    const { message } = await client.call('ModelMetadata', { name: model });
    expect(JSON.stringify(message)).not.toContain('num_output_tokens');
    expect((await client.call('ModelInfer', ask('x', 1))).error?.code).toBe(status.INVALID_ARGUMENT);
  });

  it('a flavour without gRPC refuses the port', async () => {
    await expect(start({ flavor: 'vllm' })).rejects.toThrow(/no gRPC port/);
  });
});
