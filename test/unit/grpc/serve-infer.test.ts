import { Metadata, status as Status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import type { EngineScript } from '#test/support/kserve-grpc.ts';
import { ADS_KEY, createConfig, createDeploymentConfig, createUpstreamConfig } from '#test/unit/gateway/harness.ts';
import {
  answerWithTokens,
  type GrpcHarness,
  type GrpcHarnessOptions,
  inferRequest,
  startGrpcHarness,
} from './harness.ts';

let running: GrpcHarness | undefined;

afterEach(async () => {
  await running?.close();
  running = undefined;
});

async function start(infer: NonNullable<EngineScript['infer']>, options?: GrpcHarnessOptions): Promise<GrpcHarness> {
  running = await startGrpcHarness({ infer }, options);
  return running;
}

const answerOk: NonNullable<EngineScript['infer']> = (_call, respond) => respond(null, answerWithTokens(7, 12));

test('a call is answered by its engine under the served name, and recorded once with the tokens of its raw tensors', async () => {
  const harness = await start(answerOk);
  const { error, message, initial } = await harness.client.call('ModelInfer', inferRequest({ id: 'r-1' }), {
    metadata: { 'x-request-id': 'client-1', 'x-inferometer-tags': 'feature=search', 'x-custom': 'kept' },
  });
  expect(error).toBeNull();
  expect(message).toEqual(answerWithTokens(7, 12));
  const [sent] = harness.engines[0]?.requests ?? [];
  expect(sent?.message).toEqual({ ...inferRequest({ id: 'r-1' }), model_name: 'ensemble' });
  expect(sent?.metadata.get('authorization')).toEqual([]);
  expect(sent?.metadata.get('x-inferometer-tags')).toEqual([]);
  expect(sent?.metadata.get('x-custom')).toEqual(['kept']);
  expect(initial?.get('x-request-id')).toEqual(['client-1']);
  expect(initial?.get('x-inferometer-deployment')).toEqual(['llama-70b']);
  expect(harness.metering.records).toHaveLength(1);
  expect(harness.metering.records[0]).toMatchObject({
    requestId: initial?.get('x-inferometer-request-id')[0],
    clientRequestId: 'client-1',
    tags: { feature: 'search' },
    team: 'search',
    route: '/inference.GRPCInferenceService/ModelInfer',
    requestedModel: 'llama-3.1-70b',
    model: 'llama-3.1-70b',
    upstream: 'trt-0',
    outcome: 'completed',
    status: 200,
    stream: false,
    tokens: { input: 7, output: 12 },
    tokenSource: 'reported',
  });
  expect(sent?.metadata.get('x-request-id')).toEqual([harness.metering.records[0]?.requestId]);
  expect(harness.metering.starts[0]).toMatchObject({ work: 'tokens', maxTokens: 16 });
});

test('a call that asks for no counts is measured by time', async () => {
  const harness = await start((_call, respond) => respond(null, { model_name: 'ensemble' }));
  const { error } = await harness.client.call('ModelInfer', { model_name: 'llama-3.1-70b' });
  expect(error).toBeNull();
  expect(harness.metering.starts[0]?.work).toBe('duration');
  expect(harness.metering.records[0]).toMatchObject({ tokenSource: 'unknown', tokens: { output: null } });
});

const int32 = (...values: number[]): Buffer => Buffer.from(Int32Array.from(values).buffer);
const tensor = (name: string, datatype = 'INT32') => ({ name, datatype });

test.each([
  ['with the prompt before it', [5, 6, 7, 40, 41, 42], 3],
  ['without the prompt', [40, 41, 42], 3],
])('the C++ model, which takes and gives tokens, is counted by its sequences %s', async (_what, ids, output) => {
  const harness = await start((_call, respond) =>
    respond(null, {
      model_name: 'ensemble',
      outputs: [tensor('output_ids'), tensor('sequence_length')],
      raw_output_contents: [int32(...ids), int32(ids.length)],
    }),
  );
  await harness.client.call('ModelInfer', {
    model_name: 'llama-3.1-70b',
    inputs: [tensor('input_ids'), tensor('input_lengths'), tensor('request_output_len')],
    raw_input_contents: [int32(5, 6, 7), int32(3), int32(16)],
  });
  expect(harness.metering.starts[0]).toMatchObject({ work: 'tokens', maxTokens: 16 });
  expect(harness.metering.records[0]).toMatchObject({ tokenSource: 'reported', tokens: { input: 3, output } });
});

test.each([
  ['counts the prompt with its output', {}, 'INT32', 5],
  ['was told to leave the prompt out', { exclude_input_in_output: true }, 'INT32', 12],
  ['streams', { stream: true }, 'INT32', 12],
  ['is vLLM’s', {}, 'UINT32', 12],
])('a model that %s is charged what it generated', async (_what, flags, datatype, output) => {
  const prompt = Buffer.from('Tell me something');
  const text = Buffer.from('Tell me something of the sea');
  const length = int32(text.length);
  const harness = await start((_call, respond) =>
    respond(null, {
      model_name: 'ensemble',
      outputs: [
        tensor('text_output', 'BYTES'),
        tensor('num_input_tokens', datatype),
        tensor('num_output_tokens', datatype),
      ],
      raw_output_contents: [Buffer.concat([length, text]), int32(7), int32(12)],
    }),
  );
  const contents = (name: string, datatypeOf: string, given: Record<string, unknown>) => ({
    ...tensor(name, datatypeOf),
    contents: given,
  });
  await harness.client.call('ModelInfer', {
    model_name: 'llama-3.1-70b',
    inputs: [
      contents('text_input', 'BYTES', { bytes_contents: [prompt] }),
      contents('max_tokens', 'INT32', { int_contents: [64] }),
      contents('return_num_output_tokens', 'BOOL', { bool_contents: [true] }),
      ...Object.entries(flags).map(([name, value]) => contents(name, 'BOOL', { bool_contents: [value] })),
    ],
  });
  expect(harness.metering.records[0]).toMatchObject({ tokenSource: 'reported', tokens: { input: 7, output } });
});

test.each([
  ['no key', { key: null }, 'llama-3.1-70b', Status.UNAUTHENTICATED, 0],
  ['a wrong key', { key: 'sk-nobody-0123456789' }, 'llama-3.1-70b', Status.UNAUTHENTICATED, 0],
  ['a model of other teams', { key: ADS_KEY }, 'llama-3.1-70b', Status.PERMISSION_DENIED, 1],
  ['a model nobody has', {}, 'nothing', Status.NOT_FOUND, 1],
  ['the name upstream', {}, 'ensemble', Status.NOT_FOUND, 1],
  ['bad tags', { metadata: { 'x-inferometer-tags': '!' } }, 'llama-3.1-70b', Status.INVALID_ARGUMENT, 1],
])(
  '%s is refused with its code, recorded where the caller is known, and nothing is sent',
  async (_what, options, model, code, records) => {
    const harness = await start(answerOk);
    const { error, status } = await harness.client.call('ModelInfer', inferRequest({ model_name: model }), options);
    expect(error?.code).toBe(code);
    expect(error?.details).not.toBe('');
    expect(status?.metadata.get('x-inferometer-error-code')).toHaveLength(1);
    expect(harness.engines[0]?.requests).toEqual([]);
    expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(Array(records).fill('rejected'));
  },
);

test('x-api-key identifies a caller as over HTTP', async () => {
  const harness = await start(answerOk);
  const { error } = await harness.client.call('ModelInfer', inferRequest({ model_name: 'llama-3.1-70b' }), {
    key: null,
    metadata: { 'x-api-key': 'sk-search-0123456789' },
  });
  expect(error).toBeNull();
});

test('an error of the engine reaches the client with its code, text and trailers', async () => {
  const harness = await start((_call, respond) => {
    const metadata = new Metadata();
    metadata.set('x-engine', 'told');
    respond({ code: Status.FAILED_PRECONDITION, details: 'batch too large', metadata });
  });
  const { error, status } = await harness.client.call('ModelInfer', inferRequest());
  expect([error?.code, error?.details]).toEqual([Status.FAILED_PRECONDITION, 'batch too large']);
  expect(status?.metadata.get('x-engine')).toEqual(['told']);
  expect(status?.metadata.get('x-inferometer-deployment')).toEqual(['llama-70b']);
  expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 400, tokenSource: 'unknown' }]);
});

