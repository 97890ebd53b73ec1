import { createServer } from 'node:https';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { UpstreamTlsConfig } from '#config/config.ts';
import { ENGINE_CERT as CERT, ENGINE_KEY as KEY } from '#test/support/engine-certificate.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  SEARCH_KEY,
  send,
  startHarness,
} from './harness.ts';

describe('TLS', () => {
  let certificates: (string | undefined)[];
  let serverNames: string[];
  const engine = createServer({ key: KEY, cert: CERT, requestCert: true, rejectUnauthorized: false }, (req, res) => {
    const socket = req.socket as TLSSocket & { servername: string };
    if (req.method === 'POST') {
      certificates.push(socket.getPeerX509Certificate()?.subject);
      serverNames.push(socket.servername);
    }
    req.resume();
    res.end('{}');
  });
  let harness: Harness | undefined;
  beforeEach(async () => {
    certificates = [];
    serverNames = [];
    await new Promise<void>((resolve) => {
      engine.listen(0, '127.0.0.1', resolve);
    });
  });
  afterEach(async () => {
    await harness?.close();
    engine.closeAllConnections();
    await new Promise((resolve) => engine.close(resolve));
  });

  const start = async (tls: UpstreamTlsConfig, server = {}): Promise<Harness> => {
    const url = `https://127.0.0.1:${(engine.address() as AddressInfo).port}`;
    harness = await startHarness(() =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url, { tls })])], { server }),
    );
    return harness;
  };

  it('an engine is reached by its own authority, name and client certificate, relayed and forwarded alike', async () => {
    const { port } = await start({ ca: CERT, cert: CERT, key: KEY, serverName: 'engine.test' });
    expect((await send(port)).status).toBe(200);
    expect((await send(port, { path: '/v1/moderations' })).status).toBe(200);
    expect(certificates).toEqual(['CN=engine.test', 'CN=engine.test']);
    expect(serverNames).toEqual(['engine.test', 'engine.test']);
  });

  it('an engine whose certificate nobody vouches for gets nothing', async () => {
    const { port, metering } = await start({ ca: '', cert: '', key: '', serverName: '' });
    expect((await send(port)).status).toBe(502);
    expect((await send(port, { path: '/v1/moderations' })).status).toBe(502);
    expect(certificates).toEqual([]);
    expect(metering.records.map(({ outcome }) => outcome)).toEqual(['upstream_error', 'upstream_error']);
  });

  it('with server.tls the gateway itself speaks TLS', async () => {
    const { port } = await start(
      { ca: CERT, cert: '', key: '', serverName: 'engine.test' },
      { tls: { cert: CERT, key: KEY } },
    );
    const status = await new Promise((resolve, reject) => {
      const req = request(
        {
          port,
          path: '/v1/chat/completions',
          method: 'POST',
          agent: false,
          ca: CERT,
          servername: 'engine.test',
          headers: { authorization: `Bearer ${SEARCH_KEY}` },
        },
        (res) => {
          res.resume();
          resolve(res.statusCode);
        },
      );
      req.on('error', reject);
      req.end(JSON.stringify(chatBody()));
    });
    expect(status).toBe(200);
  });
});
