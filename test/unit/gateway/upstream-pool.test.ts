import { afterEach, describe, expect, it } from 'vitest';
import { createGate, type FakeEngine } from '#test/support/fake-engine.ts';
import { type Answer, chatBody, send } from './harness.ts';
import {
  answerAll,
  asked,
  clock,
  configure,
  ejections,
  engines,
  harness,
  refuse,
  reset,
  retries,
  sendMany,
  start,
  stop,
  succeed,
  until,
} from './several-engines.ts';

afterEach(stop);

describe('a retry', () => {
  it.each([502, 503])('goes to another engine when one answers %d, and both attempts are recorded', async (status) => {
    await start();
    let first = true;
    answerAll((res, request) => {
      const script = first ? refuse(status) : succeed;
      first = false;
      return script(res, request);
    });
    const answer = await send(harness.port);
    expect([answer.status, answer.text]).toEqual([200, '{}']);
    expect(asked()).toEqual([1, 1]);
    expect(harness.metering.records).toMatchObject([
      { attempt: 1, outcome: 'upstream_error', status, lastAttempt: false },
      { attempt: 2, outcome: 'completed', status: 200, lastAttempt: true },
    ]);
    expect(harness.metering.starts.map(({ pool }) => pool).sort()).toEqual(['llama-70b/trt-1', 'llama-70b/trt-2']);
    expect(retries).toEqual(['answered']);
  });

  it('that fails too passes the last engine’s answer unchanged', async () => {
    await start();
    answerAll(refuse(503));
    const answer = await send(harness.port);
    expect([answer.status, answer.text]).toEqual([503, 'engine says 503']);
    expect(asked()).toEqual([1, 1]);
    expect(harness.metering.records.map(({ lastAttempt }) => lastAttempt)).toEqual([false, true]);
    expect(retries).toEqual(['answered']);
  });

  it('does not exist where there is only one engine: its answer passes unchanged', async () => {
    await start({ count: 1 });
    answerAll(refuse(503));
    expect(await send(harness.port)).toMatchObject({ status: 503, text: 'engine says 503' });
    expect([harness.metering.records.length, retries]).toEqual([1, []]);
  });

  it.each([400, 404, 429, 500, 501, 504])('is not made for %d: the request may be what is wrong', async (status) => {
    await start();
    answerAll(refuse(status));
    expect(await send(harness.port)).toMatchObject({ status, text: `engine says ${status}` });
    expect(harness.metering.records).toHaveLength(1);
  });

  it.each([
    ['two engines that took the request in', 2, async () => answerAll(reset)],
    ['three connections', 3, () => Promise.all(engines.map((engine) => engine.close())).then(() => {})],
  ])('ends after %s: the request may be what kills them', async (_what, attempts, breakAll) => {
    await start({ count: 5 });
    await breakAll();
    const answer = await send(harness.port);
    expect([answer.status, JSON.parse(answer.text).error.code]).toEqual([502, 'upstream_unreachable']);
    expect(harness.metering.records).toHaveLength(attempts);
    expect(new Set(harness.metering.records.map(({ upstream }) => upstream)).size).toBe(attempts);
    expect(harness.metering.records.map(({ lastAttempt }) => lastAttempt)).toEqual(
      Array.from({ length: attempts }, (_, index) => index === attempts - 1),
    );
  });

  it('is not made once a byte of the answer has reached the client', async () => {
    await start();
    answerAll((res) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      res.write('{', () => res.destroy());
    });
    expect(await send(harness.port)).toMatchObject({ status: 200, text: '{', complete: false });
    expect(harness.metering.records).toHaveLength(1);
  });

  it('is at most a fifth of the traffic: beyond that the engine’s answer stands', async () => {
    await start({
      deployment: { health: { path: '/health', intervalMs: 60_000, timeoutMs: 1000, unhealthyAfter: 1000 } },
    });
    engines[0]?.answerWith(refuse(503));
    engines[1]?.answerWith(succeed);
    const answers = await sendMany(60);
    const failed = answers.filter(({ status }) => status === 503).length;
    expect(retries.filter((result) => result === 'answered').length).toBeLessThanOrEqual(12);
    expect(retries.filter((result) => result === 'answered').length).toBeGreaterThanOrEqual(3);
    expect(failed).toBe(retries.filter((result) => result === 'refused').length);
    expect(failed).toBeGreaterThan(0);
    const lasts = harness.metering.records.filter(({ lastAttempt }) => lastAttempt);
    expect([lasts.length, harness.metering.records.length]).toEqual([60, 60 + retries.length - failed]);
  });
});