test('a message of eight megabytes passes byte for byte both ways', async () => {
  const tensor = Buffer.alloc(8 * 1024 * 1024, 0xa5);
  tensor.writeUInt32LE(0xdeadbeef, 4_000_001);
  let seen: unknown;
  const harness = await start((call, respond) => {
    [seen] = call.request['raw_input_contents'] as Buffer[];
    respond(null, { model_name: 'ensemble', raw_output_contents: [tensor] });
  });
  const { message, error } = await harness.client.call('ModelInfer', {
    model_name: 'llama-3.1-70b',
    inputs: [{ name: 'image', datatype: 'UINT8', shape: [tensor.length] }],
    raw_input_contents: [tensor],
  });
  expect(error).toBeNull();
  expect(tensor.equals(seen as Buffer)).toBe(true);
  const [answered] = (message?.['raw_output_contents'] ?? []) as Buffer[];
  expect(answered !== undefined && tensor.equals(answered)).toBe(true);
});

test('a message beyond the limit is RESOURCE_EXHAUSTED and nothing is sent', async () => {
  const harness = await start(answerOk, { maxMessageBytes: 4096 });
  const { error } = await harness.client.call('ModelInfer', inferRequest({ raw_input_contents: [Buffer.alloc(8192)] }));
  expect(error?.code).toBe(Status.RESOURCE_EXHAUSTED);
  expect(harness.engines[0]?.requests).toEqual([]);
});

