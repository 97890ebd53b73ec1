import { execFileSync } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerStream, chatEvents, createGate } from '#test/support/fake-engine.ts';
import { openRaw, sendRaw } from '#test/support/raw-http.ts';
import { type Harness, startHarness } from './harness.ts';
import { AUTH, BODY, chat, get, LENGTH } from './raw-requests.ts';

interface TcpHandle {
  setNoDelay(on: boolean): number;
  getsockname(address: { port?: number }): number;
  getpeername(address: { port?: number }): number;
}

/** Counts the sockets whose TCP_NODELAY was set: of a listener on the first port `run` tells, and towards the second. */
async function watchNoDelay(run: () => Promise<number[]>): Promise<[number, number]> {
  const probe = createConnection(harness.port, '127.0.0.1') as Socket & { _handle: TcpHandle };
  await new Promise((resolve) => probe.once('connect', resolve));
  const prototype = Object.getPrototypeOf(probe._handle) as TcpHandle;
  probe.destroy();
  const original = prototype.setNoDelay;
  const local: (number | undefined)[] = [];
  const remote: (number | undefined)[] = [];
  prototype.setNoDelay = function setNoDelay(this: TcpHandle, on: boolean) {
    const [own, other]: { port?: number }[] = [{}, {}];
    this.getsockname(own ?? {});
    this.getpeername(other ?? {});
    if (on) {
      local.push(own?.port);
      remote.push(other?.port);
    }
    return original.call(this, on);
  };
  try {
    const [gateway, engine] = await run();
    return [local.filter((port) => port === gateway).length, remote.filter((port) => port === engine).length];
  } finally {
    prototype.setNoDelay = original;
  }
}

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

