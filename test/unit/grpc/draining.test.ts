// A gateway that ends owes its gRPC clients the answers of calls that were in flight.
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