test('a client that cancels aborts the engine, and one record says so', async () => {
  const arrived = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const harness = await start((call) => {
    call.on('cancelled', () => aborted.resolve());
    arrived.resolve();
  });
  const answer = harness.client.call('ModelInfer', inferRequest(), {
    onCall: (call) => void arrived.promise.then(() => call.cancel()),
  });
  expect((await answer).error?.code).toBe(Status.CANCELLED);
  await aborted.promise;
  await harness.metering.whenRecorded(1);
  expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', status: 499 }]);
  expect(harness.gateway.upstreamStatus()[0]?.inFlight).toBe(0);
});

test("the client's deadline reaches the engine", async () => {
  let deadlineMs = 0;
  const harness = await start((call, respond) => {
    deadlineMs = Number(call.getDeadline()) - Date.now();
    respond(null, {});
  });
  await harness.client.call('ModelInfer', inferRequest(), { deadlineMs: 30_000 });
  expect(deadlineMs).toBeGreaterThan(20_000);
  expect(deadlineMs).toBeLessThanOrEqual(30_000);
});

test('an engine that stays silent past the time limit is DEADLINE_EXCEEDED, and aborted', async () => {
  const arrived = Promise.withResolvers<void>();
  const aborted = Promise.withResolvers<void>();
  const harness = await start((call) => {
    call.on('cancelled', () => aborted.resolve());
    arrived.resolve();
  });
  const answer = harness.client.call('ModelInfer', inferRequest());
  await arrived.promise;
  harness.clock.advance(700_000);
  const { error } = await answer;
  expect(error?.code).toBe(Status.DEADLINE_EXCEEDED);
  await aborted.promise;
  expect(harness.metering.records).toMatchObject([{ outcome: 'timed_out', status: 504 }]);
});

test('an engine that cannot be reached is left for another one, with a record of each attempt', async () => {
  const harness = await start(answerOk, { replicas: 2 });
  harness.engines[0]?.close();
  const outcomes: (number | undefined)[] = [];
  // Enough that one of two engines chosen at random is chosen.
  for (let round = 0; round < 20; round += 1) {
    outcomes.push((await harness.client.call('ModelInfer', inferRequest())).error?.code);
  }
  expect(outcomes).toEqual(Array(20).fill(undefined));
  const completed = harness.metering.records.filter(({ outcome }) => outcome === 'completed');
  expect(completed).toHaveLength(20);
  expect(completed.every(({ upstream, lastAttempt }) => upstream === 'trt-1' && lastAttempt)).toBe(true);
  const failed = harness.metering.records.filter(({ outcome }) => outcome === 'upstream_error');
  expect(failed.length).toBeGreaterThan(0);
  expect(failed.every(({ upstream, lastAttempt }) => upstream === 'trt-0' && !lastAttempt)).toBe(true);
});

