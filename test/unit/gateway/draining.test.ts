// What a gateway that ends owes to clients that are still reading: the rest of their answers, or the reason why there is none.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { DeploymentConfig } from '#config/config.ts';
import { answerJson, answerStream, chatEvents, createGate, type Script } from '#test/support/fake-engine.ts';
import { chatBody, type Harness, SEARCH_KEY, send, startHarness } from './harness.ts';

let harness: Harness;
const accepted: Socket[] = [];
const noteAccepted = (message: unknown): void => void accepted.push((message as { socket: Socket }).socket);
beforeEach(async () => {
  subscribe('net.server.socket', noteAccepted);
  harness = await startHarness();
});
afterEach(async () => {
  unsubscribe('net.server.socket', noteAccepted);
  accepted.length = 0;
  await harness.close();
});

/** A client that reads nothing until it is resumed. */
function openLazily(body: string): Socket {
  const client = connect(harness.port, '127.0.0.1').pause();
  client.on('error', () => {});
  const headers = `host: x\r\nauthorization: Bearer ${SEARCH_KEY}\r\ncontent-length: ${body.length}`;
  client.write(`POST /v1/chat/completions HTTP/1.1\r\n${headers}\r\n\r\n${body}`);
  return client;
}

/** Answers with a stream that ends once the gateway holds what the system does not take any more. */
function fillThenEnd(client: Socket): void {
  harness.engine.answerWith(async (res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(12_000)}"}}]}\n\n`;
    const held = (): number => accepted.find(({ remotePort }) => remotePort === client.localPort)?.writableLength ?? 0;
    const isStalled = async (): Promise<boolean> => held() > 0 && (await delay(30, true)) && held() > 0;
    do {
      res.write(event);
      await delay(1);
    } while (!(await isStalled()));
    res.end('data: [DONE]\n\n');
  });
}

it('an answer that its client has not taken yet is not cut by draining', async () => {
  const client = openLazily(JSON.stringify(chatBody({ stream: true })));
  fillThenEnd(client);
  await harness.metering.whenRecorded(1);
  // The attempt is over and nothing in flight.
  await delay(20);
  const drained = harness.gateway.drain(5000);
  await delay(20);
  let end = '';
  client.on('data', (chunk: Buffer) => (end = `${end}${chunk.toString('latin1')}`.slice(-100)));
  client.resume();
  expect(await drained).toEqual({ left: 0 });
  while (!end.endsWith('0\r\n\r\n') && !client.destroyed) await delay(5);
  expect(end.endsWith('data: [DONE]\n\n\r\n0\r\n\r\n')).toBe(true);
  client.destroy();
});

it('an answer that its client never takes is left when the time is up', async () => {
  const client = openLazily(JSON.stringify(chatBody({ stream: true })));
  fillThenEnd(client);
  await harness.metering.whenRecorded(1);
  await delay(20);
  expect(await harness.gateway.drain(100)).toEqual({ left: 1 });
  client.destroy();
});

/** Without a length. */
const answerInPieces: Script = (res) => {
  res.writeHead(200, { 'content-type': 'application/json' }).write('{"id":');
  res.end('"x"}');
};

it.each([
  ['a stream', '/v1/chat/completions', answerStream(chatEvents(['Hel', 'lo'], { usage: false })), 'data: [DONE]\n\n'],
  ['an answer in one piece', '/v1/chat/completions', answerJson({ id: 'x' }), '{"id":"x"}'],
  ['an answer in pieces', '/v1/chat/completions', answerInPieces, '{"id":"x"}'],
  ['a forwarded answer in pieces', '/v1/moderations', answerInPieces, '{"id":"x"}'],
])('%s whose record is not durable yet is waited for', async (_name, path, script, end) => {
  harness.engine.answerWith(script);
  harness.metering.finishWith = () => delay(50);
  const answer = send(harness.port, { path, body: chatBody({ stream: end.startsWith('data') }) });
  await harness.metering.whenRecorded(1);
  // The engine is done, the attempt over.
  await delay(20);
  expect(await harness.gateway.drain(5000)).toEqual({ left: 0 });
  await harness.gateway.close();
  const { text, complete } = await answer;
  expect([text.endsWith(end), complete]).toEqual([true, true]);
});

// What lies between draining and closing is up to who composes the gateway.
it.each([0, 1, 2, 3])('a stream that the end of the gateway cuts is told so, closed %d steps later', async (steps) => {
  const asked = createGate();
  harness.engine.answerWith((res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    res.write(chatEvents(['Hel', 'lo'], { usage: false })[0], () => asked.open());
  });
  const answer = send(harness.port, { body: chatBody({ stream: true }) });
  await asked.opened;
  while (harness.metering.upstreamBytes.length < 2) await delay(1);
  expect(await harness.gateway.drain(1)).toEqual({ left: 1 });
  for (let step = 0; step < steps; step += 1) await Promise.resolve();
  await harness.gateway.close();
  const { text, complete } = await answer;
  expect([text.includes('"code":"draining"'), complete]).toEqual([true, false]);
  expect(listEndings()).toEqual([['interrupted', 200]]);
});

function listEndings(): [string, number][] {
  return harness.metering.records.map(({ outcome, status }) => [outcome, status]);
}

it.each(['/v1/chat/completions', '/v1/moderations'])(
  'an upload to %s that the end of the gateway cuts is told so',
  async (path) => {
    const client = connect(harness.port, '127.0.0.1');
    let text = '';
    client.on('error', () => {}).on('data', (chunk: Buffer) => (text += chunk.toString()));
    const headers = `host: x\r\nauthorization: Bearer ${SEARCH_KEY}\r\ncontent-length: 1000`;
    client.write(`POST ${path} HTTP/1.1\r\n${headers}\r\ncontent-type: application/json\r\n\r\n{"temperature":`);
    while (harness.gateway.plane.inFlight.count === 0) await delay(1);
    expect(await harness.gateway.drain(1)).toEqual({ left: 1 });
    await harness.gateway.close();
    while (!client.destroyed) await delay(1);
    expect([text.startsWith('HTTP/1.1 503 '), text.includes('"code":"draining"')]).toEqual([true, true]);
    expect(listEndings()).toEqual([['interrupted', 503]]);
  },
);

it('requests that the end of the gateway finds at an engine and waiting for one are told so', async () => {
  const { config } = harness.gateway.plane.view;
  const deployment = config.deployments[0] as DeploymentConfig;
  const upstreams = deployment.upstreams.map((upstream) => ({ ...upstream, maxInFlight: 1 }));
  const full = { ...deployment, queue: { size: 1, timeoutMs: 60_000 }, upstreams };
  harness.gateway.reload({ ...config, deployments: [full] });
  harness.engine.answerWith(() => {});
  const first = send(harness.port);
  while (harness.engine.requests.length === 0) await delay(1);
  const second = send(harness.port);
  while (harness.gateway.queueLengths()[0]?.waiting !== 1) await delay(1);
  expect(await harness.gateway.drain(1)).toEqual({ left: 2 });
  await harness.gateway.close();
  for (const { status, text } of await Promise.all([first, second]))
    expect([status, text.includes('"code":"draining"')]).toEqual([503, true]);
  expect(listEndings()).toEqual([
    ['interrupted', 503],
    ['interrupted', 503],
  ]);
});
