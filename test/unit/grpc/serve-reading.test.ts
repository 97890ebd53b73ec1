import { status as Status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import type { Message } from '#test/support/kserve-grpc.ts';
import { ADS_KEY } from '#test/unit/gateway/harness.ts';
import { type GrpcHarness, startGrpcHarness } from './harness.ts';

let running: GrpcHarness | undefined;

afterEach(async () => {
  await running?.close();
  running = undefined;
});

async function start(): Promise<GrpcHarness> {
  running = await startGrpcHarness({
    other(method, request) {
      switch (method) {
        case 'ModelMetadata':
          return { name: request['name'], versions: ['1'], platform: 'ensemble' };
        case 'ModelConfig':
          return { config: { name: request['name'] } };
        case 'ModelReady':
          return { ready: true };
        case 'ModelStatistics':
          return { model_stats: [{ name: request['name'], inference_count: 3 }] };
        case 'RepositoryIndex':
          return {
            models: [
              { name: 'preprocessing', state: 'READY' },
              { name: 'ensemble', version: '1', state: 'READY' },
            ],
          };
        default:
          return {};
      }
    },
  });
  return running;
}

test.each([
  ['ServerLive', {}, { live: true }],
  ['ServerReady', {}, { ready: true }],
  ['ModelReady', { name: 'llama-3.1-70b' }, { ready: true }],
  ['ModelMetadata', { name: 'llama-3.1-70b' }, { name: 'ensemble', versions: ['1'], platform: 'ensemble' }],
  ['ModelConfig', { name: 'llama-3.1-70b' }, { config: { name: 'ensemble' } }],
  ['ModelStatistics', { name: 'llama-3.1-70b' }, { model_stats: [{ name: 'ensemble', inference_count: 3 }] }],
  ['ModelStatistics', {}, { model_stats: [{ name: 'ensemble', inference_count: 3 }] }],
])('%s of %j answers, asked under the served name, and leaves no record', async (method, request, expected) => {
  const harness = await start();
  const { error, message } = await harness.client.call(method, request as Message);
  expect(error).toBeNull();
  expect(message).toEqual(expected);
  for (const asked of harness.engines[0]?.requests ?? []) expect(asked.message['name']).toBe('ensemble');
  expect(harness.metering.records).toEqual([]);
});

test('the index holds the names clients send, and none of the models behind them', async () => {
  const harness = await start();
  const { message } = await harness.client.call('RepositoryIndex', {});
  expect(message).toEqual({
    models: [
      { name: 'llama-3.1-70b', version: '1', state: 'READY' },
      { name: 'meta-llama/Llama-3.1-70B-Instruct', version: '1', state: 'READY' },
    ],
  });
  expect((await harness.client.call('RepositoryIndex', {}, { key: ADS_KEY })).message).toEqual({});
});

test('the server describes itself', async () => {
  const harness = await start();
  const { message } = await harness.client.call('ServerMetadata', {});
  expect(message?.['name']).toBe('inferometer');
  expect(message?.['extensions']).toContain('binary_tensor_data');
});

test.each([
  ['ServerReady', {}, null, Status.UNAUTHENTICATED],
  ['ModelMetadata', { name: 'llama-3.1-70b' }, ADS_KEY, Status.PERMISSION_DENIED],
  ['ModelMetadata', { name: 'ensemble' }, undefined, Status.NOT_FOUND],
])('%s of %j with key %s is refused', async (method, request, key, code) => {
  const harness = await start();
  const { error } = await harness.client.call(method, request as Message, key === undefined ? {} : { key });
  expect(error?.code).toBe(code);
  expect(harness.engines[0]?.requests).toEqual([]);
});

test('an engine that is down: its model is not ready, and unavailable in the index', async () => {
  const harness = await start();
  harness.engines[0]?.close();
  const { error } = await harness.client.call('ModelMetadata', { name: 'llama-3.1-70b' });
  expect(error?.code).toBe(Status.UNAVAILABLE);
  const { message } = await harness.client.call('RepositoryIndex', {});
  expect(message?.['models']).toMatchObject([{ state: 'UNAVAILABLE' }, { state: 'UNAVAILABLE' }]);
  expect((await harness.client.call('RepositoryIndex', { ready: true })).message).toEqual({});
});

test.each(['RepositoryModelLoad', 'RepositoryModelUnload'])('%s is not there, whoever asks', async (method) => {
  const harness = await start();
  const { error } = await harness.client.call(method, { model_name: 'llama-3.1-70b' });
  expect(error?.code).toBe(Status.UNIMPLEMENTED);
  expect(harness.engines[0]?.requests).toEqual([]);
});

test('the standard health service answers without a key', async () => {
  const harness = await start();
  const { Client, credentials } = await import('@grpc/grpc-js');
  const client = new Client(`127.0.0.1:${harness.grpcPort}`, credentials.createInsecure());
  const keep = (bytes: Buffer): Buffer => bytes;
  const check = (): Promise<Buffer | undefined> =>
    new Promise((resolve) => {
      const path = '/grpc.health.v1.Health/Check';
      client.makeUnaryRequest(path, keep, keep, Buffer.alloc(0), (_error, answer) => resolve(answer));
    });
  expect(await check()).toEqual(Buffer.from([0x08, 1]));
  harness.gateway.startDraining();
  expect(await check()).toEqual(Buffer.from([0x08, 2]));
  client.close();
});
