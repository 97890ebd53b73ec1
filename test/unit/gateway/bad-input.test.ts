import { type AddressInfo, connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, answerStream, chatEvents, type Script } from '#test/support/fake-engine.ts';
import {
  ADS_KEY,
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  type SendOptions,
  startHarness,
} from './harness.ts';

const CANARY = 'canary-7f3a91';

/** Sends raw bytes over one connection, half-closes where asked, and returns everything that came back. */
function sendRaw(port: number, bytes: string, end = false): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => (end ? socket.end(bytes) : socket.write(bytes)));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

describe('bad input', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness();
  });
  afterEach(async () => {
    const traces = JSON.stringify([
      harness.log.lines,
      harness.metering.records,
      harness.metering.starts,
      harness.rejections,
    ]);
    expect(traces).not.toContain(CANARY);
    await harness.close();
  });

  const deep = `{"model":"llama-3.1-70b","messages":${'['.repeat(50_000)}"${CANARY}"${']'.repeat(50_000)}}`;
  const refused: [string, SendOptions, number, string][] = [
    ['malformed JSON', { body: `{"model": "${CANARY}"` }, 400, 'invalid_json'],
    ['binary rubbish', { body: Buffer.from([0, 255, 254, 1, 2, 128]) }, 400, 'invalid_json'],
    ['an empty body', { body: '' }, 400, 'invalid_json'],
    ['JSON that is no object', { body: `["${CANARY}"]` }, 400, 'invalid_request'],
    ['a model that is no text', { body: chatBody({ model: 7 }) }, 400, 'invalid_request'],
    ['an unknown model', { body: chatBody({ model: 'nobody' }) }, 404, 'model_not_found'],
    ['a model of others', { body: chatBody(), key: ADS_KEY }, 403, 'model_not_allowed'],
    ['a body over the limit', { body: `"${'x'.repeat(300_000)}"` }, 413, 'request_too_large'],
    ['a body that is not what it says', { headers: { 'content-encoding': 'gzip' } }, 400, 'invalid_request'],
    ['an unknown route', { path: '/v1/nothing' }, 404, 'route_not_found'],
    ['a route of the engine alone', { path: '/v1/models/llama/load' }, 404, 'route_not_found'],
    ['a control route', { path: '/update_weights' }, 404, 'route_not_found'],
    ['a route of Triton where no Triton is', { path: '/v2/models/m/generate' }, 404, 'route_not_found'],
    ['a method that does not belong', { method: 'PUT' }, 404, 'route_not_found'],
    ['bad tags', { headers: { 'x-inferometer-tags': 'NO=1' } }, 400, 'invalid_tags'],
    ['too many tags', { headers: { 'x-inferometer-tags': 'a=1,b=2,c=3,d=4,e=5,f=6' } }, 400, 'invalid_tags'],
    [
      'an unknown deployment header',
      { body: { x: 1 }, headers: { 'x-inferometer-deployment': 'no' } },
      404,
      'model_not_found',
    ],
  ];
  it.each(refused)(
    '%s is refused in its protocol, recorded once and never sent',
    async (_name, request, status, code) => {
      const answer = await send(harness.port, request);
      expect(answer.status).toBe(status);
      const { error } = JSON.parse(answer.text) as { error: string | { code: string; message: string } };
      if (typeof error === 'string') {
        expect(request.path).toMatch(/^\/v2/);
        expect(error).toBe('This route does not exist here.');
      } else expect(error.code).toBe(code);
      expect(answer.headers['x-inferometer-request-id']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
      expect(harness.metering.records).toMatchObject([
        { outcome: 'rejected', status, lastAttempt: true, upstream: null },
      ]);
      expect(harness.engine.requests).toEqual([]);
      expect(harness.rejections).toEqual([`${request.key === ADS_KEY ? 'ads' : 'search'} ${code}`]);
    },
  );

  it.each([
    ['a wrong key', { key: 'sk-wrong-0123456789' }],
    ['no key', { key: null }],
    ['another scheme', { key: null, headers: { authorization: 'Basic abc' } }],
    ['a key in the query', { key: null, path: '/v1/chat/completions?api_key=sk-search-0123456789' }],
    ['a wrong key on an unknown route', { key: 'sk-wrong-0123456789', path: '/nowhere' }],
  ] as [string, SendOptions][])('%s is a 401 that is counted and not recorded', async (_name, request) => {
    const answer = await send(harness.port, request);
    expect(answer.status).toBe(401);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'invalid_api_key', type: 'authentication_error' } });
    expect(harness.metering.records).toEqual([]);
    expect(harness.rejections).toEqual(['none invalid_api_key']);
    expect(harness.engine.requests).toEqual([]);
  });

  it("a refusal on Anthropic's route speaks Anthropic's protocol", async () => {
    const answer = await send(harness.port, { path: '/v1/messages', body: chatBody({ model: 'nobody' }) });
    expect(JSON.parse(answer.text)).toMatchObject({ type: 'error', error: { type: 'not_found_error' } });
  });

  it.each([
    ['deeply nested JSON', deep],
    [
      'two stream_options',
      `{"model":"llama-3.1-70b","stream_options":{},"stream_options":{"include_usage":false},"stream":true,"x":"${CANARY}"}`,
    ],
  ])('%s passes, and its record is one', async (_name, body) => {
    harness.engine.answerWith(answerStream(chatEvents([CANARY], { usage: true })));
    const answer = await send(harness.port, { body });
    expect(answer.status).toBe(200);
    expect(() => JSON.parse(harness.engine.requests[0]?.body.toString() ?? '')).not.toThrow();
    expect(harness.metering.records).toHaveLength(1);
  });

  const usage = { prompt_tokens: 2, completion_tokens: 1 };
  const answers: [string, Script, object][] = [
    [
      'rubbish with status 200',
      (res) => void res.end(Buffer.from([1, 2, 3, 255])),
      { outcome: 'completed', tokenSource: 'estimated' },
    ],
    [
      'an error with status 200',
      answerJson({ error: { message: CANARY } }),
      { outcome: 'upstream_error', status: 200 },
    ],
    [
      'a flat error',
      answerJson({ object: 'error', message: CANARY }, 400),
      { outcome: 'upstream_error', status: 400, tokenSource: 'unknown' },
    ],
    ['null', answerJson(null), { outcome: 'completed', tokenSource: 'estimated' }],
    [
      'a validation error',
      answerJson({ detail: [{ loc: ['body'] }] }, 422),
      { outcome: 'upstream_error', status: 422 },
    ],
    [
      'an answer without usage',
      answerJson({ choices: [{ message: { content: CANARY } }] }),
      { tokens: { output: 4 }, tokenSource: 'estimated' },
    ],
    [
      'an error event with status 200',
      answerStream([`data: {"error":{"message":"${CANARY}"}}\n\n`, 'data: [DONE]\n\n']),
      { outcome: 'upstream_error' },
    ],
    [
      'a stream without [DONE]',
      answerStream(chatEvents(['a', CANARY], { usage: false }).slice(0, -1)),
      { outcome: 'completed', tokenSource: 'counted', tokens: { output: 2 } },
    ],
    [
      'rubbish in a stream',
      answerStream(['\u0000\u0001data:::\n\n', 'data: {"usage":{]}\n\n', 'data: [DONE]\n\n']),
      { outcome: 'completed' },
    ],
    [
      'usage in the last content chunk',
      answerStream([
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'x' }, finish_reason: 'stop' }], usage })}\n\n`,
        'data: [DONE]\n\n',
      ]),
      { tokens: { input: 2, output: 1 }, tokenSource: 'reported' },
    ],
  ];
  it.each(answers)(
    'an engine that answers %s is passed through faithfully, with one record',
    async (_name, script, record) => {
      const direct: Buffer[] = [];
      harness.engine.answerWith((res, request) => {
        // A refusal is asked again without what the gateway added: the last answer is the client's.
        direct.length = 0;
        const write = res.write.bind(res);
        const end = res.end.bind(res);
        res.write = ((chunk: Buffer | string, done?: () => void) => {
          direct.push(Buffer.from(chunk));
          return write(chunk, done);
        }) as typeof res.write;
        res.end = ((chunk?: Buffer | string) => {
          if (chunk !== undefined) direct.push(Buffer.from(chunk));
          return end(chunk);
        }) as typeof res.end;
        return script(res, request);
      });
      const answer = await send(harness.port, { body: chatBody({ stream: true, user: 'u-1' }) });
      expect(answer.complete).toBe(true);
      expect(answer.body).toEqual(Buffer.concat(direct));
      expect(harness.metering.records).toHaveLength(1);
      expect(harness.metering.records[0]).toMatchObject({ user: 'u-1', ...record });
    },
  );

  it.each([
    ['no HTTP at all', 'garbage garbage\r\n\r\n', 502, 'upstream_error'],
    ['nothing', '', 502, 'upstream_error'],
    ['a reason phrase beyond ASCII', 'HTTP/1.1 200 \u2603\r\ncontent-length: 2\r\n\r\n{}', 200, 'completed'],
    ['a header beyond ASCII', 'HTTP/1.1 200 OK\r\nx-a: \u2603\r\ncontent-length: 2\r\n\r\n{}', 200, 'completed'],
    ['an impossible status', 'HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\n{}', 502, 'upstream_error'],
    ['a body shorter than promised', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}', 200, 'upstream_error'],
    ['a broken chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n', 200, 'upstream_error'],
    ['half the headers', 'HTTP/1.1 200 OK\r\ncontent-le', 502, 'upstream_error'],
  ])('an engine that speaks %s harms nobody and is one record', async (_name, bytes, status, outcome) => {
    const engine = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(bytes));
    });
    await new Promise<void>((resolve) => {
      engine.listen(0, '127.0.0.1', resolve);
    });
    const { port } = engine.address() as AddressInfo;
    const rude = createUpstreamConfig(`http://127.0.0.1:${port}`);
    harness.gateway.reload(createConfig([createDeploymentConfig([rude])]));
    const answer = await send(harness.port).catch(() => ({ status: 200 }));
    expect(answer.status).toBe(status);
    expect(harness.metering.records).toMatchObject([{ outcome, status }]);
    harness.gateway.reload(createConfig([createDeploymentConfig([createUpstreamConfig(harness.engine.url)])]));
    expect((await send(harness.port)).status).toBe(200);
    await new Promise((resolve) => engine.close(resolve));
  });

  it('a content-length that promises more than comes is one aborted record and no leak', async () => {
    const text = await sendRaw(
      harness.port,
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-search-0123456789\r\ncontent-length: 100\r\n\r\n{"a":`,
      true,
    );
    expect(text).not.toContain('200');
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ status: 499, outcome: 'client_aborted' }]);
    expect(harness.engine.requests).toEqual([]);
  });

  it('bytes that are no HTTP get a 400, are counted and not recorded', async () => {
    const text = await sendRaw(harness.port, 'HELLO THERE\r\n\r\n');
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(harness.rejections).toEqual(['none malformed_http']);
    expect(harness.metering.records).toEqual([]);
  });

  it('a body that trickles is cut with 408 once the grace is over', async () => {
    const socket = connect(harness.port, '127.0.0.1');
    const received = new Promise<string>((resolve) => {
      socket.once('data', (chunk) => resolve(chunk.toString()));
    });
    socket.write(
      'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-search-0123456789\r\ncontent-length: 9000\r\n\r\n{',
    );
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(harness.metering.records).toEqual([]);
    harness.clock.advance(31_000);
    expect(await received).toMatch(/^HTTP\/1\.1 408 /);
    expect(harness.metering.records).toMatchObject([{ status: 408, outcome: 'rejected' }]);
    socket.destroy();
  });

  it('a chunked body that grows over the limit is refused although it announced nothing', async () => {
    const piece = 'x'.repeat(64 * 1024);
    const chunk = `${piece.length.toString(16)}\r\n${piece}\r\n`;
    const head =
      'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-search-0123456789\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n';
    const text = await sendRaw(harness.port, `${head}${chunk.repeat(5)}0\r\n\r\n`);
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(harness.metering.records).toMatchObject([{ status: 413, outcome: 'rejected' }]);
  });
});
