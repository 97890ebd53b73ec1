import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, createGate } from '#test/support/fake-engine.ts';
import { readForwardablePath } from '#gateway/forwardable-path.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

describe('what an engine gets and a client sees', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness((url) =>
      createConfig([
        createDeploymentConfig([
          createUpstreamConfig(`${url}/base`, { apiKey: 'engine-secret', headers: { 'x-group': 'inference' } }),
        ]),
        createDeploymentConfig([createUpstreamConfig(url, { name: 'gem-1' })], {
          name: 'gemma',
          models: ['gemma-27b'],
          passThrough: ['/v1/audio/*'],
        }),
      ]),
    );
  });
  afterEach(() => harness.close());

  it('credentials, hop-by-hop, routing and own headers stay here; ids and the engine key are added', async () => {
    const stripped = {
      'x-api-key': 'x',
      cookie: 'a=b',
      'x-inferometer-tags': 'k=v%20w',
      'x-inferometer-other': '1',
      'x-team': 'search',
      te: 'trailers',
      'x-dynamo-worker': '3',
      'x-dp-rank': '1',
      'x-correlation-id': 'c',
      'x-hop': '1',
      connection: 'keep-alive, x-hop',
      'proxy-authorization': 'p',
    };
    const answer = await send(harness.port, {
      headers: {
        ...stripped,
        'accept-encoding': 'gzip',
        'x-request-id': 'client-1',
        traceparent: '00-1',
        'x-group': 'mine',
      },
    });
    const seen = harness.engine.requests[0];
    const { host, connection: _connection, ...headers } = seen?.headers ?? {};
    expect(headers).toEqual({
      'content-type': 'application/json',
      'content-length': String(seen?.body.length),
      'accept-encoding': 'identity',
      'x-request-id': answer.headers['x-inferometer-request-id'],
      authorization: 'Bearer engine-secret',
      'x-group': 'inference',
      traceparent: '00-1',
    });
    expect(host).toBe(`127.0.0.1:${harness.engine.port}`);
    expect(seen?.path).toBe('/base/v1/chat/completions');
    expect(harness.metering.records).toMatchObject([{ tags: { k: 'v w' } }]);
  });

  it("an engine's headers pass, but its connection's and ours do not", async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, {
        'x-queue-time': '3',
        'x-request-id': 'engine',
        'x-inferometer-upstream': 'lie',
        'keep-alive': 'timeout=1',
        'server-timing': 'engine;dur=1',
        'set-cookie': ['a=1', 'b=2'],
      });
      res.end('{}');
    });
    const { headers } = await send(harness.port, { headers: { 'x-request-id': 'bad id!' } });
    expect(headers).toMatchObject({
      'x-queue-time': '3',
      'x-inferometer-upstream': 'trt-1',
      'set-cookie': ['a=1', 'b=2'],
    });
    expect(headers['x-request-id']).toBe(headers['x-inferometer-request-id']);
    expect(headers['keep-alive']).not.toBe('timeout=1');
    expect(headers['server-timing']).toMatch(/^engine;dur=1, gateway;dur=/);
  });

  it('models are those the caller may use, owned by their deployment, with slashes raw or encoded', async () => {
    const list = await send(harness.port, { method: 'GET', path: '/v1/models' });
    expect(JSON.parse(list.text)).toMatchObject({
      object: 'list',
      data: [
        { id: 'llama-3.1-70b', object: 'model', owned_by: 'llama-70b' },
        { id: 'meta-llama/Llama-3.1-70B-Instruct', owned_by: 'llama-70b' },
        { id: 'gemma-27b', owned_by: 'gemma' },
      ],
    });
    for (const id of ['meta-llama/Llama-3.1-70B-Instruct', 'meta-llama%2FLlama-3.1-70B-Instruct']) {
      const one = await send(harness.port, { method: 'GET', path: `/v1/models/${id}` });
      expect(JSON.parse(one.text)).toMatchObject({ id: 'meta-llama/Llama-3.1-70B-Instruct' });
    }
    const ads = await send(harness.port, { method: 'GET', path: '/v1/models', key: 'sk-ads-0123456789abc' });
    expect(JSON.parse(ads.text).data.map(({ id }: { id: string }) => id)).toEqual(['gemma-27b']);
    expect((await send(harness.port, { method: 'GET', path: '/v1/models/none' })).status).toBe(404);
  });

  it('a request without a model goes to the named deployment, or the only one allowed, else is asked for one', async () => {
    const body = { input: 'x' };
    const path = '/v1/embeddings';
    const asked = await send(harness.port, { path, body });
    expect([asked.status, JSON.parse(asked.text).error.code]).toEqual([400, 'model_required']);
    await send(harness.port, { path, body, headers: { 'x-inferometer-deployment': 'gemma' } });
    await send(harness.port, { path, body, key: 'sk-ads-0123456789abc' });
    expect(harness.engine.requests.map(({ body: sent }) => sent.toString())).toEqual(
      Array.from({ length: 2 }, () => '{"model":"served","input":"x"}'),
    );
    expect(harness.metering.starts).toMatchObject([
      { prefillOnly: true, deployment: 'gemma' },
      { deployment: 'gemma' },
    ]);
  });

  it('list prompts, n and max_tokens are told to the meter', async () => {
    await send(harness.port, {
      path: '/v1/completions',
      body: { model: 'gemma-27b', prompt: ['a', 'b'], n: 3, max_tokens: 9 },
    });
    await send(harness.port, { path: '/v1/completions', body: { model: 'gemma-27b', prompt: [1, 2], best_of: 2 } });
    expect(harness.metering.starts).toMatchObject([
      { sequences: 6, maxTokens: 9 },
      { sequences: 2, maxTokens: null },
    ]);
  });

  it('a path of passThrough is forwarded unread and metered by duration, to the deployment that is named', async () => {
    harness.engine.answerWith((res, { body }) => void res.writeHead(201, { 'content-type': 'audio/wav' }).end(body));
    const bytes = Buffer.from([0, 1, 2, 250, 251, 252]);
    const answer = await send(harness.port, {
      path: '/v1/audio/speech?model=gemma-27b&x=%20',
      body: bytes,
      headers: { 'content-type': 'application/octet-stream', 'content-length': '6', cookie: 'c=1' },
    });
    expect([answer.status, answer.body]).toEqual([201, bytes]);
    const [seen] = harness.engine.requests;
    expect(seen?.path).toBe('/v1/audio/speech?model=gemma-27b&x=%20');
    expect(seen?.headers).toMatchObject({
      'accept-encoding': 'identity',
      'x-request-id': answer.headers['x-inferometer-request-id'],
    });
    expect([seen?.headers['authorization'], seen?.headers.cookie]).toEqual([undefined, undefined]);
    expect(harness.metering.starts).toMatchObject([{ work: 'duration', deployment: 'gemma', pool: 'llama-70b/gem-1' }]);
    expect(harness.metering.records).toMatchObject([
      { outcome: 'completed', status: 201, tokenSource: 'unknown', route: '/v1/audio/*' },
    ]);
  });

  it('a path that only one deployment forwards needs no name; several ask for one', async () => {
    harness.engine.answerWith(answerJson({ flagged: false }));
    const moderated = await send(harness.port, { path: '/v1/moderations', body: { input: 'x' } });
    expect([moderated.status, moderated.headers['x-inferometer-deployment']]).toEqual([200, 'llama-70b']);
    expect(harness.engine.requests[0]?.headers.authorization).toBe('Bearer engine-secret');
    expect(harness.engine.requests[0]?.path).toBe('/base/v1/moderations');
    const speech = await send(harness.port, { path: '/v1/audio/speech', body: {} });
    expect(JSON.parse(speech.text)).toMatchObject({ error: { code: 'model_required' } });
    const foreign = await send(harness.port, { path: '/v1/moderations', body: {}, key: 'sk-ads-0123456789abc' });
    expect(foreign.status).toBe(403);
    expect(harness.metering.records.map(({ outcome }) => outcome).sort()).toEqual([
      'completed',
      'rejected',
      'rejected',
    ]);
  });

  it('where several deployments forward a path, a body that names its model is read for it and sent under the name the engine knows, else unchanged', async () => {
    const json = '{ "model":"gemma-27b", "input":"x" }';
    const form =
      '--b1\r\ncontent-disposition: form-data; name="file"; filename="model"\r\n\r\nname="model"\r\n--b1\r\nContent-Disposition: form-data; name="model"\r\n\r\nllama-3.1-70b\r\n--b1--\r\n';
    harness.engine.answerWith(
      (res) => void res.writeHead(200, { 'content-type': 'application/json' }).end('{"usage":{"prompt_tokens":1}}'),
    );
    const first = await send(harness.port, { path: '/v1/audio/speech?x=1', body: json });
    const second = await send(harness.port, {
      path: '/v1/audio/transcriptions',
      body: form,
      headers: { 'content-type': 'multipart/form-data; boundary=b1' },
    });
    expect([first.headers['x-inferometer-upstream'], second.headers['x-inferometer-upstream']]).toEqual([
      'gem-1',
      'trt-1',
    ]);
    expect(harness.engine.requests.map(({ path, body }) => [path, body.toString()])).toEqual([
      ['/v1/audio/speech?x=1', '{ "model":"served", "input":"x" }'],
      ['/base/v1/audio/transcriptions', form],
    ]);
    expect(harness.metering.starts).toMatchObject([{ work: 'duration' }, { work: 'duration' }]);
    expect(harness.metering.records).toMatchObject([
      { requestedModel: 'gemma-27b', tokenSource: 'unknown', route: '/v1/audio/*', outcome: 'completed' },
      { requestedModel: 'llama-3.1-70b', tokenSource: 'unknown' },
    ]);
    const none = await send(harness.port, { path: '/v1/audio/speech', body: '{"model":"nobody"}' });
    expect(none.status).toBe(404);
  });

  it('a forwarded request whose engine is away, breaks off or is left by its client has one record each', async () => {
    const path = '/v1/moderations';
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-length': 10 });
      res.write('half', () => res.destroy());
    });
    expect((await send(harness.port, { path })).complete).toBe(false);
    harness.engine.answerWith((res) => void res.destroy());
    expect((await send(harness.port, { path })).status).toBe(502);
    const asked = createGate();
    harness.engine.answerWith(() => asked.open());
    const controller = new AbortController();
    const left = fetch(`${harness.url}${path}`, {
      method: 'POST',
      body: '{}',
      headers: { authorization: 'Bearer sk-search-0123456789' },
      signal: controller.signal,
    }).catch(() => 'left');
    await asked.opened;
    controller.abort();
    expect(await left).toBe('left');
    await harness.metering.whenRecorded(3);
    await harness.engine.close();
    expect((await send(harness.port, { path })).status).toBe(502);
    expect(harness.metering.ends.map(({ record }) => [record.outcome, record.status])).toEqual([
      ['upstream_error', 200],
      ['upstream_error', 502],
      ['client_aborted', 499],
    ]);
    expect(harness.metering.unsent).toMatchObject([{ outcome: 'upstream_error', status: 502, pool: null }]);
  });

  it('an engine that switches protocols unasked is told of at once, to clients of every path', async () => {
    harness.engine.answerWith((res) => {
      res.socket?.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n');
    });
    const asked = [{ path: '/v1/audio/voices', method: 'GET' }, { body: chatBody() }];
    const headers = { 'x-inferometer-deployment': 'llama-70b' };
    for (const request of asked) expect((await send(harness.port, { ...request, headers })).status).toBe(502);
    expect(harness.gateway.plane.inFlight.count).toBe(0);
  });

  it('a forwarded body over the limit is refused, announced or not', async () => {
    const body = Buffer.alloc(300 * 1024, 'x');
    const announced = await send(harness.port, { path: '/v1/moderations', body });
    const chunked = await send(harness.port, {
      path: '/v1/moderations',
      body,
      headers: { 'transfer-encoding': 'chunked' },
    });
    expect([announced.status, chunked.status]).toEqual([413, 413]);
    expect(harness.metering.records).toMatchObject([
      { status: 413, outcome: 'rejected' },
      { status: 413, outcome: 'rejected' },
    ]);
  });
});

