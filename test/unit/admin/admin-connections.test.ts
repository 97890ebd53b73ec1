// How long the admin plane keeps connections.
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createAdminServer } from '#admin/admin-server.ts';
import { createOptions, servers } from './start-admin.ts';

/** More than the system takes of an answer that nobody reads. */
const BYTES = 32 * 1024 * 1024;

const accepted: Socket[] = [];
const note = (message: unknown): void => void accepted.push((message as { socket: Socket }).socket);
let client: Socket;
beforeEach(() => subscribe('net.server.socket', note));
afterEach(() => {
  unsubscribe('net.server.socket', note);
  accepted.length = 0;
  client.destroy();
});

/** Asks for metrics of `bytes` and reads nothing yet; the server's end of the connection. */
async function ask(bytes: number): Promise<Socket> {
  const metrics = { render: async () => 'x'.repeat(bytes), contentType: 'text/plain' };
  const server = createAdminServer({ ...createOptions({ metrics }), stalledMs: 300 });
  servers.push(server);
  const { port } = await server.listen();
  client = connect(port, '127.0.0.1').pause();
  client.write('GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n');
  let socket: Socket | undefined;
  while (socket === undefined || socket.bytesWritten === 0) {
    await delay(1);
    socket = accepted.find(({ remotePort }) => remotePort === client.localPort);
  }
  return socket;
}

it('a client that takes nothing of its answer loses its connection', async () => {
  const socket = await ask(BYTES);
  await once(socket, 'close');
  expect(client.destroyed).toBe(false);
});

it('a client that takes its answer keeps its connection for the next request', async () => {
  const socket = await ask(1000);
  await once(client.resume(), 'data');
  await delay(700);
  expect([socket.destroyed, client.destroyed]).toEqual([false, false]);
});
