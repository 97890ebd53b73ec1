import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, answerStream } from '#test/support/fake-engine.ts';
import { sendRaw } from '#test/support/raw-http.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';
import { BODY, HEAD, LENGTH } from './raw-requests.ts';

const startWithTeamHeader = (trustedProxies: string[]): Promise<Harness> =>
  startHarness((url) =>
    createConfig([createDeploymentConfig([createUpstreamConfig(url)])], {
      tenancy: { authentication: ['header'], header: { name: 'x-team', trustedProxies } },
    }),
  );

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

describe('HEAD, OPTIONS and other origins', () => {
  const cors = { origins: ['https://app.example'], headers: ['*'], maxAgeMs: 60_000 };
  const allow = (origins: string[]) =>
    harness.gateway.reload(
      createConfig([createDeploymentConfig([createUpstreamConfig(harness.engine.url)])], {
        server: { cors: { ...cors, origins } },
      }),
    );
  const preflight = { origin: 'https://app.example', 'access-control-request-method': 'POST' };
  const options = (headers: Record<string, string>) =>
    send(harness.port, { method: 'OPTIONS', key: null, body: '', headers });

  it('HEAD is answered like GET, without a body', async () => {
    const whole = await send(harness.port, { method: 'GET', path: '/v1/models' });
    const text = await sendRaw(harness.port, `HEAD /v1/models HTTP/1.1\r\n${HEAD}connection: close\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 200 /);
    expect(text).toContain(`content-length: ${whole.body.length}\r\n`);
    expect(text.endsWith('\r\n\r\n')).toBe(true);
  });

  it("HEAD of a forwarded path passes the engine's length, and ends", async () => {
    harness.engine.answerWith((res) => void res.writeHead(200, { 'content-length': 1234 }).end());
    const text = await sendRaw(harness.port, `HEAD /v1/audio/x HTTP/1.1\r\n${HEAD}connection: close\r\n\r\n`);
    expect(text).toContain('content-length: 1234\r\n');
    expect(text.endsWith('\r\n\r\n')).toBe(true);
    expect(harness.engine.requests).toMatchObject([{ method: 'HEAD' }]);
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', status: 200 }]);
  });

  it('without cors a preflight is a request without a key, and no answer is marked', async () => {
    expect((await options(preflight)).status).toBe(401);
    const answer = await send(harness.port, { headers: { origin: 'https://app.example' } });
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  it('a preflight of an allowed origin is answered without a key, leaves no record and asks no engine', async () => {
    allow(cors.origins);
    const answer = await options({ ...preflight, 'access-control-request-headers': 'authorization,x-stainless-os' });
    expect(answer.status).toBe(204);
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example',
      'access-control-allow-headers': 'authorization,x-stainless-os',
      'access-control-max-age': '60',
      vary: 'Origin',
    });
    expect(answer.headers['access-control-allow-methods']).toContain('POST');
    expect(answer.headers['access-control-allow-credentials']).toBeUndefined();
    expect([harness.metering.records, harness.engine.requests, harness.rejections]).toEqual([[], [], []]);
  });

  it.each([
    ['another origin', { ...preflight, origin: 'https://evil.example' }],
    ['an origin that only begins alike', { ...preflight, origin: 'https://app.example.evil' }],
    ['no method asked for', { origin: 'https://app.example' }],
  ])('a preflight with %s is a request without a key', async (_name, headers) => {
    allow(cors.origins);
    const answer = await options(headers);
    expect(answer.status).toBe(401);
    if (headers.origin !== 'https://app.example') expect(answer.headers['access-control-allow-origin']).toBeUndefined();
  });

  it.each([
    ['off', []],
    ['on for other pages', cors.origins],
  ])(
    'an engine that lets every page read its answers lets none through a gateway whose cors is %s',
    async (_how, origins) => {
      if (origins.length > 0) allow(origins);
      const lax = {
        'access-control-allow-origin': 'https://evil.example',
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': '*',
      };
      harness.engine.answerWith((res) => void res.writeHead(200, lax).end('{}'));
      for (const path of ['/v1/chat/completions', '/v1/audio/speech']) {
        const answer = await send(harness.port, { path, headers: { origin: 'https://evil.example' } });
        expect(answer.status).toBe(200);
        expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      }
    },
  );

  it('answers and refusals can be read by a page of an allowed origin, and caches learn that it matters', async () => {
    allow(cors.origins);
    const origin = 'https://app.example';
    harness.engine.answerWith(
      (res) => void res.writeHead(200, { vary: 'Accept', 'access-control-allow-origin': 'no' }).end('{}'),
    );
    const good = await send(harness.port, { headers: { origin } });
    expect(good.headers).toMatchObject({ 'access-control-allow-origin': origin, vary: 'Accept, Origin' });
    const bad = await send(harness.port, { headers: { origin }, key: 'wrong-key-0123456789' });
    expect([bad.status, bad.headers['access-control-allow-origin']]).toEqual([401, origin]);
    allow(['*']);
    const any = await send(harness.port, { headers: { origin: 'https://else.example' } });
    expect(any.headers['access-control-allow-origin']).toBe('*');
  });
});

describe('headers, lengths and trailers', () => {
  it('a length stays, a chunked answer has none, and nothing is compressed', async () => {
    const whole = await send(harness.port, { headers: { 'accept-encoding': 'gzip, br' } });
    expect(whole.headers['content-length']).toBe(String(whole.body.length));
    expect(whole.headers['transfer-encoding']).toBeUndefined();
    expect(whole.headers['content-encoding']).toBeUndefined();
    expect(harness.engine.requests[0]?.headers['accept-encoding']).toBe('identity');
    const events = `:${'x'.repeat(100_000)}\n\ndata: [DONE]\n\n`;
    harness.engine.answerWith(answerStream([events]));
    const stream = await send(harness.port, { headers: { 'accept-encoding': 'gzip, br' } });
    expect(stream.headers['content-length']).toBeUndefined();
    expect(stream.headers['transfer-encoding']).toBe('chunked');
    expect(stream.headers['content-encoding']).toBeUndefined();
    expect(stream.body.length).toBe(events.length);
  });

  it.each(['/v1/chat/completions', '/v1/audio/speech'])(
    'on %s trailers of the engine reach the client, but for those that frame or belong to us',
    async (path) => {
      harness.engine.answerWith((res) => {
        res.writeHead(200, { 'content-type': 'text/plain', trailer: 'x-checksum' });
        res.write('hello');
        res.addTrailers({ 'x-checksum': 'abc', 'x-inferometer-cost': '0', 'set-cookie': 'a=b' });
        res.end();
      });
      const text = await sendRaw(
        harness.port,
        `POST ${path} HTTP/1.1\r\n${HEAD}connection: close\r\n${LENGTH}\r\n${BODY}`,
      );
      expect(text.endsWith('0\r\nx-checksum: abc\r\n\r\n')).toBe(true);
    },
  );

  it('what a client says of proxies reaches no engine', async () => {
    const told = {
      'x-forwarded-for': '10.0.0.1',
      'x-forwarded-host': 'h',
      'x-forwarded-proto': 'https',
      forwarded: 'for=10.0.0.1',
      'x-real-ip': '10.0.0.1',
      via: '1.1 proxy',
    };
    for (const path of ['/v1/chat/completions', '/v1/audio/speech']) await send(harness.port, { path, headers: told });
    for (const { headers } of harness.engine.requests) {
      expect(Object.keys(headers).filter((name) => name in told)).toEqual([]);
    }
    expect(harness.engine.requests).toHaveLength(2);
  });

  it('the team header counts by the address of the socket, whatever the forwarding headers claim', async () => {
    const far = await startWithTeamHeader(['10.0.0.0/8']);
    const claims = {
      'x-team': 'search',
      'x-forwarded-for': '10.0.0.1',
      'x-real-ip': '10.0.0.1',
      forwarded: 'for=10.0.0.1',
    };
    const refused = await send(far.port, { key: null, headers: claims });
    expect([refused.status, JSON.parse(refused.text).error.code]).toEqual([401, 'unknown_team']);
    await far.close();
    const near = await startWithTeamHeader(['127.0.0.0/8']);
    expect((await send(near.port, { key: null, headers: { 'x-team': 'search' } })).status).toBe(200);
    expect(near.engine.requests[0]?.headers['x-team']).toBeUndefined();
    await near.close();
  });

  it("an engine cannot speak in the gateway's name", async () => {
    const engine = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () =>
        socket.end(
          'HTTP/1.1 200 OK\r\nx-inferometer-request-id: forged\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=1\r\nproxy-authenticate: Basic\r\ncontent-length: 2\r\n\r\n{}',
        ),
      );
    });
    await new Promise<void>((resolve) => {
      engine.listen(0, '127.0.0.1', resolve);
    });
    const { port } = engine.address() as AddressInfo;
    harness.gateway.reload(createConfig([createDeploymentConfig([createUpstreamConfig(`http://127.0.0.1:${port}`)])]));
    const answer = await send(harness.port);
    expect(answer.text).toBe('{}');
    expect(answer.headers['x-inferometer-request-id']).not.toBe('forged');
    for (const name of ['x-hop', 'proxy-authenticate']) expect(answer.headers[name]).toBeUndefined();
    await new Promise((resolve) => engine.close(resolve));
  });

  it('an answer that was meant as JSON stays JSON for a client that asked for a stream', async () => {
    harness.engine.answerWith(answerJson({ ok: true }));
    expect((await send(harness.port, { body: chatBody({ stream: true }) })).text).toBe('{"ok":true}');
  });
});
