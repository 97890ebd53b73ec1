import { Client, credentials, Metadata, status as Status } from '@grpc/grpc-js';
import { connect, type ClientHttp2Session, constants } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, test, vi } from 'vitest';
import type { EngineScript } from '#test/support/kserve-grpc.ts';
import { SEARCH_KEY } from '#test/unit/gateway/harness.ts';
import { answerWithTokens, type GrpcHarness, inferRequest, startGrpcHarness } from './harness.ts';

const INFER = '/inference.GRPCInferenceService/ModelInfer';
let running: GrpcHarness | undefined;
let session: ClientHttp2Session | undefined;

afterEach(async () => {
  session?.destroy();
  session = undefined;
  await running?.close();
  running = undefined;
});

const answerOk: NonNullable<EngineScript['infer']> = (_call, respond) => respond(null, answerWithTokens(7, 12));

async function start(infer = answerOk): Promise<GrpcHarness> {
  running = await startGrpcHarness({ infer });
  return running;
}

/** Sends bytes as they are; resolves with code and text of the answer's status. */
async function sendBytes(harness: GrpcHarness, message: Buffer): Promise<readonly [number, string]> {
  const client = new Client(`127.0.0.1:${harness.grpcPort}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('x-api-key', SEARCH_KEY);
  const keep = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(INFER, keep, keep, message, metadata, (error) =>
        resolve(error === null ? [0, ''] : [error.code, error.details]),
      );
    });
  } finally {
    client.close();
  }
}

const repeat = (bytes: readonly number[], count: number): Buffer =>
  Buffer.alloc(bytes.length * count, Buffer.from(bytes));
const nest = (number: number, bytes: Buffer): Buffer => {
  const head = [number * 8 + 2];
  for (let rest = bytes.length; ; rest >>>= 7) {
    head.push(rest < 128 ? rest : (rest & 127) | 128);
    if (rest < 128) return Buffer.concat([Buffer.from(head), bytes]);
  }
};

test.each([
  ['empty inputs', repeat([0x2a, 0], 300_000)],
  ['empty requested outputs', repeat([0x32, 0], 300_000)],
  ['fields that nobody knows', repeat([0x78, 0], 300_000)],
  ['fields nested in its inputs', repeat([...nest(5, repeat([0x78, 0], 1000))], 300)],
  ['fields nested in its parameters', repeat([...nest(4, repeat([0x78, 0], 1000))], 300)],
])('a message of very many %s is refused before it takes memory, and leaves one record', async (_what, bytes) => {
  const harness = await start();
  const [code, details] = await sendBytes(harness, Buffer.concat([nest(1, Buffer.from('llama-3.1-70b')), bytes]));
  expect([code, details]).toEqual([Status.INVALID_ARGUMENT, 'The message has more than 200000 fields.']);
  expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 400 }]);
  expect(harness.engines[0]?.requests).toEqual([]);
});

test('a prompt of 300,000 tokens outside the raw contents is served as any other', async () => {
  const harness = await start();
  const { error } = await harness.client.call('ModelInfer', {
    model_name: 'llama-3.1-70b',
    inputs: [
      {
        name: 'input_ids',
        datatype: 'INT32',
        shape: [1, 300_000],
        contents: { int_contents: Array.from({ length: 300_000 }, (_, index) => index % 1000) },
      },
      { name: 'request_output_len', datatype: 'INT32', shape: [1, 1], contents: { int_contents: [16] } },
    ],
  });
  expect(error).toBeNull();
  expect(harness.metering.records).toMatchObject([{ outcome: 'completed' }]);
  expect(harness.metering.starts).toMatchObject([{ maxTokens: 16 }]);
});

function openSession(harness: GrpcHarness): ClientHttp2Session {
  session = connect(`http://127.0.0.1:${harness.grpcPort}`);
  session.on('error', () => {});
  return session;
}

const HEADERS = { ':method': 'POST', ':path': INFER, 'content-type': 'application/grpc', te: 'trailers' };

test('a call without a key is refused before any of its message has come', async () => {
  const harness = await start();
  const stream = openSession(harness).request(HEADERS);
  stream.on('error', () => {});
  const headers = await new Promise<Record<string, unknown>>((resolve) => stream.once('response', resolve));
  expect(Number(headers['grpc-status'])).toBe(Status.UNAUTHENTICATED);
  expect(headers['x-inferometer-error-code']).toBe('invalid_api_key');
  expect(harness.rejections).toEqual(['none invalid_api_key']);
  expect(harness.metering.records).toEqual([]);
});

test('what a client sends in metadata is never printed, neither its key nor what no header may hold', async () => {
  const harness = await start();
  const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
  const stream = openSession(harness).request({ ...HEADERS, authorization: 'Bearer sk-mistyped-ü-0123456789' });
  stream.on('error', () => {});
  await new Promise((resolve) => stream.once('response', resolve));
  expect(printed.mock.calls).toEqual([]);
  printed.mockRestore();
});

test('a deadline that passes is told without the address of an engine', async () => {
  const harness = await start(() => {});
  const open = openSession(harness);
  const ask = (deadline: string) =>
    new Promise<readonly [number, string]>((resolve) => {
      const stream = open.request({ ...HEADERS, 'x-api-key': SEARCH_KEY, 'grpc-timeout': deadline });
      const take = (headers: Record<string, unknown>): void => {
        const code = headers['grpc-status'];
        if (code !== undefined) resolve([Number(code), decodeURIComponent(String(headers['grpc-message']))]);
      };
      stream
        .on('response', take)
        .on('trailers', take)
        .on('error', () => {});
      stream.resume();
      const head = Buffer.from([0, 0, 0, 0, 0]);
      const message = nest(1, Buffer.from('llama-3.1-70b'));
      head.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([head, message]));
    });
  const deadlines = ['0m', '1m', '2m', '5m', '20m', '50m', '100m'];
  for (const [code, text] of await Promise.all(deadlines.map(ask))) {
    expect(code).toBe(Status.DEADLINE_EXCEEDED);
    expect(text).not.toMatch(/127\.0\.0\.1|remote_addr/);
  }
});

