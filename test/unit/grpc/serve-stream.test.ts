import { setTimeout as delay } from 'node:timers/promises';
import { type ServerDuplexStream, status as Status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import type { UpstreamConfig } from '#config/config.ts';
import { collectStream, type Message } from '#test/support/kserve-grpc.ts';
import { createConfig, createDeploymentConfig, createUpstreamConfig } from '#test/unit/gateway/harness.ts';
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

type EngineStream = ServerDuplexStream<Message, Message>;

async function start(stream: (call: EngineStream) => void, options?: GrpcHarnessOptions): Promise<GrpcHarness> {
  running = await startGrpcHarness({ stream }, options);
  return running;
}

const FINAL = { triton_final_response: { bool_param: true } };
const MORE = { triton_final_response: { bool_param: false } };

/** As Triton: the empty reply at the end only where it was asked for. */
function sendFinal(call: EngineStream, request: Message): void {
  const parameters = request['parameters'] as Record<string, { bool_param?: boolean }> | undefined;
  if (parameters?.['triton_enable_empty_final_response']?.bool_param !== true) return;
  call.write({ infer_response: { model_name: 'ensemble', id: request['id'] ?? '', parameters: FINAL } });
}

/** Answers each request with two replies of one token, then the mark of the end. */
function answerDecoupled(call: EngineStream): void {
  call.on('data', (request: Message) => {
    for (let reply = 0; reply < 2; reply += 1) {
      call.write({ infer_response: answerWithTokens(5, 1, { id: request['id'], parameters: MORE }) });
    }
    sendFinal(call, request);
  });
  call.on('end', () => call.end());
}

test('each request of a stream leaves its own record, by the id of its replies, and the mark of the end stays with the gateway', async () => {
  const harness = await start(answerDecoupled);
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a' }));
  stream.write(inferRequest({ id: 'b' }));
  stream.end();
  const { replies, status } = await done;
  expect(status.code).toBe(Status.OK);
  expect(replies).toHaveLength(4);
  expect(replies.map((reply) => (reply['infer_response'] as Message)['id'])).toEqual(['a', 'a', 'b', 'b']);
  expect(replies[0]).toEqual({ infer_response: answerWithTokens(5, 1, { id: 'a', parameters: MORE }) });
  expect(harness.metering.records).toHaveLength(2);
  for (const record of harness.metering.records) {
    expect(record).toMatchObject({
      route: '/inference.GRPCInferenceService/ModelStreamInfer',
      outcome: 'completed',
      status: 200,
      stream: true,
      attempt: 1,
      tokens: { input: 5, output: 2 },
      tokenSource: 'reported',
    });
  }
  expect(new Set(harness.metering.records.map(({ requestId }) => requestId)).size).toBe(2);
});

test('replies that wait for a durable record arrive in their order, before the end of the stream', async () => {
  const harness = await start((call) => {
    call.on('data', ({ id }: Message) => {
      for (const parameters of [MORE, FINAL])
        call.write({ infer_response: answerWithTokens(5, 1, { id, parameters }) });
    });
    call.on('end', () => call.end());
  });
  // The first record takes longest.
  let waitMs = 60;
  harness.metering.finishWith = () => delay((waitMs -= 20));
  const stream = harness.client.stream();
  const done = collectStream(stream);
  for (const id of ['a', 'b', 'c']) stream.write(inferRequest({ id }));
  stream.end();
  const { replies, status } = await done;
  expect(status.code).toBe(Status.OK);
  expect(replies.map((reply) => (reply['infer_response'] as Message)['id'])).toEqual(['a', 'a', 'b', 'b', 'c', 'c']);
});

test('a reply that waits for a durable record arrives before the error with which its engine ends the stream', async () => {
  const harness = await start((call) => {
    call.on('data', ({ id }: Message) => {
      call.write({ infer_response: answerWithTokens(5, 1, { id, parameters: FINAL }) });
      setImmediate(() => call.emit('error', { code: Status.INTERNAL, details: 'the engine is tired' }));
    });
  });
  harness.metering.finishWith = () => delay(40);
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a' }));
  const { replies, status } = await done;
  expect([replies.length, status.code]).toEqual([1, Status.INTERNAL]);
});

test('a client that asks for the empty reply at the end gets it', async () => {
  const harness = await start(answerDecoupled);
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a', parameters: { triton_enable_empty_final_response: { bool_param: true } } }));
  stream.end();
  const { replies } = await done;
  expect(replies).toHaveLength(3);
  expect(replies[2]).toEqual({ infer_response: { model_name: 'ensemble', id: 'a', parameters: FINAL } });
});

test('replies of interleaved requests are told apart, and one without counts is counted by its replies', async () => {
  const requests: Message[] = [];
  const harness = await start((call) => {
    call.on('data', (request: Message) => {
      requests.push(request);
      if (requests.length < 2) return;
      const text = {
        outputs: [{ name: 'text_output', datatype: 'BYTES', shape: [1] }],
        raw_output_contents: [Buffer.from('x')],
      };
      const reply = (id: string, parameters: object): void =>
        void call.write({ infer_response: { model_name: 'ensemble', id, parameters, ...text } });
      reply('b', MORE);
      reply('a', FINAL);
      reply('b', MORE);
      reply('b', FINAL);
    });
    call.on('end', () => call.end());
  });
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a' }));
  stream.write(inferRequest({ id: 'b' }));
  await harness.metering.whenRecorded(2);
  stream.end();
  await done;
  const outputs = harness.metering.records.map(({ tokens, tokenSource }) => [tokens.output, tokenSource]);
  expect(outputs).toEqual([
    [1, 'counted'],
    [3, 'counted'],
  ]);
});

test('without flags, as servers other than Triton answer, one reply ends one request', async () => {
  const harness = await start((call) => {
    call.on('data', () => call.write({ infer_response: answerWithTokens(3, 4) }));
    call.on('end', () => call.end());
  });
  const stream = harness.client.stream();
  const done = collectStream(stream);
  for (let round = 0; round < 3; round += 1) stream.write(inferRequest());
  await harness.metering.whenRecorded(3);
  stream.end();
  expect((await done).replies).toHaveLength(3);
  expect(harness.metering.records.map(({ tokens }) => tokens.output)).toEqual([4, 4, 4]);
});

test('an error reply ends its own request and leaves the others be', async () => {
  const harness = await start((call) => {
    call.on('data', (request: Message) => {
      const { id } = request;
      if (id === 'bad') call.write({ error_message: 'no such input', infer_response: { id } });
      else call.write({ infer_response: answerWithTokens(1, 1, { id, parameters: FINAL }) });
    });
    call.on('end', () => call.end());
  });
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'bad' }));
  stream.write(inferRequest({ id: 'good' }));
  stream.end();
  const { replies, status } = await done;
  expect(status.code).toBe(Status.OK);
  expect(replies[0]).toMatchObject({ error_message: 'no such input' });
  expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(['upstream_error', 'completed']);
});

