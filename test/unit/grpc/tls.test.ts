import { credentials, Metadata, ServerCredentials, status as Status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import type { UpstreamTlsConfig } from '#config/config.ts';
import { createGrpcServer } from '#grpc/grpc-server.ts';
import { ENGINE_CERT, ENGINE_KEY } from '#test/support/engine-certificate.ts';
import { connectKserve, InferenceService, startFakeTriton } from '#test/support/kserve-grpc.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  SEARCH_KEY,
  startHarness,
} from '#test/unit/gateway/harness.ts';
import { inferRequest } from './harness.ts';

const PAIR = { cert_chain: Buffer.from(ENGINE_CERT), private_key: Buffer.from(ENGINE_KEY) };
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

/** An engine that wants a client certificate, behind a gateway with the given TLS settings; port of the gateway's gRPC. */
async function start(tls: UpstreamTlsConfig, isServerEncrypted = false): Promise<number> {
  const security = ServerCredentials.createSsl(Buffer.from(ENGINE_CERT), [PAIR], true);
  const engine = await startFakeTriton({ infer: (_call, respond) => respond(null, { model_name: 'ok' }) }, 0, security);
  closing.push(() => engine.close());
  const harness = await startHarness((url) =>
    createConfig(
      [
        createDeploymentConfig([createUpstreamConfig(url, { tls, grpcUrl: `grpcs://127.0.0.1:${engine.port}` })], {
          engine: 'triton',
          health: { path: '/health', intervalMs: 60_000, timeoutMs: 2000, unhealthyAfter: 3 },
        }),
      ],
      isServerEncrypted ? { server: { tls: { cert: ENGINE_CERT, key: ENGINE_KEY } } } : {},
    ),
  );
  closing.push(() => harness.close());
  const listener = createGrpcServer(harness.gateway.plane, { host: '127.0.0.1', port: 0, maxMessageBytes: 1_000_000 });
  closing.push(() => listener.close());
  return (await listener.listen()).port;
}

async function callCode(port: number): Promise<number | null> {
  const client = connectKserve(port, SEARCH_KEY);
  closing.push(() => client.close());
  return (await client.call('ModelInfer', inferRequest())).error?.code ?? null;
}

test('an engine is reached by its own authority, name and client certificate', async () => {
  const port = await start({ ca: ENGINE_CERT, cert: ENGINE_CERT, key: ENGINE_KEY, serverName: 'engine.test' });
  expect(await callCode(port)).toBeNull();
});

test.each([
  ['an authority nobody trusts', { ca: '', cert: ENGINE_CERT, key: ENGINE_KEY, serverName: 'engine.test' }],
  [
    'a name that is not in its certificate',
    { ca: ENGINE_CERT, cert: ENGINE_CERT, key: ENGINE_KEY, serverName: 'x.test' },
  ],
  ['no client certificate', { ca: ENGINE_CERT, cert: '', key: '', serverName: 'engine.test' }],
])('%s: nothing is sent', async (_what, tls) => {
  expect(await callCode(await start(tls))).toBe(Status.UNAVAILABLE);
});

test("the gateway's own gRPC is encrypted with the certificate of its server section", async () => {
  const tls = { ca: ENGINE_CERT, cert: ENGINE_CERT, key: ENGINE_KEY, serverName: 'engine.test' };
  const port = await start(tls, true);
  const client = new InferenceService(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(ENGINE_CERT)), {
    'grpc.ssl_target_name_override': 'engine.test',
  });
  closing.push(() => client.close());
  const metadata = new Metadata();
  metadata.set('x-api-key', SEARCH_KEY);
  const answer = await new Promise((resolve) => {
    client['ServerLive']?.({}, metadata, (error: unknown, message: unknown) => resolve(error ?? message));
  });
  expect(answer).toEqual({ live: true });
});
