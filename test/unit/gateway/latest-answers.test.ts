// Which answers are still on their way, and how long they are waited for, and their connections kept.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LatestAnswers } from '#gateway/latest-answers.ts';

/** More than the system takes of an answer that nobody reads. */
const BYTES = 32 * 1024 * 1024;

let answers: LatestAnswers;
let server: Server;
let client: Socket;
let accepted: Socket;

beforeEach(async () => {
  answers = new LatestAnswers(1000);
  server = createServer((req, res) => {
    accepted = req.socket;
    answers.begin(req.socket, res);
    res.writeHead(200, { 'content-length': BYTES });
    for (let sent = 0; sent < BYTES; sent += BYTES / 64) res.write(Buffer.alloc(BYTES / 64));
    res.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  client = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
  client.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  while (answers.leaving === 0) await delay(1);
});
afterEach(() => {
  client.destroy();
  server.close();
});

test('an answer of which nothing leaves is not waited for any longer', async () => {
  const startedMs = performance.now();
  await answers.whenLeft(60_000);
  expect(performance.now() - startedMs).toBeLessThan(20_000);
  expect([answers.leaving, answers.unfinished]).toEqual([1, 1]);
});

test('an answer that its client takes at last is waited for', async () => {
  const left = answers.whenLeft(60_000);
  await delay(100);
  client.resume();
  await left;
  expect([answers.leaving, answers.unfinished]).toEqual([0, 0]);
});

test('an answer whose client has gone is none', async () => {
  client.destroy();
  await answers.whenFinished(60_000);
  expect([answers.leaving, answers.unfinished]).toEqual([0, 0]);
});

test('a connection ends of which the client takes nothing of an answer that has ended', async () => {
  await once(accepted, 'close');
  expect(answers.leaving).toBe(0);
});

test('a client that takes an ended answer slowly gets all of it, and its connection is idle then as any other', async () => {
  let pieceBytes = 0;
  client.on('data', (chunk: Buffer) => {
    pieceBytes += chunk.length;
    if (pieceBytes < BYTES / 12) return;
    pieceBytes = 0;
    client.pause();
    setTimeout(() => client.resume(), 350);
  });
  await delay(1500);
  expect(accepted.timeout).toBe(1000);
  client.resume();
  while (client.bytesRead < BYTES && !client.closed) await delay(10);
  expect(client.bytesRead).toBeGreaterThanOrEqual(BYTES);
  while (answers.leaving > 0) await delay(1);
  expect(accepted.timeout).toBeGreaterThan(server.keepAliveTimeout - 1);
});