test('a refused request is told in the stream by its id, leaves its record, and the stream goes on', async () => {
  const harness = await start(answerDecoupled);
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'x', model_name: 'nobody' }));
  stream.write(inferRequest({ id: 'y' }));
  stream.end();
  const { replies, status } = await done;
  expect(status.code).toBe(Status.OK);
  expect(replies[0]).toEqual({
    error_message: 'The requested model does not exist here.',
    infer_response: { id: 'x' },
  });
  expect(replies).toHaveLength(3);
  expect(harness.metering.records.map(({ outcome, status: code }) => [outcome, code]).toSorted()).toEqual([
    ['completed', 200],
    ['rejected', 404],
  ]);
});

test("with Triton's own switch a refusal is the status of the stream", async () => {
  const harness = await start(answerDecoupled);
  const stream = harness.client.stream({ metadata: { triton_grpc_error: 'true' } });
  const done = collectStream(stream);
  stream.write(inferRequest({ model_name: 'nobody' }));
  expect((await done).status.code).toBe(Status.NOT_FOUND);
  expect(harness.metering.records).toMatchObject([{ outcome: 'rejected' }]);
});

test("with Triton's own switch replies that wait for a durable record arrive before the status of the stream", async () => {
  const harness = await start(answerDecoupled);
  harness.metering.finishWith = () => delay(60);
  const stream = harness.client.stream({ metadata: { triton_grpc_error: 'true' } });
  const done = collectStream(stream);
  stream.write(inferRequest({ parameters: { triton_enable_empty_final_response: { bool_param: true } } }));
  await harness.metering.whenRecorded(1);
  stream.write(inferRequest({ model_name: 'nobody' }));
  const { replies, status } = await done;
  expect([replies.length, status.code]).toEqual([3, Status.NOT_FOUND]);
});

test('a stream without a key is UNAUTHENTICATED before anything is read', async () => {
  const harness = await start(answerDecoupled);
  const stream = harness.client.stream({ key: 'sk-nobody-0123456789' });
  const done = collectStream(stream);
  stream.write(inferRequest());
  expect((await done).status.code).toBe(Status.UNAUTHENTICATED);
  expect(harness.metering.records).toEqual([]);
  expect(harness.rejections).toEqual(['none invalid_api_key']);
});