describe('an engine whose requests fail', () => {
  it('is left out after three in a row, is tried again by one request, and serves again when that succeeds', async () => {
    await start();
    engines[0]?.answerWith(reset);
    engines[1]?.answerWith(succeed);
    const answers = await sendMany(40);
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    expect(asked()).toEqual([3, 40]);
    expect(ejections).toEqual(['trt-1']);
    expect(harness.gateway.upstreamStatus().map(({ healthy }) => healthy)).toEqual([false, true]);
    expect(harness.log.lines.filter((line) => line.startsWith('upstream is ejected'))).toHaveLength(1);

    const gate = createGate();
    engines[0]?.answerWith(async (res) => {
      await gate.opened;
      res.end('{}');
    });
    clock.advance(1300);
    const trying: Promise<Answer>[] = [];
    while (engines[0]?.requests.length === 3) {
      trying.push(send(harness.port));
      await until(() => asked().reduce((sum, count) => sum + count, 0) === 43 + trying.length);
    }
    const elsewhere = await sendMany(10);
    expect(elsewhere.every(({ headers }) => headers['x-inferometer-upstream'] === 'trt-2')).toBe(true);
    expect(engines[0]?.requests).toHaveLength(4);
    gate.open();
    await Promise.all(trying);
    expect(harness.log.lines.filter((line) => line.startsWith('upstream answers requests again'))).toHaveLength(1);
    await until(async () => (await send(harness.port)).headers['x-inferometer-upstream'] === 'trt-1');
  });

  it('is left out for longer when its trial fails', async () => {
    await start();
    engines[0]?.answerWith(reset);
    await sendMany(40);
    clock.advance(1300);
    await sendMany(40);
    expect([asked()[0], ejections.length]).toEqual([4, 2]);
    clock.advance(1300);
    await sendMany(20);
    expect(asked()[0]).toBe(4);
    clock.advance(1300);
    await sendMany(40);
    expect(asked()[0]).toBe(5);
  });

  it.each([
    ['errors of its own', refuse(500)],
    ['lost connections', reset],
  ])('is left out for %s', async (_what, script) => {
    await start();
    engines[0]?.answerWith(script);
    await sendMany(40);
    expect(ejections).toEqual(['trt-1']);
  });

  it('is left out when nobody listens there, without an error for any client', async () => {
    await start({ count: 3 });
    const [, second] = engines;
    await second?.close();
    const answers = await sendMany(60);
    expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    const unreached = harness.metering.records.filter(({ pool }) => pool === null);
    expect(unreached).toHaveLength(3);
    expect(unreached.every(({ lastAttempt, upstream }) => !lastAttempt && upstream === 'trt-2')).toBe(true);
  });

  it('is not held to be sick for what a client’s request got wrong', async () => {
    await start();
    engines[0]?.answerWith(refuse(400));
    await sendMany(30);
    expect([ejections, asked()[0]]).toEqual([[], expect.any(Number)]);
    expect(asked()[0]).toBeGreaterThan(5);
  });

  it('is sent to all the same when it is the last: a request that may fail beats one that does', async () => {
    await start({ count: 1 });
    engines[0]?.answerWith(reset);
    const codes = (await sendMany(6)).map(({ text }) => JSON.parse(text).error.code as string);
    expect(new Set(codes)).toEqual(new Set(['upstream_unreachable']));
    expect(asked()).toEqual([6]);
    engines[0]?.answerWith(succeed);
    expect((await send(harness.port)).status).toBe(200);
  });
});

