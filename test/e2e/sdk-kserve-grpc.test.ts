// Triton's gRPC through the gateway's gRPC port: a client made from the published proto, a simulated Triton that knows its own truth.
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findFreePort } from '#src/demo/free-port.ts';
import { type TestStack, startTestStack, until } from '#test/support/gateway.ts';
import { collectStream, connectKserve, type KserveClient, type Message } from '#test/support/kserve-grpc.ts';
import { type RequestRow, SdkBooks } from '#test/support/sdk-books.ts';

const SERVICE = '/inference.GRPCInferenceService/';

let stack: TestStack;
let books: SdkBooks;
let client: KserveClient;

const typed = (name: string, datatype: string, contents: Message) => ({ name, datatype, shape: [1, 1], contents });

function ask(
  model: string,
  maxTokens: number,
  fields: { id?: string; counts?: boolean; exclude?: boolean } = {},
): Message {
  const { counts = true, exclude } = fields;
  return {
    model_name: model,
    ...(fields.id === undefined ? {} : { id: fields.id }),
    inputs: [
      typed('text_input', 'BYTES', { bytes_contents: [Buffer.from('tell me something of the sea')] }),
      typed('max_tokens', 'INT32', { int_contents: [maxTokens] }),
      typed('ignore_eos', 'BOOL', { bool_contents: [true] }),
      ...(counts ? [typed('return_num_output_tokens', 'BOOL', { bool_contents: [true] })] : []),
      ...(exclude === undefined ? [] : [typed('exclude_input_in_output', 'BOOL', { bool_contents: [exclude] })]),
    ],
  };
}

/** Records of one route and model, newest first. */
async function recordsOf(method: string, model: string): Promise<readonly RequestRow[]> {
  const page = await stack.admin<{ requests: RequestRow[] }>(`/api/requests?limit=500&model=${model}`);
  return page.requests.filter(({ route }) => route === SERVICE + method);
}

async function waitForRecords(method: string, model: string, count: number): Promise<readonly RequestRow[]> {
  let rows: readonly RequestRow[] = [];
  await until(`${count} records of ${method}`, async () => (rows = await recordsOf(method, model)).length >= count);
  expect(rows).toHaveLength(count);
  return rows;
}

beforeAll(async () => {
  const port = await findFreePort();
  stack = await startTestStack({
    engines: [
      // Triton's OpenAI frontend with its KServe frontends enabled, and Triton alone.
      ...(['triton', 'kserve'] as const).map((flavor) => ({
        flavor,
        name: flavor,
        models: [flavor],
        engine: 'triton',
        grpcPort: 0,
      })),
      { flavor: 'kserve', name: 'silent', models: ['silent'], grpcPort: 0, noUsage: true },
    ],
    config: { grpc: { host: '127.0.0.1', port } },
  });
  books = new SdkBooks(stack);
  client = connectKserve(port, stack.keys['search'] ?? '');
});
afterAll(async () => {
  client?.close();
  await stack?.close();
});

