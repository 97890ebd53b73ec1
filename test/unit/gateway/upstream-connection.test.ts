import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { createServer as createHttpsServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import { ENGINE_CERT, ENGINE_KEY } from '#test/support/engine-certificate.ts';
import { chatEvents } from '#test/support/fake-engine.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness | undefined;
const servers: { close(): Promise<void> }[] = [];

afterEach(async () => {
  await harness?.close();
  harness = undefined;
  for (const server of servers.splice(0)) await server.close();
  vi.unstubAllEnvs();
});

async function start(
  upstream: (engineUrl: string) => { readonly url: string } & Partial<UpstreamConfig>,
  deployment: Partial<DeploymentConfig> = {},
  requestTimeoutMs = 600_000,
): Promise<Harness> {
  harness = await startHarness((engineUrl) => {
    const { url, ...rest } = upstream(engineUrl);
    return createConfig([createDeploymentConfig([createUpstreamConfig(url, rest)], deployment)], {
      server: { requestTimeoutMs },
    });
  });
  return harness;
}

interface FakeProxy {
  readonly url: string;
  /** Request lines and credentials, oldest first. */
  readonly seen: string[];
}

/** A forward proxy: absolute-form requests and CONNECT tunnels, every name being this machine. */
async function startProxy(): Promise<FakeProxy> {
  const seen: string[] = [];
  const note = (req: IncomingMessage): void => {
    seen.push(`${req.method} ${req.url} ${req.headers['proxy-authorization'] ?? 'nobody'}`);
  };
  const server: Server = createHttpServer((req, res) => {
    note(req);
    const target = new URL(req.url ?? '');
    const { 'proxy-authorization': _credentials, 'proxy-connection': _connection, ...headers } = req.headers;
    const onward = httpRequest(
      { host: '127.0.0.1', port: target.port, path: target.pathname, method: req.method, headers, agent: false },
      (answer) => {
        res.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(res);
      },
    );
    req.pipe(onward);
  });
  const tunnels = new Set<Socket>();
  server.on('connect', (req, socket: Socket) => {
    note(req);
    const onward = connect(Number(new URL(`http://${req.url}`).port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(onward).pipe(socket);
    });
    for (const end of [socket, onward]) {
      tunnels.add(end);
      end.on('error', () => {});
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push({
    async close() {
      for (const tunnel of tunnels) tunnel.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const portOf = (url: string): string => new URL(url).port;

describe('an upstream with an address of its own', () => {
  it('is reached there under the name of its URL, relayed and forwarded alike', async () => {
    const { port, engine, metering } = await start((url) => ({
      url: `http://engine.invalid:${portOf(url)}`,
      discovery: 'dns',
      address: '127.0.0.1',
      name: 'trt@127.0.0.1',
      pool: 'llama-70b/trt@127.0.0.1',
    }));
    expect((await send(port)).headers['x-inferometer-upstream']).toBe('trt@127.0.0.1');
    expect((await send(port, { path: '/v1/moderations' })).status).toBe(200);
    const host = `engine.invalid:${engine.port}`;
    expect(engine.requests.map(({ headers }) => headers.host)).toEqual([host, host]);
    expect(metering.starts.map(({ pool }) => pool)).toEqual(['llama-70b/trt@127.0.0.1', 'llama-70b/trt@127.0.0.1']);
  });
});

describe('a proxy', () => {
  it('is used where the upstream names one, relayed, forwarded and checked alike, with its credentials', async () => {
    const proxy = await startProxy();
    const { port, engine, gateway } = await start((url) => ({
      url: `http://engine.invalid:${portOf(url)}`,
      proxy: proxy.url.replace('http://', 'http://someone:s3cret@'),
    }));
    const answer = await send(port, { headers: { 'x-extra': 'kept' } });
    expect(answer.status).toBe(200);
    expect((await send(port, { path: '/v1/moderations' })).status).toBe(200);
    while (gateway.upstreamStatus()[0]?.healthy !== true) await new Promise((resolve) => setImmediate(resolve));
    expect(engine.requests.map(({ path, headers }) => [path, headers.host, headers['x-extra']])).toEqual([
      ['/v1/chat/completions', `engine.invalid:${engine.port}`, 'kept'],
      ['/v1/moderations', `engine.invalid:${engine.port}`, undefined],
    ]);
    const credentials = `Basic ${Buffer.from('someone:s3cret').toString('base64')}`;
    const base = `http://engine.invalid:${engine.port}`;
    expect(proxy.seen.toSorted()).toEqual([
      `GET ${base}/health ${credentials}`,
      `POST ${base}/v1/chat/completions ${credentials}`,
      `POST ${base}/v1/moderations ${credentials}`,
    ]);
  });

  it('passes streams on event by event', async () => {
    const proxy = await startProxy();
    const { port, engine, metering } = await start((url) => ({ url, proxy: proxy.url }));
    const events = chatEvents(['Hel', 'lo'], { usage: true });
    engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of events) res.write(event);
      res.end();
    });
    const answer = await send(port, { body: chatBody({ stream: true, stream_options: { include_usage: true } }) });
    expect(answer.text).toBe(events.join(''));
    expect(metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported' }]);
  });

  it('is a tunnel to an engine with TLS: it never sees the request, and the certificate is the engine’s', async () => {
    const secure = createHttpsServer({ key: ENGINE_KEY, cert: ENGINE_CERT }, (req, res) => {
      req.resume();
      res.end(`${req.headers.host} ${(req.socket as TLSSocket & { servername: string }).servername}`);
    });
    secure.listen(0, '127.0.0.1');
    await once(secure, 'listening');
    servers.push({
      async close() {
        secure.closeAllConnections();
        await new Promise((resolve) => secure.close(resolve));
      },
    });
    const proxy = await startProxy();
    const host = `engine.test:${(secure.address() as AddressInfo).port}`;
    const tls = { ca: ENGINE_CERT, cert: '', key: '', serverName: '' };
    const { port } = await start(() => ({ url: `https://${host}`, proxy: proxy.url, tls }));
    expect((await send(port)).text).toBe(`${host} engine.test`);
    expect((await send(port, { path: '/v1/moderations' })).text).toBe(`${host} engine.test`);
    expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT ${host} nobody`]));
  });

  it('that is not there is an engine that cannot be reached', async () => {
    const proxy = await startProxy();
    await servers.splice(0)[0]?.close();
    const { port } = await start((url) => ({ url, proxy: proxy.url }));
    const answer = await send(port);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([502, 'upstream_unreachable']);
  });

  it('of the environment is never used unless the upstream says so', async () => {
    const proxy = await startProxy();
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY'])
      vi.stubEnv(name, proxy.url);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    const { port } = await start((url) => ({ url }));
    expect((await send(port)).status).toBe(200);
    expect((await send(port, { path: '/v1/moderations' })).status).toBe(200);
    expect(proxy.seen).toEqual([]);
  });
});

describe('time limits', () => {
  /** Takes connections and says nothing: no TLS handshake ever ends there. */
  async function startSilence(): Promise<number> {
    const sockets: Socket[] = [];
    const server = createTcpServer((socket) => void sockets.push(socket.on('error', () => {})));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push({
      async close() {
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => server.close(resolve));
      },
    });
    return (server.address() as AddressInfo).port;
  }

  it('an engine that takes too long to connect to is a 502 without GPU time', async () => {
    const silent = await startSilence();
    const timeouts = { connectMs: 50, firstByteMs: 60_000, idleMs: 60_000 };
    const { port, metering } = await start(() => ({ url: `https://127.0.0.1:${silent}` }), { timeouts });
    const answer = await send(port);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([502, 'upstream_unreachable']);
    expect(metering.starts).toEqual([]);
    expect(metering.records).toMatchObject([{ outcome: 'upstream_error', status: 502, pool: null }]);
  });

  it('time to connect is no part of the time to the first byte', async () => {
    const timeouts = { connectMs: 60_000, firstByteMs: 1000, idleMs: 60_000 };
    const { port, engine, clock, metering } = await start((url) => ({ url }), { timeouts });
    engine.answerWith(() => clock.advance(1500));
    const answer = await send(port);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([504, 'upstream_timeout']);
    expect(metering.records).toMatchObject([{ outcome: 'timed_out', status: 504 }]);
  });

  it('a request that takes longer than the whole may is cut, however lively its stream', async () => {
    const { port, engine, clock, metering } = await start((url) => ({ url }), {}, 90_000);
    const [, event = ''] = chatEvents(['Hel', 'lo'], { usage: false });
    let ticking: NodeJS.Timeout | undefined;
    engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      ticking = setInterval(() => {
        clock.advance(20_000);
        res.write(event);
      }, 60);
    });
    const answer = await send(port, { body: chatBody({ stream: true }) });
    clearInterval(ticking);
    expect([answer.status, answer.complete]).toEqual([200, false]);
    expect(answer.text).toContain('upstream_timeout');
    expect(metering.records).toMatchObject([{ outcome: 'timed_out', status: 200, tokenSource: 'counted' }]);
    expect((metering.records[0]?.tokens.output ?? 0) >= 3).toBe(true);
  });
});