describe('a reload', () => {
  it('keeps the engines whose connections did not change, with their work and what is held against them', async () => {
    await start();
    engines[0]?.answerWith(reset);
    await sendMany(30);
    expect(ejections).toEqual(['trt-1']);
    harness.gateway.reload(configure({ deployment: { weight: 3, passThrough: [] } }));
    await sendMany(20);
    expect(asked()[0]).toBe(3);
  });

  it('brings new limits to an engine that stays', async () => {
    await start({ count: 1 });
    harness.gateway.reload(
      configure({ upstream: () => ({ maxInFlight: 1 }), deployment: { queue: { size: 0, timeoutMs: 1000 } } }),
    );
    const gate = createGate();
    answerAll(async (res) => {
      await gate.opened;
      res.end('{}');
    });
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    expect((await send(harness.port)).status).toBe(503);
    gate.open();
    expect((await running).status).toBe(200);
  });

  it('closes the connections of an engine that left as soon as its last request has ended', async () => {
    await start();
    const gate = createGate();
    answerAll(async (res) => {
      await gate.opened;
      res.end('{}');
    });
    const running = [send(harness.port), send(harness.port)];
    await until(() => asked().every((count) => count === 1));
    const [first, second] = engines as [FakeEngine, FakeEngine];
    harness.gateway.reload(configure({}, [second]));
    gate.open();
    expect((await Promise.all(running)).map(({ text }) => text)).toEqual(['{}', '{}']);
    await until(async () => (await first.connections()) === 0);
    expect((await send(harness.port)).headers['x-inferometer-upstream']).toBe('trt-2');
  });
});

describe('choosing', () => {
  it('sends prompts that begin alike to one engine, and spreads them again when it has more than its share', async () => {
    await start({ count: 3, deployment: { affinity: { prefixBytes: 200 } } });
    const messages = (question: string): object => ({
      messages: [
        { role: 'system', content: 'x'.repeat(300) },
        { role: 'user', content: question },
      ],
    });
    const upstreamOf = async (question: string): Promise<unknown> =>
      (await send(harness.port, { body: chatBody(messages(question)) })).headers['x-inferometer-upstream'];
    const owners = new Set<unknown>();
    for (let question = 0; question < 10; question += 1) owners.add(await upstreamOf(`question ${question}`));
    expect(owners.size).toBe(1);
    const gate = createGate();
    answerAll(async (res) => {
      await gate.opened;
      res.end('{}');
    });
    const before = asked();
    const many = Array.from({ length: 12 }, (_, question) => upstreamOf(`question ${question}`));
    await until(
      () => asked().reduce((sum, count) => sum + count, 0) === before.reduce((sum, count) => sum + count, 0) + 12,
    );
    const now = asked().map((count, index) => count - (before[index] ?? 0));
    expect(Math.max(...now)).toBeLessThanOrEqual(5);
    expect(Math.min(...now)).toBeGreaterThanOrEqual(2);
    gate.open();
    await Promise.all(many);
  });

  it('gives an engine of three times the weight three times the work', async () => {
    await start({ upstream: (index) => (index === 0 ? { weight: 3 } : { weight: 1 }) });
    const gate = createGate();
    answerAll(async (res) => {
      await gate.opened;
      res.end('{}');
    });
    const answers: Promise<Answer>[] = [];
    for (let index = 1; index <= 12; index += 1) {
      answers.push(send(harness.port));
      await until(() => asked().reduce((sum, count) => sum + count, 0) === index);
    }
    expect(asked()).toEqual([9, 3]);
    gate.open();
    await Promise.all(answers);
  });
});
