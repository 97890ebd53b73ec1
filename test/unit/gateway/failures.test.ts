import { once } from 'node:events';
import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerStream, chatEvents, createGate, type FakeEngine, startFakeEngine } from '#test/support/fake-engine.ts';
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

const EVENTS = chatEvents(['Hel', 'lo'], { usage: true });

/** A client that can be watched chunk by chunk and hang up. */
function openStream(port: number, body: object = chatBody({ stream: true })) {
  const chunks: string[] = [];
  let wake = (): void => {};
  const req = request({
    port,
    path: '/v1/chat/completions',
    method: 'POST',
    agent: false,
    headers: { authorization: `Bearer ${SEARCH_KEY}` },
  });
  const closed = new Promise<boolean>((resolve) => {
    req.on('response', (res) => {
      res.on('data', (chunk: Buffer) => {
        chunks.push(chunk.toString());
        wake();
      });
      res.on('error', () => {});
      res.on('close', () => resolve(res.complete));
    });
  });
  const response = new Promise<number>((resolve) => {
    req.on('response', (res) => resolve(res.statusCode ?? 0));
  });
  req.on('error', () => {});
  req.end(JSON.stringify(body));
  return {
    req,
    closed,
    response,
    text: () => chunks.join(''),
    async until(part: string) {
      while (!chunks.join('').includes(part)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

describe('one engine', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness();
  });
  afterEach(() => harness.close());

  it('each event reaches the client before the next one exists', async () => {
    const gate = createGate();
    harness.engine.answerWith(async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(EVENTS[0]);
      await gate.opened;
      res.end(EVENTS.slice(1).join(''));
    });
    const client = openStream(harness.port);
    await client.until('assistant');
    expect(client.text()).toBe(EVENTS[0]);
    gate.open();
    expect(await client.closed).toBe(true);
  });

  it('headers reach the client before the first token does', async () => {
    const gate = createGate();
    harness.engine.answerWith(async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.flushHeaders();
      await gate.opened;
      res.end(EVENTS.join(''));
    });
    const client = openStream(harness.port);
    expect(await client.response).toBe(200);
    gate.open();
    await client.closed;
  });

  it('a client that hangs up mid-stream aborts the engine at once and is counted so far', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(EVENTS.slice(0, 2).join(''));
    });
    const client = openStream(harness.port);
    await client.until('Hel');
    client.req.destroy();
    await harness.engine.hungUp();
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([
      { outcome: 'client_aborted', status: 200, tokenSource: 'counted', tokens: { output: 1, input: 4 } },
    ]);
    expect(harness.gateway.upstreamStatus()).toMatchObject([{ inFlight: 0 }]);
  });

  it('a client that hangs up before any answer aborts the engine and is a 499', async () => {
    const asked = createGate();
    harness.engine.answerWith(() => asked.open());
    const client = openStream(harness.port);
    await asked.opened;
    client.req.destroy();
    await harness.engine.hungUp();
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', status: 499 }]);
  });

  it('a client that leaves after [DONE] has a completed request, even if the engine lingers', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(EVENTS.join(''));
    });
    const client = openStream(harness.port);
    await client.until('[DONE]');
    expect(harness.metering.records).toMatchObject([{ outcome: 'completed', tokenSource: 'reported' }]);
    client.req.destroy();
    await harness.engine.hungUp();
    expect(harness.metering.records).toHaveLength(1);
  });

  it('the record is written before the last bytes are released, and a strict journal is waited for', async () => {
    const gate = createGate();
    harness.metering.finishWith = () => gate.opened;
    harness.engine.answerWith(answerStream(EVENTS));
    const client = openStream(harness.port);
    await client.until('lo');
    await harness.metering.whenRecorded(1);
    expect(client.text()).not.toContain('[DONE]');
    gate.open();
    expect(await client.closed).toBe(true);
    expect(client.text().endsWith('data: [DONE]\n\n')).toBe(true);
    harness.metering.finishWith = () => gate.opened;
    harness.engine.answerWith((res) => void res.end('{}'));
    expect((await send(harness.port)).text).toBe('{}');
  });

  it('a stream that breaks gets one error event, no [DONE] and no clean end', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(`${EVENTS.slice(0, 2).join('')}data: {"half`, () => res.destroy());
    });
    const answer = await send(harness.port, { body: chatBody({ stream: true }) });
    expect(answer.complete).toBe(false);
    const events = answer.text.split('\n\n').filter((event) => event !== '');
    expect(JSON.parse(events.at(-1)?.slice(6) ?? '')).toMatchObject({ error: { code: 'upstream_unreachable' } });
    expect(answer.text).not.toContain('[DONE]');
    expect(answer.text.startsWith(EVENTS.slice(0, 2).join(''))).toBe(true);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 200, tokens: { output: 1 } }]);
  });

  it('an answer that is no stream and breaks is cut, not ended', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
      res.write('{"half', () => res.destroy());
    });
    const answer = await send(harness.port);
    expect(answer.complete).toBe(false);
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 200 }]);
  });

  it.each([
    ['the first byte', false],
    ['the next byte', true],
  ])('waiting too long for %s is a timeout that aborts the engine', async (_name, begins) => {
    const asked = createGate();
    harness.engine.answerWith((res) => {
      if (begins) res.writeHead(200, { 'content-type': 'text/event-stream' }).write(EVENTS[1]);
      asked.open();
    });
    const client = openStream(harness.port);
    await asked.opened;
    if (begins) await client.until('Hel');
    harness.clock.advance(62_500);
    await harness.engine.hungUp();
    await harness.metering.whenRecorded(1);
    expect(await client.response).toBe(begins ? 200 : 504);
    expect(await client.closed).toBe(!begins);
    expect(client.text()).toContain('upstream_timeout');
    expect(harness.metering.records).toMatchObject([{ outcome: 'timed_out', status: begins ? 200 : 504 }]);
  });

  /** Opens a stream without end of which the client reads nothing; resolves once the engine is blocked. */
  async function openUnread() {
    const piece = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: 'x'.repeat(64_000) } }] })}\n\n`;
    let written = 0;
    let isBlocked = (): void => {};
    const blocked = new Promise<void>((resolve) => {
      isBlocked = resolve;
    });
    harness.engine.answerWith(async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      for (; written < 2000 && !res.destroyed; written += 1) {
        if (res.write(piece)) continue;
        const timer = setTimeout(isBlocked, 200);
        await new Promise((resolve) => res.once('drain', resolve));
        clearTimeout(timer);
      }
    });
    const req = request({
      port: harness.port,
      path: '/v1/chat/completions',
      method: 'POST',
      agent: false,
      headers: { authorization: `Bearer ${SEARCH_KEY}` },
    });
    req.on('response', (res) => res.pause());
    req.on('error', () => {});
    req.end(JSON.stringify(chatBody({ stream: true })));
    await blocked;
    return { req, written };
  }

  it('a slow client slows the engine down instead of filling memory', async () => {
    const { req, written } = await openUnread();
    expect(written).toBeLessThan(400);
    req.destroy();
    await harness.engine.hungUp();
  });

  it('a client that reads nothing is waited for beyond the idle timeout, and no longer than requestTimeout', async () => {
    const { req } = await openUnread();
    harness.clock.advance(500_000);
    await delay(200);
    expect(harness.metering.records).toEqual([]);
    harness.clock.advance(100_001);
    await harness.engine.hungUp();
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'timed_out', status: 200 }]);
    req.destroy();
  });

  it('no engine reachable is a 502 with a record that names it and has no GPU time', async () => {
    await harness.engine.close();
    const answer = await send(harness.port);
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.text)).toMatchObject({ error: { code: 'upstream_unreachable', type: 'server_error' } });
    expect(harness.metering.starts).toEqual([]);
    expect(harness.metering.records).toMatchObject([
      { outcome: 'upstream_error', status: 502, upstream: 'trt-1', pool: null, lastAttempt: true, attempt: 1 },
    ]);
  });

  it('draining: not ready at once, requests in flight finish, new ones are refused and asked to close', async () => {
    const gate = createGate();
    const asked = createGate();
    harness.engine.answerWith(async (res) => {
      asked.open();
      await gate.opened;
      res.end('{}');
    });
    const inFlight = send(harness.port);
    await asked.opened;
    harness.gateway.startDraining();
    expect((await send(harness.port, { method: 'GET', path: '/readyz' })).status).toBe(503);
    const refused = await send(harness.port);
    expect([refused.status, refused.headers.connection]).toEqual([503, 'close']);
    const drained = harness.gateway.drain(5000);
    gate.open();
    expect((await inFlight).text).toBe('{}');
    expect(await drained).toEqual({ left: 0 });
  });

  it('draining that begins in the turn in which a stream ends cuts nothing off it', async () => {
    const events = chatEvents(['Hel', 'lo'], { usage: false });
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(events[0]);
      // The rest in a turn of its own, its end with it.
      setTimeout(() => {
        res.write(events.slice(1).join(''));
        res.end();
      }, 20);
    });
    let drained: Promise<unknown> | undefined;
    harness.metering.finishWith = () => {
      // Behind everything that this turn writes, before its end.
      process.nextTick(() => process.nextTick(() => (drained = harness.gateway.drain(5000))));
    };
    const answer = await send(harness.port, { body: chatBody({ stream: true }) });
    expect([answer.text, answer.complete]).toEqual([events.join(''), true]);
    expect(await drained).toEqual({ left: 0 });
  });

  it('what is still in flight when the gateway ends is recorded as interrupted', async () => {
    const asked = createGate();
    harness.engine.answerWith(() => asked.open());
    const client = openStream(harness.port);
    await asked.opened;
    expect(await harness.gateway.drain(1)).toEqual({ left: 1 });
    await harness.metering.whenRecorded(1);
    expect(await client.response).toBe(503);
    expect(harness.metering.records).toMatchObject([{ outcome: 'interrupted' }]);
  });
});

describe('several engines', () => {
  let second: FakeEngine;
  let harness: Harness;
  const configure = (url: string) =>
    createConfig([
      createDeploymentConfig(
        [createUpstreamConfig(url, { name: 'trt-1' }), createUpstreamConfig(second.url, { name: 'trt-2' })],
        {
          health: { path: '/health', intervalMs: 20, timeoutMs: 1000, unhealthyAfter: 1 },
        },
      ),
    ]);
  beforeEach(async () => {
    second = await startFakeEngine();
    harness = await startHarness(configure);
  });
  afterEach(async () => {
    await harness.close();
    await second.close();
  });

  it('a request that loses its engine before the answer goes to another one, each attempt with its record', async () => {
    const die = (res: import('node:http').ServerResponse): void => void res.destroy();
    let first = true;
    for (const engine of [harness.engine, second]) {
      engine.answerWith((res) => {
        if (!first) {
          res.end('{}');
          return;
        }
        first = false;
        die(res);
      });
    }
    const answer = await send(harness.port);
    expect([answer.status, answer.text]).toEqual([200, '{}']);
    const records = harness.metering.records.map(({ attempt, outcome, lastAttempt, recordId }) => ({
      attempt,
      outcome,
      lastAttempt,
      recordId,
    }));
    const id = String(answer.headers['x-inferometer-request-id']);
    expect(records).toEqual([
      { attempt: 1, outcome: 'upstream_error', lastAttempt: false, recordId: `${id}.1` },
      { attempt: 2, outcome: 'completed', lastAttempt: true, recordId: `${id}.2` },
    ]);
  });

  it('work goes to the engine with the least in flight', async () => {
    const gate = createGate();
    for (const engine of [harness.engine, second]) {
      engine.answerWith(async (res) => {
        await gate.opened;
        res.end('{}');
      });
    }
    const answers: Promise<unknown>[] = [];
    for (let index = 1; index <= 6; index += 1) {
      answers.push(send(harness.port));
      while (harness.engine.requests.length + second.requests.length < index)
        await new Promise((resolve) => setImmediate(resolve));
    }
    expect([harness.engine.requests.length, second.requests.length]).toEqual([3, 3]);
    gate.open();
    await Promise.all(answers);
  });

  it('an engine that fails its check gets no more requests until it passes again; with none left it is 503', async () => {
    const until = async (condition: () => boolean): Promise<void> => {
      while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
    };
    const isHealthy = (index: number) => harness.gateway.upstreamStatus()[index]?.healthy;
    await until(() => isHealthy(0) === true && isHealthy(1) === true);
    second.healthStatus = 400;
    await until(() => isHealthy(1) === false);
    for (let index = 0; index < 4; index += 1) await send(harness.port);
    expect(second.requests).toEqual([]);
    harness.engine.healthStatus = 503;
    await until(() => isHealthy(0) === false);
    const answer = await send(harness.port);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([503, 'no_healthy_upstream']);
    expect(harness.metering.records.at(0)).toMatchObject({ outcome: 'rejected', status: 503 });
    second.healthStatus = 200;
    await until(() => isHealthy(1) === true);
    expect((await send(harness.port)).headers['x-inferometer-upstream']).toBe('trt-2');
    expect(harness.health.slice(0, 2).sort()).toEqual(['llama-70b/trt-1 up', 'llama-70b/trt-2 up']);
    expect(harness.health.slice(2)).toEqual(['llama-70b/trt-2 down', 'llama-70b/trt-1 down', 'llama-70b/trt-2 up']);
    expect(harness.log.lines.filter((line) => line.startsWith('upstream is unhealthy'))).toEqual([
      expect.stringContaining('"upstream":"trt-2","reason":"GET /health answers 400"'),
      expect.stringContaining('"upstream":"trt-1","reason":"GET /health answers 503"'),
    ]);
    await second.close();
    await until(() => /"reason":"GET \/health: (?:ECONN|UND_ERR)_?\w+"/.test(harness.log.lines.at(-1) ?? ''));
  });

  it('a reload takes an engine away without dropping what it is answering', async () => {
    const gate = createGate();
    const asked = createGate();
    for (const engine of [harness.engine, second]) {
      engine.answerWith(async (res) => {
        asked.open();
        await gate.opened;
        res.end('{}');
      });
    }
    const running = send(harness.port);
    await asked.opened;
    const served = harness.engine.requests.length > 0 ? harness.engine : second;
    const other = served === second ? harness.engine : second;
    harness.gateway.reload(createConfig([createDeploymentConfig([createUpstreamConfig(other.url, { name: 'only' })])]));
    expect(harness.gateway.upstreamStatus().map(({ upstream }) => upstream)).toEqual(['only']);
    gate.open();
    expect((await running).text).toBe('{}');
    const next = await send(harness.port);
    expect(next.headers['x-inferometer-upstream']).toBe('only');
  });
});

describe('over many requests', () => {
  it('hundreds of hang-ups leave no connection, no request in flight and one record each', async () => {
    const harness = await startHarness();
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(EVENTS[1]);
    });
    for (let round = 0; round < 10; round += 1) {
      const clients = Array.from({ length: 20 }, () => openStream(harness.port));
      await Promise.all(clients.map((client) => client.until('Hel')));
      for (const client of clients) client.req.destroy();
      await harness.metering.whenRecorded((round + 1) * 20);
    }
    expect(harness.metering.records.filter(({ outcome }) => outcome !== 'client_aborted')).toEqual([]);
    expect(new Set(harness.metering.records.map(({ recordId }) => recordId)).size).toBe(200);
    expect(harness.gateway.upstreamStatus()).toMatchObject([{ inFlight: 0 }]);
    // Sockets close a moment after their abort; the health check may keep one.
    while ((await harness.engine.connections()) > 1) await new Promise((resolve) => setTimeout(resolve, 5));
    await harness.close();
  });

  it('an upload in progress is waited for while draining', async () => {
    const harness = await startHarness();
    const req = request({
      port: harness.port,
      path: '/v1/chat/completions',
      method: 'POST',
      agent: false,
      headers: { authorization: `Bearer ${SEARCH_KEY}`, expect: '100-continue' },
    });
    const answered = new Promise<number>((resolve) => {
      req.on('response', (res) => {
        res.resume();
        resolve(res.statusCode ?? 0);
      });
    });
    // Only the gateway's own word says that the upload has begun: draining before that would rightly refuse it.
    const wanted = once(req, 'continue');
    req.flushHeaders();
    await wanted;
    req.write('{"model":"llama-3.1-70b"');
    const drained = harness.gateway.drain(5000);
    req.end('}');
    expect(await answered).toBe(200);
    expect(await drained).toEqual({ left: 0 });
    await harness.close();
  });
});
