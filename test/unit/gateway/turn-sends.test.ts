// Sends at the end of a turn: after what they depend on, every byte, in order, whatever becomes of the socket.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TurnSends } from '#gateway/turn-sends.ts';

let server: ReturnType<typeof createServer>;
const received = new Map<number, Buffer[]>();
const sockets: Socket[] = [];
/** What happened, in order: 'commit', or the text that a socket handed to the system. */
let events: string[] = [];
let sends: TurnSends;

beforeEach(async () => {
  server = createServer((peer) => {
    peer.on('error', () => {});
    peer.on('data', (bytes: Buffer) => received.get(peer.remotePort ?? 0)?.push(bytes));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  events = [];
  sends = new TurnSends(() => void events.push('commit'));
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  received.clear();
  server.close();
});

async function open(): Promise<Socket> {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(socket, 'connect');
  socket.on('error', () => {});
  received.set(socket.localPort ?? 0, []);
  const write = socket._write.bind(socket);
  socket._write = (chunk: Buffer | string, encoding, done) => {
    events.push(chunk.toString());
    write(chunk, encoding, done);
  };
  const writeList = socket._writev?.bind(socket);
  socket._writev = (parts, done) => {
    events.push(...parts.map(({ chunk }) => String(chunk)));
    writeList?.(parts, done);
  };
  sends.attach(socket);
  sockets.push(socket);
  return socket;
}

async function receive(port: number, length: number): Promise<Buffer> {
  const parts = received.get(port) ?? [];
  while (parts.reduce((sum, { length: part }) => sum + part, 0) < length) await delay(1);
  return Buffer.concat(parts.splice(0));
}

test('what several sockets were given in a turn leaves at its end, behind one commit', async () => {
  const [one, other] = [await open(), await open()];
  one.write('a');
  other.write('b');
  expect(events).toEqual([]);
  await nextTurn();
  expect(events).toEqual(['commit', 'a', 'b']);
  expect((await receive(other.localPort ?? 0, 1)).toString()).toBe('b');
});

test('a send that was put off to the end of the turn leaves with what was held, behind the same commit', async () => {
  const [one, other] = [await open(), await open()];
  one.write('held');
  setImmediate(() => other.write('put off'));
  sends.waitForChecks();
  await nextTurn();
  expect(events).toEqual(['commit', 'held', 'put off']);
});

test('a turn with very many sends does not keep them all', async () => {
  const many = await Promise.all(Array.from({ length: 40 }, () => open()));
  for (const socket of many) {
    socket.write('x');
    await Promise.resolve();
  }
  process.nextTick(() => events.push('next tick'));
  await nextTurn();
  expect(events.filter((event) => event === 'x')).toHaveLength(40);
  expect(events.indexOf('commit')).toBeLessThan(events.indexOf('next tick'));
});

test('a socket that is destroyed in the turn sends what it was given first, behind a commit', async () => {
  const socket = await open();
  const port = socket.localPort ?? 0;
  socket.write('last words');
  socket.destroy();
  expect(events).toEqual(['commit', 'last words']);
  expect((await receive(port, 10)).toString()).toBe('last words');
  await nextTurn();
  expect(events.filter((event) => event === 'last words')).toHaveLength(1);
});

test('everything that a socket was given before it is destroyed leaves, in order', async () => {
  const socket = await open();
  const port = socket.localPort ?? 0;
  for (const text of ['a', 'b', 'c']) socket.write(text);
  socket.destroy();
  expect((await receive(port, 3)).toString()).toBe('abc');
});

test('sends are not put off for ever by check phases that each have more to send', async () => {
  const socket = await open();
  socket.write('held');
  const untilMs = performance.now() + 2000;
  await new Promise<void>((resolve) => {
    const sendMore = (): void => {
      if (events.includes('held') || performance.now() > untilMs) {
        resolve();
        return;
      }
      // In front of what ends the turn, again and again.
      setImmediate(sendMore);
      sends.waitForChecks();
    };
    sendMore();
  });
  expect(events).toEqual(['commit', 'held']);
});

test('several writes to a socket leave in the turn in which they were made', async () => {
  const socket = await open();
  for (const text of ['a', 'b', 'c']) socket.write(text);
  await nextTurn();
  expect(events.filter((event) => event !== 'commit').join('')).toBe('abc');
});

test('flush sends at once, and nothing is sent twice', async () => {
  const socket = await open();
  socket.write('now');
  sends.flush();
  expect(events).toEqual(['commit', 'now']);
  await nextTurn();
  expect(events).toEqual(['commit', 'now']);
});

test('whoever wrote to a broken connection is told, and the others are sent', async () => {
  const [broken, sound] = [await open(), await open()];
  broken.destroy(new Error('gone'));
  const told = new Promise((resolve) => {
    broken.write('a', resolve);
  });
  sound.write('b');
  expect(await told).toBeInstanceOf(Error);
  expect((await receive(sound.localPort ?? 0, 1)).toString()).toBe('b');
});

test('any writes over any turns arrive byte by byte in their order', async () => {
  const open3 = [await open(), await open(), await open()];
  const step = fc.oneof(
    fc.record({ socket: fc.nat({ max: 2 }), text: fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }) }),
    fc.record({ socket: fc.nat({ max: 2 }), large: fc.integer({ min: 1, max: 200_000 }) }),
    fc.record({ socket: fc.nat({ max: 2 }), cork: fc.boolean() }),
    fc.constant('turn' as const),
    fc.constant('flush' as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const expected = open3.map((): Buffer[] => []);
      const give = (index: number, bytes: Buffer): void => {
        open3[index]?.write(bytes);
        expected[index]?.push(bytes);
      };
      for (const what of steps) {
        if (what === 'turn') await nextTurn();
        else if (what === 'flush') sends.flush();
        else if ('text' in what) give(what.socket, Buffer.from(what.text, 'latin1'));
        else if ('large' in what) give(what.socket, Buffer.alloc(what.large, what.large));
        else if (what.cork) open3[what.socket]?.cork();
        else open3[what.socket]?.uncork();
      }
      for (const [index, socket] of open3.entries()) {
        while (socket.writableCorked > 0) socket.uncork();
        const all = Buffer.concat(expected[index] ?? []);
        expect((await receive(socket.localPort ?? 0, all.length)).equals(all)).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});
