import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGate } from '#test/support/fake-engine.ts';
import { openRaw, sendRaw } from '#test/support/raw-http.ts';
import { type Harness, send, startHarness } from './harness.ts';
import { until } from './several-engines.ts';
import { AUTH, BODY, chat, CHUNKED, get, HEAD, LENGTH, ONE, POST } from './raw-requests.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

describe('bytes that two servers might read differently', () => {
  const refused: [string, string, number][] = [
    ['two lengths that differ', `${POST}${LENGTH}content-length: 1\r\n\r\n${BODY}`, 400],
    ['two lengths that agree', `${POST}${LENGTH}${LENGTH}\r\n${BODY}`, 400],
    ['a list of lengths', `${POST}content-length: 1, 1\r\n\r\n{`, 400],
    ['a length with a sign', `${POST}content-length: +1\r\n\r\n{`, 400],
    ['a negative length', `${POST}content-length: -1\r\n\r\n{`, 400],
    ['a length in hex', `${POST}content-length: 0x1\r\n\r\n{`, 400],
    ['a space before the colon', `${POST}content-length : 1\r\n\r\n{`, 400],
    ['length and chunks', `${POST}${LENGTH}transfer-encoding: chunked\r\n\r\n${ONE}`, 400],
    ['chunks and length', `${POST}transfer-encoding: chunked\r\n${LENGTH}\r\n${ONE}`, 400],
    ['an unknown coding', `${POST}transfer-encoding: xchunked\r\n\r\n${ONE}`, 400],
    ['a coding before chunked', `${POST}transfer-encoding: gzip, chunked\r\n\r\n${ONE}`, 400],
    ['a coding after chunked', `${POST}transfer-encoding: chunked, identity\r\n\r\n${ONE}`, 400],
    ['chunked twice', `${POST}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n${ONE}`, 400],
    ['a control character before chunked', `${POST}transfer-encoding: \u000bchunked\r\n\r\n${ONE}`, 400],
    ['chunks in HTTP/1.0', CHUNKED.replace('HTTP/1.1', 'HTTP/1.0') + ONE, 400],
    ['a folded header', `${POST}x-a: b\r\n c\r\n${LENGTH}\r\n${BODY}`, 400],
    ['a bare LF after the request line', `${POST.replace('\r\n', '\n')}${LENGTH}\r\n${BODY}`, 400],
    ['a bare LF after a header', `${POST}x-a: b\n${LENGTH}\r\n${BODY}`, 400],
    ['a bare CR in a header', `${POST}x-a: b\rc\r\n${LENGTH}\r\n${BODY}`, 400],
    ['NUL in a value', `${POST}x-a: b\0c\r\n${LENGTH}\r\n${BODY}`, 400],
    ['NUL in a name', `${POST}x\0a: b\r\n${LENGTH}\r\n${BODY}`, 400],
    ['NUL in the target', get('/v1/models\0'), 400],
    ['a header without a colon', `${POST}nonsense\r\n${LENGTH}\r\n${BODY}`, 400],
    ['a header without a name', `${POST}: b\r\n${LENGTH}\r\n${BODY}`, 400],
    ['a space before the first header', `POST /v1/chat/completions HTTP/1.1\r\n ${HEAD}${LENGTH}\r\n${BODY}`, 400],
    ['an absolute target', get('http://evil.example/v1/models'), 400],
    ['an authority as target', get('evil.example:80'), 400],
    ['an asterisk as target', get('*'), 400],
    ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${HEAD}\r\n`, 400],
    ['a fragment in the target', get('/v1/models#x'), 400],
    ['bytes beyond ASCII in the target', get('/v1/\u00e9'), 400],
    ['CONNECT', `CONNECT evil.example:80 HTTP/1.1\r\n${HEAD}\r\n`, 400],
    ['two hosts', get('/v1/models', `host: x\r\nHost: y\r\n${AUTH}`), 400],
    ['no host', get('/v1/models', AUTH), 400],
    ['two keys', get('/v1/models', `${HEAD}Authorization: Bearer other\r\n`), 400],
    ['HTTP/0.9', get('/v1/models', HEAD, ''), 400],
    ['HTTP/1.2', get('/v1/models', HEAD, 'HTTP/1.2'), 400],
    ['HTTP/2.0 in words', get('/v1/models', HEAD, 'HTTP/2.0'), 400],
    ['a preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['an unknown method', get('/v1/models').replace('GET', 'FETCH'), 400],
    ['a method in lower case', get('/v1/models').replace('GET', 'get'), 400],
    ['headers beyond 16 KiB', `${POST}x-a: ${'a'.repeat(17_000)}\r\n${LENGTH}\r\n${BODY}`, 431],
    ['a target beyond 16 KiB', get(`/${'a'.repeat(17_000)}`), 431],
    ['an expectation nobody can meet', chat('expect: 200-ok\r\n'), 417],
  ];
  it.each(refused)('%s: refused, closed, counted once, never recorded and never sent', async (_name, bytes, status) => {
    const text = await sendRaw(harness.port, bytes);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^\r]+\r\n`));
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n');
    expect(JSON.parse(text.split('\r\n\r\n')[1] ?? '')).toMatchObject({ error: { code: 'invalid_request' } });
    expect(harness.rejections).toEqual(['none malformed_http']);
    expect(harness.metering.records).toEqual([]);
    expect(harness.engine.requests).toEqual([]);
    expect((await send(harness.port)).status).toBe(200);
  });

  it.each([
    ['a chunk size that is no number', `${CHUNKED}zz\r\n{}\r\n0\r\n\r\n`],
    ['a negative chunk size', `${CHUNKED}-1\r\n`],
    ['a chunk size in C', `${CHUNKED}0x2\r\n{}\r\n0\r\n\r\n`],
    ['a chunk size beyond 64 bits', `${CHUNKED}fffffffffffffffff\r\n`],
    ['a space after the chunk size', `${CHUNKED}2 \r\n{}\r\n0\r\n\r\n`],
    ['a bare LF after the chunk size', `${CHUNKED}2\n{}\n0\n\n`],
    ['a chunk longer than it says', `${CHUNKED}1\r\n{}\r\n0\r\n\r\n`],
    ['a chunk extension without end', `${CHUNKED}2;${'e'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`],
    ['trailers without end', `${CHUNKED}2\r\n{}\r\n0\r\n${`x-a: ${'b'.repeat(1000)}\r\n`.repeat(20)}\r\n`],
  ])(
    '%s ends the connection, and the authenticated request is one rejected record with the status it saw, never sent',
    async (_name, bytes) => {
      const text = await sendRaw(harness.port, bytes);
      expect(text).toMatch(/^HTTP\/1\.1 4(?:00|13|31) [^\r]+\r\nconnection: close\r\n/);
      await harness.metering.whenRecorded(1);
      const status = Number(text.slice(9, 12));
      expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status }]);
      expect(harness.rejections).toEqual(['none malformed_http']);
      expect(harness.engine.requests).toEqual([]);
      expect((await send(harness.port)).status).toBe(200);
    },
  );

  it('a chunk that is none in a body streamed through is a rejected record too, and the engine sees the upload break', async () => {
    const client = openRaw(harness.port, `${CHUNKED.replace('/v1/chat/completions', '/v1/audio/x')}5\r\nbytes\r\n`);
    await until(() => harness.metering.starts.length === 1);
    client.write('zz\r\n');
    expect(await client.closed).toMatch(/^HTTP\/1\.1 400 /);
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 400, upstream: 'trt-1' }]);
    expect(harness.engine.requests).toEqual([]);
    await until(() => harness.gateway.upstreamStatus()[0]?.inFlight === 0);
  });

  it('rubbish behind a complete request that still waits for its engine: its client is gone', async () => {
    const asked = createGate();
    harness.engine.answerWith(() => asked.open());
    const client = openRaw(harness.port, chat());
    await asked.opened;
    client.write('RUBBISH\r\n\r\n');
    await client.closed;
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', status: 499 }]);
  });

  it.each(['GET', 'HEAD', 'DELETE', 'OPTIONS'])(
    'a chunked body with %s cannot become a request of its own on the connection to the engine',
    async (method) => {
      const inner = 'POST /v1/audio/inner HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n';
      const text = await sendRaw(
        harness.port,
        `${method} /v1/audio/outer HTTP/1.1\r\n${HEAD}connection: close\r\ntransfer-encoding: chunked\r\n\r\n${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`,
      );
      expect(text).toMatch(/^HTTP\/1\.1 400 /);
      expect(harness.engine.requests).toEqual([]);
      expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 400 }]);
    },
  );

  it('rubbish behind a request whose answer is under way cuts the connection instead of falling into the answer', async () => {
    const gate = createGate();
    harness.engine.answerWith(async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: one\n\n');
      await gate.opened;
      res.end('data: [DONE]\n\n');
    });
    const client = openRaw(harness.port, chat());
    await client.until('data: one');
    client.write('RUBBISH\r\n\r\n');
    const text = await client.closed;
    gate.open();
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', status: 200 }]);
  });
});