describe('forwardable paths', () => {
  it.each([
    '/v1/audio/../chat',
    '/v1//audio',
    '/v1/audio/%2e%2e/x',
    '/v1/audio%2fspeech',
    '/v1/audio\\x',
    '/v1/audio/%00',
    '/v1/audio/%zz',
    '/v1/audio/%252e%252e',
    '/v1/audio;x=1',
    '/update_weights',
    '/v1/Load_Lora_Adapter',
    '/v1/models/m/load',
    '/release_memory',
    '/invocations',
    '/v1/audio/metrics',
  ])('%s is never forwarded, whatever the globs say', (path) => {
    expect(readForwardablePath(path)).toBeNull();
  });

  it('an ordinary path is', () => {
    expect(readForwardablePath('/v1/audio/transcriptions')).toBe('/v1/audio/transcriptions');
  });
});

describe('a glob that covers everything', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness((url) =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url)], { passThrough: ['/v1/*', '/v2/*'] })]),
    );
  });
  afterEach(() => harness.close());

  it.each([
    '/v1/chat/%63ompletions',
    '/v1/chat/completions/',
    '/%76%31/embeddings/',
    '/v2/models/served/gener%61te',
    '/v2/models/served/infer/',
  ])('lets no other spelling of metered inference past caps and meter: %s', async (path) => {
    const answer = await send(harness.port, { path });
    expect([answer.status, harness.engine.requests]).toEqual([404, []]);
    expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 404 }]);
  });

  it('forwards every method but TRACE, whose answer would show the key of the engine', async () => {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
      await send(harness.port, { method, path: '/v1/files/f-1', body: '', headers: { 'content-length': '0' } });
    }
    expect(harness.engine.requests.map(({ method }) => method)).toEqual(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
    expect(harness.metering.records.map(({ status }) => status).toSorted()).toEqual([200, 200, 200, 200, 200, 404]);
  });
});

describe('what a client names and no config knows', () => {
  it('stands in its record cut, and well-formed, like its user', async () => {
    const harness = await startHarness();
    const text = `${'x'.repeat(255)}\u{1f600}${'y'.repeat(100_000)}`;
    expect((await send(harness.port, { body: chatBody({ model: text }) })).status).toBe(404);
    await send(harness.port, { body: chatBody({ user: text }) });
    const cut = `${'x'.repeat(255)}\ufffd`;
    expect(harness.metering.records).toMatchObject([{ requestedModel: cut }, { user: cut }]);
    await harness.close();
  });
});

describe('privacy.user', () => {
  it.each([
    ['keep', 'alice'],
    ['hash', expect.stringMatching(/^sha256:[0-9a-f]{32}$/)],
    ['drop', null],
  ] as const)('%s decides what the record says of the user', async (user, expected) => {
    const harness = await startHarness((url) =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url)])], { privacy: { user } }),
    );
    await send(harness.port, { body: chatBody({ user: 'alice' }) });
    expect(harness.metering.records[0]?.user).toEqual(expected);
    await harness.close();
  });
});
