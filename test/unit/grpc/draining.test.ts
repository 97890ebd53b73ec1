// A gateway that ends owes its gRPC clients the answers of calls that were in flight.
import { once } from 'node:events';
import { status as Status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { collectStream } from '#test/support/kserve-grpc.ts';
import { answerWithTokens, type GrpcHarness, inferRequest, startGrpcHarness } from './harness.ts';

let running: GrpcHarness | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

/** As a gateway that was told to stop does. */
async function stop({ gateway, listener }: GrpcHarness): Promise<number> {
  const { left } = await gateway.drain(5000);
  await listener.close();
  return left;
}

test('the last call in flight is answered before the port closes', async () => {
  const asked = Promise.withResolvers<() => void>();
  running = await startGrpcHarness({
    infer: (_call, respond) => asked.resolve(() => respond(null, answerWithTokens(7, 12))),
  });
  const call = running.client.call('ModelInfer', inferRequest());
  const answer = await asked.promise;
  const stopped = stop(running);
  answer();
  const { error, message } = await call;
  expect([error, message, await stopped]).toEqual([null, answerWithTokens(7, 12), 0]);
});

test('the last stream in flight ends as its engine ended it before the port closes', async () => {
  const asked = Promise.withResolvers<() => void>();
  running = await startGrpcHarness({
    stream: (call) => {
      call.on('data', () => {
        asked.resolve(() => {
          call.write({ infer_response: answerWithTokens(5, 1) });
          call.end();
        });
      });
    },
  });
  const stream = running.client.stream();
  const done = collectStream(stream);
  stream.write(inferRequest());
  stream.end();
  const answer = await asked.promise;
  const stopped = stop(running);
  answer();
  const { replies, status } = await done;
  expect([replies.length, status.code, await stopped]).toEqual([1, Status.OK, 0]);
});

test('a stream that its client keeps open without a request does not hold up the end', async () => {
  running = await startGrpcHarness({
    stream: (call) => void call.on('data', () => call.write({ infer_response: answerWithTokens(5, 1) })),
  });
  const stream = running.client.stream();
  const answered = once(stream, 'data');
  const done = collectStream(stream);
  stream.write(inferRequest());
  await answered;
  const stopped = stop(running);
  const { replies, status } = await done;
  expect([replies.length, status.code, await stopped]).toEqual([1, Status.UNAVAILABLE, 0]);
});

test('a request on a stream that was open before is refused in it, and what was asked before is answered', async () => {
  const asked = Promise.withResolvers<() => void>();
  running = await startGrpcHarness({
    stream: (call) =>
      void call.on('data', () => asked.resolve(() => call.write({ infer_response: answerWithTokens(5, 1) }))),
  });
  const stream = running.client.stream();
  const refused = once(stream, 'data');
  const done = collectStream(stream);
  stream.write(inferRequest());
  const answer = await asked.promise;
  const stopped = stop(running);
  stream.write(inferRequest());
  await refused;
  answer();
  const { replies, status } = await done;
  expect(replies.map(({ error_message }) => error_message ?? '')).toEqual(['This gateway is shutting down.', '']);
  expect([status.code, await stopped]).toEqual([Status.UNAVAILABLE, 0]);
  expect(running.metering.records.map(({ outcome }) => outcome).toSorted()).toEqual(['completed', 'rejected']);
});
