import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ELEMENTS_MAX, holdsTooMany, VALUES_MAX } from '#gateway/count-values.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

const list = (item: string, count: number): string =>
  `{"model":"llama-3.1-70b","input":[${`${item},`.repeat(count - 1)}${item}]}`;

describe('a body of many values', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness((url) =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url)])], { server: { maxBodyBytes: 2 ** 26 } }),
    );
  });
  afterEach(() => harness.close());

  it.each(['/v1/embeddings', '/v1/chat/completions', '/v1/audio/x'])(
    'is refused on %s before anything is made of them, however small it came',
    async (path) => {
      const body = zstdCompressSync(Buffer.from(list('{}', 20_000_000)));
      expect(body.length).toBeLessThan(10_000);
      const headers = { 'content-encoding': 'zstd' };
      const isForwarded = path === '/v1/audio/x';
      const answer = await send(harness.port, {
        path,
        ...(isForwarded ? { body: list('{}', VALUES_MAX) } : { body, headers }),
      });
      expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([413, 'request_too_large']);
      expect(harness.engine.requests).toEqual([]);
      expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 413 }]);
    },
  );

  it('of numbers is served: a batch of prompts in tokens is as long', async () => {
    const answer = await send(harness.port, { path: '/v1/embeddings', body: list('12345', 2_000_000) });
    expect(answer.status).toBe(200);
  });
});

describe('counting values', () => {
  it.each([
    ['objects', '{}'],
    ['lists', '[]'],
    ['texts', '""'],
    ['texts of escapes', String.raw`"\\\"["`],
  ])('finds the one %s too many', (_kind, item) => {
    // Beside them stand the object, its two names, the model and the list.
    expect(holdsTooMany(Buffer.from(list(item, VALUES_MAX - 5)))).toBe(false);
    expect(holdsTooMany(Buffer.from(list(item, VALUES_MAX - 4)))).toBe(true);
  });

  it.each(['[{', String.raw`\"`, String.raw`\\`])('takes no part of a text for one: %s', (piece) => {
    expect(holdsTooMany(Buffer.from(`["${piece.repeat(2 * VALUES_MAX)}"]`))).toBe(false);
  });

  it('finds the one number too many', () => {
    // The model stands before a comma of its own.
    expect(holdsTooMany(Buffer.from(list('7', ELEMENTS_MAX)))).toBe(false);
    expect(holdsTooMany(Buffer.from(list('7', ELEMENTS_MAX + 1)))).toBe(true);
  });

  it('ends at the end of what is no JSON', () => {
    for (const broken of ['"', '"\\', '"\\"', '{"']) {
      expect(holdsTooMany(Buffer.from(' '.repeat(2 * VALUES_MAX) + broken))).toBe(false);
    }
  });
});
