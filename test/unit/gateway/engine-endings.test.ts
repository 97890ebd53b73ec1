// Every way an engine can end or keep silent, for every kind of request: one record with the right words, and no client is deceived.
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRaw } from '#test/support/raw-http.ts';
import { answerPosts, EACH, startEndingHarness, watchEngine } from './ending-kinds.ts';
import { type Harness, send } from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startEndingHarness();
});
afterEach(async () => {
  expect(harness.gateway.upstreamStatus().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  // Nothing late may add a second record.
  const before = harness.metering.records.length;
  expect((await send(harness.port, { method: 'GET', path: '/healthz' })).status).toBe(200);
  expect(harness.metering.records.length).toBe(before);
  await harness.close();
});

describe.each(EACH)('an engine of %s that', (name, kind) => {
  const breaks: [string, (res: ServerResponse) => void, object, RegExp][] = [
    [
      'resets before headers',
      (res) => res.socket?.resetAndDestroy(),
      { outcome: 'upstream_error', status: 502 },
      /^HTTP\/1\.1 502 /,
    ],
    [
      'resets after its headers',
      (res) => {
        res.writeHead(200, kind.headers);
        res.flushHeaders();
        setImmediate(() => res.socket?.resetAndDestroy());
      },
      { outcome: 'upstream_error' },
      /^(?:HTTP\/1\.1 200 |HTTP\/1\.1 502 |$)/,
    ],
    [
      'breaks off half way',
      (res) => {
        res.writeHead(200, kind.headers).write(kind.part, () => res.destroy());
      },
      { outcome: 'upstream_error', status: 200, ...kind.counted },
      /^HTTP\/1\.1 200 /,
    ],
    [
      'breaks off inside a chunk',
      (res) => {
        res.socket?.end(
          `HTTP/1.1 200 OK\r\ncontent-type: ${kind.headers['content-type']}\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n${kind.part}`,
        );
      },
      { outcome: 'upstream_error', status: 200, ...kind.counted },
      /^HTTP\/1\.1 200 /,
    ],
    [
      'sends less than its content-length',
      (res) => {
        res.socket?.end(
          `HTTP/1.1 200 OK\r\ncontent-type: ${kind.headers['content-type']}\r\ncontent-length: 5000\r\n\r\n${kind.part}`,
        );
      },
      { outcome: 'upstream_error', status: 200, ...kind.counted },
      /^HTTP\/1\.1 200 /,
    ],
  ];
  it.each(breaks)('%s: one record, and the client never takes it for an end', async (_how, script, record, start) => {
    answerPosts(harness, script);
    const client = openRaw(harness.port, kind.request);
    await harness.metering.whenRecorded(1);
    if (!client.text().startsWith('HTTP/1.1 5')) await Promise.race([client.closed, client.until('HTTP/1.1 5')]);
    expect(client.text()).toMatch(start);
    expect(client.text()).not.toMatch(/\r\n0\r\n\r\n$/);
    expect(client.text()).not.toContain('[DONE]');
    if (name === 'a stream' && start.source.includes('200 ') && client.text().includes('Hel'))
      expect(client.text()).toContain('"code":"upstream_unreachable"');
    expect(harness.metering.records).toMatchObject([record]);
    client.hangUp();
  });

  it('sends more than its content-length: the client gets what was promised, and the connection is not used again', async () => {
    answerPosts(harness, (res) => {
      const promised = `HTTP/1.1 200 OK\r\ncontent-type: ${kind.headers['content-type']}\r\ncontent-length: ${kind.part.length}\r\n\r\n`;
      res.socket?.end(`${promised}${kind.part}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nSTOLE`);
    });
    const client = openRaw(harness.port, kind.request);
    await client.until(kind.seen);
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toHaveLength(1);
    client.hangUp();
    answerPosts(harness, (res) => res.end('{"mine":1}'));
    expect((await send(harness.port)).text).toBe('{"mine":1}');
  });

  const waits: [string, boolean, number, object][] = [
    ['never answers', false, 62_500, { outcome: 'timed_out', status: 504 }],
    ['falls silent', true, 60_500, { outcome: 'timed_out', status: 200, ...kind.counted }],
    ['takes longer than a request may', true, 600_500, { outcome: 'timed_out', status: 200, ...kind.counted }],
  ];
  it.each(waits)('%s is given up and let go', async (_how, begins, advanceMs, record) => {
    const { asked, closedAtMs } = watchEngine(
      harness,
      (res) => begins && res.writeHead(200, kind.headers).write(kind.part),
    );
    const client = openRaw(harness.port, kind.request);
    await asked;
    if (begins) await client.until(kind.seen);
    harness.clock.advance(advanceMs);
    await closedAtMs;
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([record]);
    if (begins) expect(await client.closed).not.toMatch(/\r\n0\r\n\r\n$/);
    else await client.until('The engine did not answer in time.');
    client.hangUp();
  });

  it('is still answering when the gateway must end: interrupted, and let go', async () => {
    const { closedAtMs } = watchEngine(harness, (res) => res.writeHead(200, kind.headers).write(kind.part));
    const client = openRaw(harness.port, kind.request);
    await client.until(kind.seen);
    expect(await harness.gateway.drain(1)).toEqual({ left: 1 });
    await closedAtMs;
    expect(harness.metering.records).toMatchObject([{ outcome: 'interrupted', status: 200, ...kind.counted }]);
    expect(await client.closed).not.toMatch(/\r\n0\r\n\r\n$/);
  });
});