test('a call whose deployment has no engine left goes on to the next deployment of its model, each attempt with its record', async () => {
  const harness = await start(answerOk, { replicas: 3 });
  const upstreams = harness.engines.map(({ port }, index) =>
    createUpstreamConfig(harness.engine.url, {
      name: `trt-${index}`,
      pool: `pool/trt-${index}`,
      grpcUrl: `grpc://127.0.0.1:${port}`,
    }),
  );
  const shared = { engine: 'triton', servedModel: 'ensemble' } as const;
  harness.gateway.reload(
    createConfig([
      createDeploymentConfig(upstreams.slice(0, 2), { ...shared, priority: 1 }),
      createDeploymentConfig(upstreams.slice(2), { ...shared, name: 'spare' }),
    ]),
  );
  harness.engines[0]?.close();
  harness.engines[1]?.close();
  const { error } = await harness.client.call('ModelInfer', inferRequest());
  expect(error).toBeNull();
  const told = harness.metering.records
    .toSorted((left, right) => left.attempt - right.attempt)
    .map(({ deployment, outcome, lastAttempt }) => [deployment, outcome, lastAttempt]);
  expect(told).toEqual([
    ['llama-70b', 'upstream_error', false],
    ['llama-70b', 'upstream_error', false],
    ['spare', 'completed', true],
  ]);
});

test('without any engine the call is UNAVAILABLE', async () => {
  const harness = await start(answerOk);
  harness.engines[0]?.close();
  const { error } = await harness.client.call('ModelInfer', inferRequest());
  expect(error?.code).toBe(Status.UNAVAILABLE);
  expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', lastAttempt: true }]);
});

test('bytes that are no message are INVALID_ARGUMENT, and leave a record', async () => {
  const harness = await start(answerOk);
  const { Client, credentials } = await import('@grpc/grpc-js');
  const client = new Client(`127.0.0.1:${harness.grpcPort}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('x-api-key', 'sk-search-0123456789');
  const keep = (bytes: Buffer): Buffer => bytes;
  const code = await new Promise((resolve) => {
    client.makeUnaryRequest(
      '/inference.GRPCInferenceService/ModelInfer',
      keep,
      keep,
      Buffer.from([0x0a, 0xff]),
      metadata,
      (error) => resolve(error?.code),
    );
  });
  client.close();
  expect(code).toBe(Status.INVALID_ARGUMENT);
  expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 400 }]);
});

test('a gateway that drains refuses new calls and waits for those in flight', async () => {
  const arrived = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const harness = await start((_call, respond) => {
    arrived.resolve();
    void release.promise.then(() => respond(null, answerWithTokens(1, 1)));
  });
  const answer = harness.client.call('ModelInfer', inferRequest());
  await arrived.promise;
  const drained = harness.gateway.drain(10_000);
  const { error } = await harness.client.call('ModelInfer', inferRequest());
  expect(error?.code).toBe(Status.UNAVAILABLE);
  release.resolve();
  expect((await answer).error).toBeNull();
  expect(await drained).toEqual({ left: 0 });
});

test('a call that the gateway cannot wait for is cut and recorded as interrupted', async () => {
  const arrived = Promise.withResolvers<void>();
  const harness = await start(() => arrived.resolve());
  const answer = harness.client.call('ModelInfer', inferRequest());
  await arrived.promise;
  expect(await harness.gateway.drain(10)).toEqual({ left: 1 });
  expect((await answer).error?.code).toBe(Status.UNAVAILABLE);
  expect(harness.metering.records).toMatchObject([{ outcome: 'interrupted' }]);
});

test('accounting is told where its prompt is computed', async () => {
  const prefillBy = { pool: 'ctx/1', deployment: 'ctx' };
  const harness = await start(answerOk, { deployment: { prefillBy } });
  await harness.client.call('ModelInfer', inferRequest());
  expect(harness.metering.starts).toMatchObject([{ deployment: 'llama-70b', prefillBy }]);
});
