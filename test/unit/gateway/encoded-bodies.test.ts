// Request bodies that come compressed: read, changed and metered like plain ones, and no small one gets large.
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerStream, chatEvents } from '#test/support/fake-engine.ts';
import { createChatAndRanker } from './chat-and-ranker.ts';
import { chatBody, createConfig, type Harness, send, startHarness } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness((url) => createConfig(createChatAndRanker(url, { ranker: { work: 'duration' } })));
});
afterEach(() => harness.close());

const CODINGS: readonly [string, (bytes: Buffer) => Buffer][] = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  [' GZIP ', gzipSync],
  ['deflate', deflateSync],
  ['br', (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } })],
  ['zstd', zstdCompressSync],
];
const post = (coding: string, body: Buffer, options: { path?: string; headers?: Record<string, string> } = {}) =>
  send(harness.port, { ...options, body, headers: { 'content-encoding': coding, ...options.headers } });
const asked = () => harness.engine.requests.find(({ method }) => method === 'POST');

describe.each(CODINGS)('a body in %s', (coding, encode) => {
  it('reaches the engine decoded and changed like any other', async () => {
    harness.engine.answerWith(answerStream(chatEvents(['a', 'b'], { usage: true })));
    const body = Buffer.from(JSON.stringify(chatBody({ stream: true, user: 'u-1' })));
    const answer = await post(coding, encode(body));
    expect(answer.text).toBe(chatEvents(['a', 'b'], { usage: false }).join(''));
    const { headers, body: sent } = asked() ?? { headers: {}, body: Buffer.alloc(0) };
    expect(headers).toMatchObject({ 'content-length': String(sent.length) });
    expect(headers).not.toHaveProperty('content-encoding');
    expect(JSON.parse(sent.toString())).toEqual({
      ...chatBody({ stream: true, user: 'u-1', model: 'served' }),
      stream_options: { include_usage: true },
    });
    expect(harness.metering.records).toMatchObject([{ user: 'u-1', tokens: { input: 5, output: 2 } }]);
  });

  it('of tensors reaches Triton byte for byte, its header length being that of the decoded bytes', async () => {
    const body = Buffer.concat([Buffer.from('{"inputs":[]}'), Buffer.from([0, 1, 2, 255])]);
    const headers = { 'content-type': 'application/octet-stream', 'inference-header-content-length': '13' };
    await post(coding, encode(body), { path: '/v2/models/ranker/infer', headers });
    expect(asked()?.body).toEqual(body);
    expect(asked()?.headers).toMatchObject(headers);
  });

  it('that would grow over the limit is 413 whatever its size, and nothing of it is sent', async () => {
    const bomb = encode(Buffer.alloc(24 * 1024 * 1024, 0x20));
    expect(bomb.length).toBeLessThan(200_000);
    const before = process.memoryUsage.rss();
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(coding, bomb)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 413));
    expect(JSON.parse(answers[0]?.text ?? '')).toMatchObject({ error: { code: 'request_too_large' } });
    // Eight bombs decoded whole would be 192 MiB.
    expect(process.memoryUsage.rss() - before).toBeLessThan(150 * 1024 * 1024);
    expect(harness.metering.records).toHaveLength(8);
    expect(asked()).toBeUndefined();
  });

  it('that is cut, or is none, is 400 and one rejected record', async () => {
    const whole = encode(Buffer.from(JSON.stringify(chatBody())));
    for (const body of [whole.subarray(0, -3), Buffer.from('{"plain":1}'), Buffer.alloc(0)]) {
      const answer = await post(coding, body);
      expect([answer.status, JSON.parse(answer.text).error]).toMatchObject([400, { code: expect.any(String) }]);
      expect(harness.metering.records.at(-1)).toMatchObject({ outcome: 'rejected', status: 400 });
    }
    expect(asked()).toBeUndefined();
  });
});

describe('codings', () => {
  it.each(['compress', 'gzip, gzip', 'constructor', 'aws-chunked'])('%s is refused with 415', async (coding) => {
    const answer = await post(coding, gzipSync(JSON.stringify(chatBody())));
    expect(answer.status).toBe(415);
    expect(answer.headers['accept-encoding']).toBe('gzip, deflate, br, zstd');
    expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 415 }]);
  });

  it('of what is forwarded unread stay as they are', async () => {
    const body = gzipSync('RIFF');
    await post('gzip', body, { path: '/v1/audio/transcriptions', headers: { 'content-type': 'audio/wav' } });
    expect(asked()).toMatchObject({ body, headers: { 'content-encoding': 'gzip' } });
  });
});
