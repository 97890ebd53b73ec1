import { afterEach, describe, expect, it } from 'vitest';
import type { FakeEngine } from '#test/support/fake-engine.ts';
import { ADS_KEY, type Answer, chatBody, createConfig, send } from './harness.ts';
import { answerAll, asked, clock, configure, engines, harness, start, stop, until } from './several-engines.ts';

afterEach(stop);

describe('full engines', () => {
  const full = { upstream: () => ({ maxInFlight: 1 }) };
  /** Engines that answer when told to, in the order in which they were asked. */
  function holdAnswers(): (() => void)[] {
    const release: (() => void)[] = [];
    answerAll((res) => void release.push(() => void res.end('{}')));
    return release;
  }
  const waiting = (): number => harness.gateway.queueLengths()[0]?.waiting ?? -1;
  const userOf = (index: number): unknown => JSON.parse(String(engines[0]?.requests[index]?.body)).user;

  it('let requests wait, teams in turn and each in its order, and none is lost', async () => {
    await start({ count: 1, ...full });
    const release = holdAnswers();
    const sendAs = (user: string, key?: string): Promise<Answer> =>
      send(harness.port, { body: chatBody({ user }), ...(key === undefined ? {} : { key }) });
    const answers = [sendAs('s0')];
    await until(() => asked()[0] === 1);
    for (const [index, user] of ['s1', 's2', 's3', 'a1'].entries()) {
      answers.push(sendAs(user, user.startsWith('a') ? ADS_KEY : undefined));
      await until(() => waiting() === index + 1);
    }
    for (let served = 0; served < 5; served += 1) {
      await until(() => release.length > served);
      expect(harness.gateway.upstreamStatus()).toMatchObject([{ inFlight: 1 }]);
      release[served]?.();
    }
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect([0, 1, 2, 3, 4].map(userOf)).toEqual(['s0', 's1', 'a1', 's2', 's3']);
    expect(waiting()).toBe(0);
    expect(harness.gateway.upstreamStatus()).toMatchObject([{ inFlight: 0 }]);
  });

  it('and a full queue are a 503 that says when to come back', async () => {
    await start({ count: 1, ...full, deployment: { queue: { size: 1, timeoutMs: 60_000 } } });
    const release = holdAnswers();
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    const queued = send(harness.port);
    await until(() => waiting() === 1);
    const refused = await send(harness.port);
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1', 'retry-after-ms': '1000' } });
    expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'overloaded', type: 'server_error' } });
    expect(harness.metering.records).toMatchObject([{ outcome: 'rejected', status: 503, upstream: null, pool: null }]);
    expect(harness.rejections).toEqual(['search overloaded']);
    release[0]?.();
    await until(() => release.length > 1);
    release[1]?.();
    expect([(await running).status, (await queued).status]).toEqual([200, 200]);
  });

  it('that stay full until the deadline are a 503, and the next refusal knows how long it takes', async () => {
    await start({ count: 1, ...full, deployment: { queue: { size: 1, timeoutMs: 5000 } } });
    const release = holdAnswers();
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    const queued = send(harness.port);
    await until(() => waiting() === 1);
    clock.advance(5001);
    const late = await queued;
    expect([late.status, JSON.parse(late.text).error.code]).toEqual([503, 'overloaded']);
    expect(Number(late.headers['retry-after'])).toBeGreaterThanOrEqual(5);
    expect(waiting()).toBe(0);
    release[0]?.();
    expect((await running).status).toBe(200);
    expect(asked()).toEqual([1]);
  });

  it('let nobody wait longer than the whole request may take', async () => {
    await start({ count: 1, ...full, requestTimeoutMs: 3000 });
    holdAnswers();
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    const queued = send(harness.port);
    await until(() => waiting() === 1);
    clock.advance(3100);
    expect([(await queued).status, (await running).status]).toEqual([503, 504]);
  });

  it('are not asked for a client that hung up while it waited, and its place is free at once', async () => {
    await start({ count: 1, ...full });
    const release = holdAnswers();
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    const leaver = new AbortController();
    const left = fetch(`${harness.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(chatBody()),
      headers: { authorization: 'Bearer sk-search-0123456789' },
      signal: leaver.signal,
    }).catch(() => 'left');
    await until(() => waiting() === 1);
    leaver.abort();
    expect(await left).toBe('left');
    await harness.metering.whenRecorded(1);
    expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', status: 499, upstream: null }]);
    expect(waiting()).toBe(0);
    release[0]?.();
    expect((await running).status).toBe(200);
    expect(asked()).toEqual([1]);
  });

  it('hold no time against the gateway: waiting is not its overhead', async () => {
    const overheads: number[] = [];
    await start({ count: 1, ...full }, { onOverhead: (_target, overheadMs) => void overheads.push(overheadMs) });
    const release = holdAnswers();
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    const queued = send(harness.port);
    await until(() => waiting() === 1);
    clock.advance(20_000);
    release[0]?.();
    await until(() => release.length > 1);
    release[1]?.();
    await running;
    const serverTiming = String((await queued).headers['server-timing']);
    expect(Number(/dur=([\d.]+)/.exec(serverTiming)?.[1])).toBeLessThan(10_000);
    expect(overheads).toHaveLength(2);
    expect(Math.max(...overheads)).toBeLessThan(10_000);
  });

  it('serve a waiting request elsewhere when a reload brings an engine', async () => {
    await start(full);
    const [first, second] = engines as [FakeEngine, FakeEngine];
    harness.gateway.reload(configure(full, [first]));
    const release = holdAnswers();
    const running = send(harness.port);
    await until(() => first.requests.length === 1);
    const queued = send(harness.port);
    await until(() => waiting() === 1);
    harness.gateway.reload(configure(full, [first, second]));
    await until(() => release.length === 2);
    expect(second.requests).toHaveLength(1);
    for (const answer of release) answer();
    expect([(await running).status, (await queued).status]).toEqual([200, 200]);
  });

  it('still serve who waits when a reload takes their deployment away', async () => {
    await start({ count: 1, ...full });
    const release = holdAnswers();
    const running = send(harness.port);
    await until(() => asked()[0] === 1);
    const queued = send(harness.port);
    await until(() => waiting() === 1);
    harness.gateway.reload(createConfig([]));
    expect(harness.gateway.upstreamStatus()).toEqual([]);
    release[0]?.();
    await until(() => release.length > 1);
    release[1]?.();
    expect([(await running).status, (await queued).status]).toEqual([200, 200]);
    await until(async () => (await engines[0]?.connections()) === 0);
  });

  it('are a 503 of their own for those who wait when the gateway ends', async () => {
    await start({ count: 1, ...full });
    holdAnswers();
    const clients = [send(harness.port).catch(() => 'cut')];
    await until(() => asked()[0] === 1);
    clients.push(send(harness.port).catch(() => 'cut'));
    await until(() => waiting() === 1);
    expect(await harness.gateway.drain(1)).toEqual({ left: 2 });
    await harness.metering.whenRecorded(2);
    expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(['interrupted', 'interrupted']);
    await Promise.all(clients);
  });
});
