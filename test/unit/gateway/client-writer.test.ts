import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { type ClientWriter, createClientWriter } from '#gateway/client-writer.ts';

type Answer = (writer: ClientWriter, url: string) => void | Promise<void>;

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** The bytes that a connection brings back for the given requests, until the server closes it; `readAfterMs` lets buffers fill first. */
async function ask(
  requests: string,
  answer: Answer,
  { readAfterMs = 0, source = { pause() {}, resume() {} } } = {},
): Promise<string> {
  const server = createServer((req, res) => {
    const writer = createClientWriter(res, source);
    void answer(writer, req.url ?? '');
  }).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const parts: Buffer[] = [];
  client.write(requests);
  if (readAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, readAfterMs));
  client.on('data', (part: Buffer) => parts.push(part));
  await once(client, 'close');
  return Buffer.concat(parts).toString('latin1');
}

const last = (method: string, path: string, version = '1.1'): string =>
  `${method} ${path} HTTP/${version}\r\nhost: x\r\nconnection: close\r\n\r\n`;
const begin = (writer: ClientWriter): void =>
  writer.begin(200, { headers: { 'content-type': 'text/event-stream' }, statusText: undefined, flushes: true });

/** The body of a chunked answer. */
function unchunk(answer: string): string {
  let rest = answer.slice(answer.indexOf('\r\n\r\n') + 4);
  let body = '';
  for (;;) {
    const lineEnd = rest.indexOf('\r\n');
    const size = Number.parseInt(rest.slice(0, lineEnd), 16);
    if (!(size >= 0)) throw new Error(`no chunk: ${rest.slice(0, 40)}`);
    if (size === 0) {
      expect(rest.slice(lineEnd)).toBe('\r\n\r\n');
      return body;
    }
    body += rest.slice(lineEnd + 2, lineEnd + 2 + size);
    expect(rest.slice(lineEnd + 2 + size, lineEnd + 4 + size)).toBe('\r\n');
    rest = rest.slice(lineEnd + 4 + size);
  }
}

/** Runs of one character with their lengths: what a difference of long texts is read from. */
function shorten(text: string): string {
  return text.replaceAll(/(.)\1{9,}/g, (run: string, character: string) => `${character}×${run.length} `);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('small and large chunks, within one turn and over several, arrive whole, in order, each as the chunk it was', async () => {
  const sent = ['a', 'b'.repeat(4096), 'c'.repeat(4097), 'd', 'e'.repeat(70_000), 'f'.repeat(220), 'g'];
  const answer = await ask(last('POST', '/'), async (writer) => {
    begin(writer);
    for (const [index, text] of sent.entries()) {
      if (index % 3 === 0) await turn();
      writer.write(Buffer.from(text));
    }
    writer.end(Buffer.from('end'));
  });
  expect(shorten(unchunk(answer))).toBe(shorten(`${sent.join('')}end`));
  for (const text of sent) expect(answer.includes(`\r\n${text.length.toString(16)}\r\n${text}\r\n`)).toBe(true);
});

test('no bytes are no chunk: an empty write does not end the answer', async () => {
  const answer = await ask(last('POST', '/'), async (writer) => {
    begin(writer);
    await turn();
    writer.write(Buffer.from('before'));
    writer.write(Buffer.alloc(0));
    writer.write(Buffer.from(' after'));
    writer.end(null);
  });
  expect(unchunk(answer)).toBe('before after');
});

test('an answer whose turn on the connection has not come waits for the one before it', async () => {
  const ended = Promise.withResolvers<void>();
  const requests = `POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n${last('POST', '/fast')}`;
  const answer = await ask(requests, async (writer, url) => {
    begin(writer);
    await turn();
    if (url === '/slow') await ended.promise;
    for (const part of ['one', 'two', 'three']) {
      writer.write(Buffer.from(`${url} ${part};`));
      await turn();
    }
    writer.end(null);
    if (url === '/fast') ended.resolve();
  });
  const second = answer.indexOf('HTTP/1.1', 10);
  expect(unchunk(answer.slice(0, second))).toBe('/slow one;/slow two;/slow three;');
  expect(unchunk(answer.slice(second))).toBe('/fast one;/fast two;/fast three;');
});

test('a client of HTTP/1.0 gets the bytes without chunks', async () => {
  const answer = await ask(last('POST', '/', '1.0'), async (writer) => {
    begin(writer);
    writer.write(Buffer.from('one'));
    await turn();
    writer.write(Buffer.from('two'));
    writer.end(null);
  });
  expect(answer.slice(answer.indexOf('\r\n\r\n') + 4)).toBe('onetwo');
});

test('an answer to HEAD has no body, whatever was written', async () => {
  const answer = await ask(last('HEAD', '/'), async (writer) => {
    begin(writer);
    writer.write(Buffer.from('one'));
    await turn();
    writer.write(Buffer.from('two'));
    writer.end(null);
  });
  expect(answer.endsWith('\r\n\r\n')).toBe(true);
  expect(answer).not.toContain('two');
});

test('a client that does not read pauses the source, and resumes it once it has read', async () => {
  const calls: string[] = [];
  const resumed = Promise.withResolvers<void>();
  const source = {
    pause: () => void calls.push('pause'),
    resume: () => {
      calls.push('resume');
      resumed.resolve();
    },
  };
  const part = Buffer.alloc(4000, 'x');
  let parts = 0;
  const answer = await ask(
    last('POST', '/'),
    async (writer) => {
      begin(writer);
      for (; parts < 5000 && !writer.isPaused; parts += 1) writer.write(part);
      await resumed.promise;
      writer.end(Buffer.from('end'));
    },
    { readAfterMs: 100, source },
  );
  expect(calls).toEqual(['pause', 'resume']);
  expect(shorten(unchunk(answer))).toBe(`x×${4000 * parts} end`);
});

test('a client that says no more while much is on its way gets all of it: what comes later is dropped, and no error breaks the connection', async () => {
  const errors: unknown[] = [];
  const written = Promise.withResolvers<number>();
  const server = createServer((_req, res) => {
    const writer = createClientWriter(res, { pause() {}, resume() {} });
    begin(writer);
    let parts = 0;
    for (; !writer.isPaused; parts += 1) writer.write(Buffer.alloc(4000, 'x'));
    for (let more = 0; more < 4000; more += 1, parts += 1) writer.write(Buffer.alloc(4000, 'x'));
    const poll = setInterval(() => {
      if (!res.req.socket.writableEnded) return;
      clearInterval(poll);
      writer.write(Buffer.from('later'));
      written.resolve(parts);
    }, 5);
  }).listen(0, '127.0.0.1');
  servers.push(server);
  server.on('clientError', (error, socket) => {
    errors.push(error);
    socket.destroy();
  });
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.on('error', () => {});
  client.end('POST / HTTP/1.1\r\nhost: x\r\n\r\n');
  const parts = await written.promise;
  let text = '';
  client.setEncoding('latin1').on('data', (part: string) => (text += part));
  await once(client, 'close');
  expect(errors).toEqual([]);
  expect(text.length).toBeGreaterThan(4000 * parts);
  expect(text).not.toContain('later');
});

test('fields that follow the last bytes follow them', async () => {
  const answer = await ask(last('POST', '/'), async (writer) => {
    begin(writer);
    writer.write(Buffer.from('one'));
    await turn();
    writer.write(Buffer.from('two'));
    writer.trail({ 'x-checked': 'yes' });
    writer.end(null);
  });
  expect(answer.endsWith('3\r\ntwo\r\n0\r\nx-checked: yes\r\n\r\n')).toBe(true);
});