describe('connections', () => {
  it('pipelined requests are answered in the order they were asked, each with its record', async () => {
    const slow = createGate();
    harness.engine.answerWith(async (res, { headers }) => {
      const name = String(headers['x-name']);
      if (name === 'a') await slow.opened;
      if (name === 'b') slow.open();
      res.end(`<${name}>`);
    });
    const client = openRaw(harness.port, ['a', 'b', 'c'].map((name) => chat(`x-name: ${name}\r\n`)).join(''));
    await client.until('<c>');
    expect(client.text().match(/<.>/g)).toEqual(['<a>', '<b>', '<c>']);
    expect(client.text().match(/HTTP\/1\.1 200 /g)).toHaveLength(3);
    client.hangUp();
    expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(['completed', 'completed', 'completed']);
  });

  it('a client that hangs up on pipelined requests aborts all of them', async () => {
    const asked = [createGate(), createGate()];
    let count = 0;
    harness.engine.answerWith(() => asked[count++]?.open());
    const client = openRaw(harness.port, chat() + chat());
    await Promise.all(asked.map(({ opened }) => opened));
    client.hangUp();
    await harness.metering.whenRecorded(2);
    expect(harness.metering.records).toMatchObject([
      { outcome: 'client_aborted', status: 499 },
      { outcome: 'client_aborted', status: 499 },
    ]);
    expect(harness.gateway.upstreamStatus()).toMatchObject([{ inFlight: 0 }]);
  });

  it('a connection is kept for the next request, closed on request, and closed after HTTP/1.0', async () => {
    const client = openRaw(harness.port, chat());
    await client.until('"usage"');
    client.write(chat('connection: close\r\n'));
    const text = await client.closed;
    expect(text.match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
    expect(text.split('HTTP/1.1 200 ').map((part) => /\r\nconnection: close/i.test(part))).toEqual([
      false,
      false,
      true,
    ]);
    const old = await sendRaw(harness.port, chat().replace('HTTP/1.1', 'HTTP/1.0'));
    expect(old).toMatch(/^HTTP\/1\.1 200 /);
    expect(harness.metering.records).toHaveLength(3);
  });

  it('HTTP/1.0 gets a stream without chunks', async () => {
    harness.engine.answerWith(answerStream(chatEvents(['a', 'b'], { usage: false })));
    const text = await sendRaw(harness.port, chat().replace('HTTP/1.1', 'HTTP/1.0'));
    expect(text.toLowerCase()).not.toContain('transfer-encoding');
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe(chatEvents(['a', 'b'], { usage: false }).join(''));
  });

  it('a request that came along with a refused one is not read', async () => {
    const text = await sendRaw(harness.port, get('http://evil.example/') + chat());
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(harness.metering.records).toEqual([]);
    expect(harness.engine.requests).toEqual([]);
  });

  it.each([
    ['bytes that are no HTTP', 'nonsense\r\n\r\n'],
    ['a tunnel', 'CONNECT evil.example:80 HTTP/1.1\r\nhost: x\r\n\r\n'],
  ])('a client that was refused for %s cannot keep its connection by never closing it', async (_name, bytes) => {
    const accepted: Socket[] = [];
    const note = (message: unknown): void => void accepted.push((message as { socket: Socket }).socket);
    subscribe('net.server.socket', note);
    const client = createConnection({ port: harness.port, host: '127.0.0.1', allowHalfOpen: true });
    client.resume().write(bytes);
    await once(client, 'end');
    unsubscribe('net.server.socket', note);
    const [socket] = accepted.filter(({ remotePort }) => remotePort === client.localPort);
    if (socket?.closed !== true) await once(socket as Socket, 'close');
    expect(client.writable).toBe(true);
    client.destroy();
  });

  it('the gateway delays small packets neither towards clients nor towards engines', async () => {
    const [own, towards] = await watchNoDelay(async () => {
      // A fresh gateway, so that its connection to the engine is made now.
      const fresh = await startHarness();
      const ports = [fresh.port, fresh.engine.port];
      await sendRaw(fresh.port, chat('connection: close\r\n'));
      await sendRaw(fresh.port, chat('connection: close\r\n').replace('/v1/chat/completions', '/v1/audio/speech'));
      await fresh.close();
      return ports;
    });
    expect(own).toBeGreaterThanOrEqual(2);
    // One connection of undici's for the metered route, one of node's client for the forwarded one.
    expect(towards).toBeGreaterThanOrEqual(2);
  });
});

describe('expect: 100-continue', () => {
  const ask = (headers: string, path = '/v1/chat/completions'): string =>
    `POST ${path} HTTP/1.1\r\nhost: x\r\n${headers}expect: 100-continue\r\n`;

  it.each(['/v1/chat/completions', '/v1/audio/speech'])(
    'on %s the body is asked for once it is wanted',
    async (path) => {
      const client = openRaw(harness.port, `${ask(AUTH, path)}${LENGTH}\r\n`);
      await client.until('HTTP/1.1 100 Continue\r\n\r\n');
      client.write(BODY);
      await client.until('"usage"');
      expect(client.text()).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
      client.write(chat('connection: close\r\n'));
      expect((await client.closed).match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
      expect(harness.engine.requests.map(({ headers }) => headers.expect)).toEqual([undefined, undefined]);
    },
  );

  it.each([
    ['a wrong key', 'authorization: Bearer wrong-key-0123456789\r\n', LENGTH, 401],
    ['a body over the limit', AUTH, 'content-length: 9000000\r\n', 413],
    ['a body of an unknown coding', AUTH, `content-encoding: compress\r\n${LENGTH}`, 415],
  ])('%s is refused before the upload, and the connection ends', async (_name, key, length, status) => {
    const text = await sendRaw(harness.port, `${ask(key)}${length}\r\n`);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n');
  });

  it('a burst of 1,000 connections is kept by the kernel while the gateway is busy', () => {
    // The child runs while this process, and the gateway in it, stands still.
    const count = `const { createConnection } = require('node:net'); let connected = 0;
      for (let i = 0; i < 1000; i += 1) createConnection(${harness.port}, '127.0.0.1').on('connect', () => (connected += 1)).on('error', () => {});
      setTimeout(() => { process.stdout.write(String(connected)); process.exit(); }, 900);`;
    const room = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
    expect(Number(execFileSync(process.execPath, ['-e', count]))).toBeGreaterThanOrEqual(Math.min(1000, room));
  });
});