describe.each(['triton', 'kserve'])('KServe gRPC through the gateway on %s', (model) => {
  it('a call has one record with the tokens of the truth', async () => {
    const { error, message, initial } = await client.call('ModelInfer', ask(model, 9));
    expect(error).toBeNull();
    expect(message?.['model_name']).toBe('llama-3.1-8b');
    const [requestId] = initial?.get('x-inferometer-request-id') ?? [];
    await books.expectReported(String(requestId), `${SERVICE}ModelInfer`);
  });

  it('a prompt that the answer repeats, and counts, is not charged as output', async () => {
    const { message, initial } = await client.call('ModelInfer', ask(model, 6, { exclude: false }));
    const [requestId] = initial?.get('x-inferometer-request-id') ?? [];
    const row = await books.expectReported(String(requestId), `${SERVICE}ModelInfer`);
    const raw = (message?.['raw_output_contents'] ?? []) as Buffer[];
    expect(raw[0]?.toString('utf8', 4)).toMatch(/^tell me something of the sea/);
    expect(raw[2]?.readInt32LE(0)).toBe((row.tokens.input ?? 0) + 6);
    expect(row.tokens.output).toBe(6);
  });

  it('requests that share a stream have a record each, with what their replies said', async () => {
    const stream = client.stream();
    const done = collectStream(stream);
    for (const [id, tokens] of [
      ['a', 5],
      ['b', 12],
      ['c', 3],
    ] as const)
      stream.write(ask(model, tokens, { id }));
    stream.end();
    const { replies, status: ended } = await done;
    expect(ended.code).toBe(status.OK);
    expect(replies).toHaveLength(20);
    const rows = await waitForRecords('ModelStreamInfer', model, 3);
    expect(rows.map(({ tokens }) => tokens.output).toSorted((left, right) => Number(left) - Number(right))).toEqual([
      3, 5, 12,
    ]);
    const simulator = stack.simulators[model === 'triton' ? 0 : 1];
    const truth = simulator?.truth().requests.find(({ id }) => id === 'b');
    expect(rows.find(({ tokens }) => tokens.output === 12)).toMatchObject({
      outcome: 'completed',
      tokenSource: 'reported',
      tokens: { input: truth?.promptTokens, output: truth?.completionTokens },
    });
  });

  it('a client that hangs up takes its request out of the engine, and pays for what it saw', async () => {
    const before = (await recordsOf('ModelStreamInfer', model)).length;
    const stream = client.stream();
    stream.on('error', () => {});
    stream.write(ask(model, 4000, { id: 'long' }));
    let seen = 0;
    await new Promise<void>((resolve) => {
      stream.on('data', () => {
        seen += 1;
        if (seen === 4) resolve();
      });
    });
    stream.cancel();
    const [row] = await waitForRecords('ModelStreamInfer', model, before + 1);
    expect(row).toMatchObject({ outcome: 'client_aborted', tokenSource: 'reported' });
    expect(row?.tokens.output).toBeGreaterThanOrEqual(4);
    const find = () =>
      stack.simulators.flatMap((one) => one.truth().requests).find((one) => one.requestId === row?.requestId);
    await until('the engine to let go', async () => find()?.aborted === true);
    expect(row?.tokens.output).toBeLessThanOrEqual(find()?.completionTokens ?? 0);
  });

  it('an engine that refuses or errs keeps its status, and the record says so', async () => {
    const call = (fault: string) => client.call('ModelInfer', ask(model, 9), { metadata: { 'x-simulate': fault } });
    expect((await call('status=400')).error?.code).toBe(status.INVALID_ARGUMENT);
    expect((await call('error-event-after=2')).error?.code).toBe(status.INTERNAL);
    const rows = await waitForRecords('ModelInfer', model, 4);
    expect(rows.slice(0, 2).map(({ outcome }) => outcome)).toEqual(['upstream_error', 'upstream_error']);
    const before = (await recordsOf('ModelStreamInfer', model)).length;
    const stream = client.stream({ metadata: { 'x-simulate': 'error-event-after=2' } });
    const done = collectStream(stream);
    stream.write(ask(model, 9, { id: 'x' }));
    stream.end();
    expect((await done).replies.at(-1)).toMatchObject({ error_message: 'simulated failure of the engine' });
    const [row] = await waitForRecords('ModelStreamInfer', model, before + 1);
    expect(row).toMatchObject({ outcome: 'upstream_error', tokens: { output: 2 } });
  });

  it('health and metadata are the engine’s, under the names of the gateway', async () => {
    expect((await client.call('ServerReady', {})).message).toEqual({ ready: true });
    expect((await client.call('ModelReady', { name: model })).message).toEqual({ ready: true });
    const metadata = (await client.call('ModelMetadata', { name: model })).message;
    expect(metadata?.['inputs']).toContainEqual({ name: 'text_input', datatype: 'BYTES', shape: [-1] });
    const index = (await client.call('RepositoryIndex', {})).message?.['models'] as { name: string }[];
    expect(index.map(({ name }) => name)).toContain(model);
  });
});

describe('KServe gRPC through the gateway', () => {
  it('a model without counts is metered by the time of a call, and by the replies of a stream', async () => {
    expect((await client.call('ModelInfer', ask('silent', 9, { counts: false }))).error).toBeNull();
    const [call] = await waitForRecords('ModelInfer', 'silent', 1);
    expect(call).toMatchObject({ outcome: 'completed', tokenSource: 'unknown', tokens: { output: null } });
    const stream = client.stream();
    const done = collectStream(stream);
    stream.write(ask('silent', 6, { counts: false }));
    stream.end();
    expect((await done).replies).toHaveLength(6);
    const [streamed] = await waitForRecords('ModelStreamInfer', 'silent', 1);
    expect(streamed).toMatchObject({ outcome: 'completed', tokenSource: 'counted', tokens: { output: 6 } });
  });

  it.each([undefined, true, false])(
    'one model serves HTTP and gRPC, in the same books (exclude_input_in_output: %s)',
    async (exclude_input_in_output) => {
      const answer = await fetch(`${stack.gatewayUrl}/v2/models/triton/generate`, {
        method: 'POST',
        headers: { authorization: `Bearer ${stack.keys['search']}`, 'content-type': 'application/json' },
        body: JSON.stringify({ text_input: 'hi there, you engine', max_tokens: 40, exclude_input_in_output }),
      });
      expect(answer.status).toBe(200);
      const { text_output } = (await answer.json()) as { text_output: string };
      expect(text_output.startsWith('hi there')).toBe(exclude_input_in_output === false);
      await books.expectReported(answer.headers.get('x-inferometer-request-id'), '/v2/models/{m}/generate');
    },
  );

  it('in the end every request has its cost and the books close', async () => {
    await books.expectSettled();
  }, 90_000);
});