test('a client that cancels in the middle aborts the engine; open requests keep the tokens seen', async () => {
  const aborted = Promise.withResolvers<void>();
  const harness = await start((call) => {
    call.on('cancelled', () => aborted.resolve());
    call.on('data', (request: Message) => {
      call.write({ infer_response: answerWithTokens(5, 3, { id: request['id'], parameters: MORE }) });
    });
  });
  const stream = harness.client.stream();
  stream.on('error', () => {});
  stream.on('data', () => stream.cancel());
  stream.write(inferRequest({ id: 'a' }));
  await aborted.promise;
  await harness.metering.whenRecorded(1);
  expect(harness.metering.records).toMatchObject([
    { outcome: 'client_aborted', status: 499, tokens: { input: 5, output: 3 }, tokenSource: 'reported' },
  ]);
  expect(harness.gateway.upstreamStatus()[0]?.inFlight).toBe(0);
});

test("an engine's error ends the stream with its code, and every open request with it", async () => {
  const harness = await start((call) => {
    call.once('data', (request: Message) => {
      call.write({ infer_response: answerWithTokens(5, 1, { id: request['id'], parameters: MORE }) }, () =>
        call.emit('error', Object.assign(new Error('gone'), { code: Status.ABORTED, details: 'engine restarts' })),
      );
    });
  });
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a' }));
  stream.write(inferRequest({ id: 'b' }));
  const { status } = await done;
  expect([status.code, status.details]).toEqual([Status.ABORTED, 'engine restarts']);
  await harness.metering.whenRecorded(2);
  expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(['upstream_error', 'upstream_error']);
});

test('an engine that falls silent is DEADLINE_EXCEEDED for its stream', async () => {
  const arrived = Promise.withResolvers<void>();
  const harness = await start((call) => void call.on('data', () => arrived.resolve()));
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest());
  await arrived.promise;
  harness.clock.advance(700_000);
  expect((await done).status.code).toBe(Status.DEADLINE_EXCEEDED);
  expect(harness.metering.records).toMatchObject([{ outcome: 'timed_out', status: 504 }]);
});

test('an engine that cannot be reached is left for another one', async () => {
  const harness = await start(answerDecoupled, { replicas: 2 });
  harness.engines[0]?.close();
  for (let round = 0; round < 4; round += 1) {
    const stream = harness.client.stream();
    const done = collectStream(stream);
    stream.write(inferRequest({ id: 'a' }));
    stream.end();
    const { replies, status } = await done;
    expect([replies.length, status.code]).toEqual([2, Status.OK]);
  }
  const completed = harness.metering.records.filter(({ outcome }) => outcome === 'completed');
  expect(completed.map(({ upstream }) => upstream)).toEqual(Array(4).fill('trt-1'));
});

/** Two deployments of one model, the better one with all engines but the last. */
async function startRanked(
  stream: (call: EngineStream) => void,
  options: { readonly replicas?: number; readonly priority?: number; readonly upstream?: Partial<UpstreamConfig> } = {},
): Promise<GrpcHarness> {
  const { replicas = 2, priority = 1, upstream } = options;
  const harness = await start(stream, { replicas });
  const upstreams = harness.engines.map(({ port }, index) =>
    createUpstreamConfig(harness.engine.url, {
      name: `trt-${index}`,
      pool: `pool/trt-${index}`,
      grpcUrl: `grpc://127.0.0.1:${port}`,
      ...upstream,
    }),
  );
  const shared = { engine: 'triton', queue: { size: 0, timeoutMs: 1000 } } as const;
  harness.gateway.reload(
    createConfig([
      createDeploymentConfig(upstreams.slice(0, -1), { ...shared, servedModel: 'main-served', priority }),
      createDeploymentConfig(upstreams.slice(-1), { ...shared, name: 'spare', servedModel: 'spare-served' }),
    ]),
  );
  return harness;
}

const told = ({ metering }: GrpcHarness) =>
  metering.records
    .toSorted((left, right) => left.attempt - right.attempt)
    .map(({ attempt, deployment, outcome, lastAttempt }) => [attempt, deployment, outcome, lastAttempt]);

test('a request whose deployment has no engine left goes on to the next deployment of its model, each attempt with its record', async () => {
  const models: unknown[] = [];
  const harness = await startRanked(
    (call) => {
      call.on('data', (request: Message) => void models.push(request['model_name']));
      answerDecoupled(call);
    },
    { replicas: 3 },
  );
  harness.engines[0]?.close();
  harness.engines[1]?.close();
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a' }));
  await harness.metering.whenRecorded(3);
  expect(told(harness)).toEqual([
    [1, 'llama-70b', 'upstream_error', false],
    [2, 'llama-70b', 'upstream_error', false],
    [3, 'spare', 'completed', true],
  ]);
  // What comes after goes where the stream is already.
  stream.write(inferRequest({ id: 'b' }));
  stream.end();
  const { replies, status } = await done;
  expect([replies.length, status.code]).toEqual([4, Status.OK]);
  expect(models).toEqual(['spare-served', 'spare-served']);
  expect(harness.metering.records.at(-1)).toMatchObject({ attempt: 1, deployment: 'spare', outcome: 'completed' });
});