test('compressed messages are read, and one that grows past the limit is RESOURCE_EXHAUSTED', async () => {
  const harness = await start();
  const open = openSession(harness);
  const ask = (message: Buffer, encoding: string) =>
    new Promise<number>((resolve) => {
      const stream = open.request({ ...HEADERS, 'x-api-key': SEARCH_KEY, 'grpc-encoding': encoding });
      const take = (headers: Record<string, unknown>): void => {
        if (headers['grpc-status'] !== undefined) resolve(Number(headers['grpc-status']));
      };
      stream
        .on('response', take)
        .on('trailers', take)
        .on('error', () => {});
      stream.resume();
      const head = Buffer.from([1, 0, 0, 0, 0]);
      head.writeUInt32BE(message.length, 1);
      stream.end(Buffer.concat([head, message]));
    });
  const named = nest(1, Buffer.from('llama-3.1-70b'));
  expect(await ask(gzipSync(named), 'gzip')).toBe(Status.OK);
  expect(await ask(gzipSync(Buffer.alloc(70 * 1024 * 1024)), 'gzip')).toBe(Status.RESOURCE_EXHAUSTED);
  expect(await ask(Buffer.from('no gzip'), 'gzip')).toBe(Status.INTERNAL);
  expect(await ask(named, 'zstd')).toBe(Status.UNIMPLEMENTED);
});

test('a thousand streams opened and reset at once leave nothing in flight, and the next client is served', async () => {
  const harness = await start((_call, respond) => void setTimeout(() => respond(null, answerWithTokens(1, 1)), 500));
  const open = openSession(harness);
  const message = nest(1, Buffer.from('llama-3.1-70b'));
  for (let count = 0; count < 1000; count += 1) {
    const stream = open.request({ ...HEADERS, 'x-api-key': SEARCH_KEY });
    stream.on('error', () => {});
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
    if (count % 2 === 0) stream.close(constants.NGHTTP2_CANCEL);
    else setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
  }
  const { error } = await harness.client.call('ModelInfer', inferRequest());
  expect(error).toBeNull();
  await expect.poll(() => harness.gateway.plane.inFlight.count, { timeout: 10_000 }).toBe(0);
  const { records } = harness.metering;
  expect(new Set(records.map(({ recordId }) => recordId)).size).toBe(records.length);
  expect(harness.gateway.upstreamStatus().map(({ inFlight }) => inFlight)).toEqual([0]);
});
