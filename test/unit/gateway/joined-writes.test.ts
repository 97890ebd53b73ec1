// Joined writes: the same bytes in the same order, whatever the parts.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JOINED_BYTES_MAX, joinSmallWrites } from '#gateway/joined-writes.ts';

let server: ReturnType<typeof createServer>;
let socket: Socket;
let received: Buffer[];

beforeEach(async () => {
  received = [];
  server = createServer((peer) => peer.on('data', (bytes: Buffer) => received.push(bytes))).listen(0, '127.0.0.1');
  await once(server, 'listening');
  socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
});
afterEach(() => {
  socket.destroy();
  server.close();
});

async function receive(length: number): Promise<Buffer> {
  while (received.reduce((sum, { length: part }) => sum + part, 0) < length) await delay(1);
  return Buffer.concat(received.splice(0));
}

function writeCorked(parts: readonly (Buffer | readonly [string, BufferEncoding])[]): Promise<unknown> {
  socket.cork();
  for (const part of parts.slice(0, -1)) {
    if (Buffer.isBuffer(part)) socket.write(part);
    else socket.write(part[0], part[1]);
  }
  const last = parts.at(-1);
  const written = new Promise((resolve) => {
    if (Buffer.isBuffer(last)) socket.write(last, resolve);
    else socket.write(last?.[0] ?? '', last?.[1] ?? 'latin1', resolve);
  });
  socket.uncork();
  return written;
}

const bytesOf = (part: Buffer | readonly [string, BufferEncoding]): Buffer =>
  Buffer.isBuffer(part) ? part : Buffer.from(part[0], part[1]);

test('any parts arrive byte by byte as they were written, in one piece or as a list', async () => {
  joinSmallWrites(socket);
  const text = fc.tuple(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constantFrom('latin1' as const, 'utf8' as const),
  );
  const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
  const large = fc.nat({ max: 3 * JOINED_BYTES_MAX }).map((length) => Buffer.alloc(length, length));
  const parts = fc.array(fc.oneof(text, bytes, { arbitrary: large, weight: 1 }), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(parts, async (written) => {
      const expected = Buffer.concat(written.map(bytesOf));
      await writeCorked(written);
      expect((await receive(expected.length)).equals(expected)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('headers and a small body are one write', async () => {
  const calls: unknown[] = [];
  const write = socket._write.bind(socket);
  socket._write = (chunk, encoding, callback) => {
    calls.push(chunk);
    write(chunk, encoding, callback);
  };
  joinSmallWrites(socket);
  await writeCorked([['POST / HTTP/1.1\r\nx: \xe9\r\n\r\n', 'latin1'], Buffer.from('{"a":"é"}')]);
  expect(calls).toEqual([Buffer.from('POST / HTTP/1.1\r\nx: \xe9\r\n\r\n{"a":"Ã©"}', 'latin1')]);
});

test('a broken connection tells whoever wrote', async () => {
  joinSmallWrites(socket);
  socket.on('error', () => {});
  socket.destroy(new Error('gone'));
  expect(await writeCorked([['a', 'latin1'], Buffer.from('b')])).toBeInstanceOf(Error);
});