test('a request goes on where the line before its deployment is full, and the stream stays there when there is room again', async () => {
  const harness = await startRanked(answerDecoupled, { upstream: { maxInFlight: 1 } });
  const first = harness.client.stream();
  const firstDone = collectStream(first);
  first.write(inferRequest({ id: 'a' }));
  await harness.metering.whenRecorded(1);
  const second = harness.client.stream();
  const secondDone = collectStream(second);
  second.write(inferRequest({ id: 'b' }));
  await harness.metering.whenRecorded(2);
  first.end();
  await firstDone;
  second.write(inferRequest({ id: 'c' }));
  second.end();
  expect((await secondDone).replies).toHaveLength(4);
  expect(told(harness)).toEqual([
    [1, 'llama-70b', 'completed', true],
    [1, 'spare', 'completed', true],
    [1, 'spare', 'completed', true],
  ]);
});

test('between deployments of one rank a stream chooses once: its sequences stay together', async () => {
  const harness = await startRanked(answerDecoupled, { priority: 0 });
  const stream = harness.client.stream();
  const done = collectStream(stream);
  for (let round = 0; round < 16; round += 1) stream.write(inferRequest({ id: `r-${round}` }));
  stream.end();
  await done;
  expect(harness.metering.records).toHaveLength(16);
  expect(new Set(harness.metering.records.map(({ deployment }) => deployment)).size).toBe(1);
});

test('a request that was sent stays where it is, and so does one whose client names the deployment', async () => {
  const harness = await startRanked((call) => {
    call.once('data', () =>
      call.emit('error', Object.assign(new Error('gone'), { code: Status.UNAVAILABLE, details: 'engine restarts' })),
    );
  });
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest());
  expect((await done).status.code).toBe(Status.UNAVAILABLE);
  expect(told(harness)).toEqual([[1, 'llama-70b', 'upstream_error', true]]);
  harness.engines[0]?.close();
  const named = harness.client.stream({ metadata: { 'x-inferometer-deployment': 'llama-70b' } });
  const answered = collectStream(named);
  named.write(inferRequest());
  named.end();
  expect((await answered).replies).toMatchObject([{ error_message: expect.any(String) }]);
  expect(told(harness).at(-1)).toEqual([1, 'llama-70b', 'upstream_error', true]);
  expect(harness.metering.records).toHaveLength(2);
});

test('without any engine the request is refused in the stream, its last attempt in the books', async () => {
  const harness = await startRanked(answerDecoupled);
  for (const engine of harness.engines) engine.close();
  const stream = harness.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest({ id: 'a' }));
  stream.end();
  const { replies, status } = await done;
  expect(replies).toMatchObject([{ error_message: expect.any(String), infer_response: { id: 'a' } }]);
  expect(status.code).toBe(Status.OK);
  expect(told(harness)).toEqual([
    [1, 'llama-70b', 'upstream_error', false],
    [2, 'spare', 'upstream_error', true],
  ]);
});

test('a slow client slows the engine down instead of filling memory', async () => {
  const reply = {
    infer_response: answerWithTokens(1, 1, { id: 'a', parameters: MORE, raw_output_contents: [Buffer.alloc(262_144)] }),
  };
  let written = 0;
  const stalled = Promise.withResolvers<void>();
  const harness = await start((call) => {
    call.once('data', () => {
      const send = (): void => {
        while (written < 400) {
          written += 1;
          if (call.write(reply)) continue;
          const timer = setTimeout(() => stalled.resolve(), 300);
          call.once('drain', () => {
            clearTimeout(timer);
            send();
          });
          return;
        }
        call.end();
      };
      send();
    });
  });
  const stream = harness.client.stream();
  stream.once('data', () => stream.pause());
  stream.write(inferRequest({ id: 'a' }));
  await stalled.promise;
  expect(written).toBeLessThan(400);
  const done = collectStream(stream);
  stream.resume();
  stream.end();
  expect((await done).replies).toHaveLength(399);
});

test('a hundred streams cancelled at once leave a record each and nothing in flight', async () => {
  const harness = await start((call) => {
    call.on('data', (request: Message) => {
      call.write({ infer_response: answerWithTokens(1, 1, { id: request['id'], parameters: MORE }) });
    });
    call.on('end', () => call.end());
  });
  for (let index = 0; index < 100; index += 1) {
    const stream = harness.client.stream();
    stream.on('error', () => {});
    stream.on('data', () => stream.cancel());
    stream.write(inferRequest({ id: 'a' }));
  }
  await harness.metering.whenRecorded(100);
  expect(harness.metering.records.every(({ outcome }) => outcome === 'client_aborted')).toBe(true);
  expect(harness.gateway.upstreamStatus()[0]?.inFlight).toBe(0);
  expect(await harness.gateway.drain(5000)).toEqual({ left: 0 });
});
