// Every way a client can leave, for every kind of request: one record with the right words, the engine told at once, nothing left open.
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGate } from '#test/support/fake-engine.ts';
import { openRaw, type RawExchange } from '#test/support/raw-http.ts';
import { createEndingConfig, EACH, EVENTS, post, startEndingHarness, watchEngine } from './ending-kinds.ts';
import { chatBody, type Harness, send } from './harness.ts';
import { HEAD } from './raw-requests.ts';

/** Far above the 100 ms that are promised, which the soak measures: a busy machine must not fail this. */
const CLOSE_LIMIT_MS = 2000;

const UPLOAD = `POST /v1/audio/transcriptions HTTP/1.1\r\n${HEAD}transfer-encoding: chunked\r\n\r\n5\r\nbytes\r\n`;

let harness: Harness;
beforeEach(async () => {
  harness = await startEndingHarness();
});
afterEach(async () => {
  expect(harness.gateway.upstreamStatus().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  // Nothing late may add a second record.
  const before = harness.metering.records.length;
  expect((await send(harness.port, { method: 'GET', path: '/healthz' })).status).toBe(200);
  expect(harness.metering.records.length).toBe(before);
  await harness.close();
});

/** Hangs up, and returns the one record after the engine lost its connection. */
async function hangUp(client: RawExchange, closedAtMs: Promise<number>): Promise<object | undefined> {
  const leftAtMs = performance.now();
  client.hangUp();
  expect((await closedAtMs) - leftAtMs).toBeLessThan(CLOSE_LIMIT_MS);
  await harness.metering.whenRecorded(1);
  expect(harness.metering.records).toHaveLength(1);
  return harness.metering.records[0];
}

describe.each(EACH)('a client of %s that leaves', (_name, kind) => {
  it('before headers: the engine is let go, 499', async () => {
    const { asked, closedAtMs } = watchEngine(harness, () => {});
    const client = openRaw(harness.port, kind.request);
    await asked;
    expect(await hangUp(client, closedAtMs)).toMatchObject({ outcome: 'client_aborted', status: 499 });
  });

  it('half way: the engine is let go, what came is counted', async () => {
    const { closedAtMs } = watchEngine(harness, (res) => res.writeHead(200, kind.headers).write(kind.part));
    const client = openRaw(harness.port, kind.request);
    await client.until(kind.seen);
    expect(await hangUp(client, closedAtMs)).toMatchObject({
      outcome: 'client_aborted',
      status: 200,
      ...kind.counted,
    });
  });

  it('while it reads too slowly: the engine is let go although its answer is held up', async () => {
    const stuck = createGate();
    const { closedAtMs } = watchEngine(harness, (res) => {
      res.writeHead(200, kind.headers).write(kind.part);
      const fill = (): void => {
        for (let round = 0; round < 400 && !res.destroyed; round += 1) {
          if (res.write(`data: {"choices":[]}${' '.repeat(64_000)}\n\n`)) continue;
          const timer = setTimeout(() => stuck.open(), 250);
          res.once('drain', () => {
            clearTimeout(timer);
            fill();
          });
          return;
        }
      };
      fill();
    });
    const client = openRaw(harness.port, kind.request);
    await client.until(kind.seen);
    client.pause();
    await stuck.opened;
    expect(await hangUp(client, closedAtMs)).toMatchObject({ outcome: 'client_aborted', status: 200 });
  });

  it('half-closed, which is how some clients hang up: as if it had gone', async () => {
    const { asked, closedAtMs } = watchEngine(harness, () => {});
    const client = openRaw(harness.port, kind.request);
    await asked;
    client.halfClose();
    expect(await hangUp(client, closedAtMs)).toMatchObject({ outcome: 'client_aborted', status: 499 });
  });
});

describe('a client that leaves', () => {
  it('while its body uploads to a metered route: nothing was sent, one record', async () => {
    const client = openRaw(
      harness.port,
      `POST /v1/chat/completions HTTP/1.1\r\n${HEAD}content-length: 90\r\n\r\n{"a":`,
    );
    await send(harness.port, { method: 'GET', path: '/v1/models' });
    client.hangUp();
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', status: 499, upstream: null }]);
    expect(harness.engine.requests.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  it('while its body is streamed through: the engine sees the upload break', async () => {
    const arrived = createGate();
    const { promise: closedAtMs, resolve } = Promise.withResolvers<number>();
    const engine = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => chunk.includes('bytes') && arrived.open());
      socket.once('close', () => resolve(performance.now()));
    });
    await new Promise<void>((listening) => {
      engine.listen(0, '127.0.0.1', listening);
    });
    const { port } = engine.address() as AddressInfo;
    harness.gateway.reload(createEndingConfig(`http://127.0.0.1:${port}`));
    const client = openRaw(harness.port, UPLOAD);
    await arrived.opened;
    expect(await hangUp(client, closedAtMs)).toMatchObject({
      outcome: 'client_aborted',
      status: 499,
      upstream: 'trt-1',
      route: '/v1/audio/*',
    });
    engine.close();
  });

  it('between usage and [DONE]: aborted, with the tokens the engine reported', async () => {
    const { closedAtMs } = watchEngine(harness, (res) =>
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(EVENTS.slice(0, -1).join('')),
    );
    const client = openRaw(
      harness.port,
      post('/v1/chat/completions', chatBody({ stream: true, stream_options: { include_usage: true } })),
    );
    await client.until('completion_tokens');
    expect(await hangUp(client, closedAtMs)).toMatchObject({
      outcome: 'client_aborted',
      status: 200,
      tokenSource: 'reported',
      tokens: { input: 5, output: 2 },
    });
  });

  it('after [DONE] and before the end: completed, as far as anybody cares', async () => {
    const { closedAtMs } = watchEngine(harness, (res) =>
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(EVENTS.join('')),
    );
    const client = openRaw(harness.port, post('/v1/chat/completions', chatBody({ stream: true })));
    await client.until('[DONE]');
    expect(await hangUp(client, closedAtMs)).toMatchObject({
      outcome: 'completed',
      status: 200,
      tokenSource: 'reported',
    });
  });
});
