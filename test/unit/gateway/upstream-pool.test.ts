import { afterEach, describe, expect, it } from 'vitest';
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { GatewayOptions } from '#gateway/create-gateway.ts';
import { createGate, type FakeEngine, type Script, startFakeEngine } from '#test/support/fake-engine.ts';
import {
  ADS_KEY,
  type Answer,
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness;
let engines: FakeEngine[] = [];
let retries: string[] = [];
let ejections: string[] = [];

interface Setting {
  /** Engines; default 2. */
  readonly count?: number;
  readonly deployment?: Partial<DeploymentConfig>;
  readonly upstream?: (index: number) => Partial<UpstreamConfig>;
  readonly requestTimeoutMs?: number;
}

const nameOf = (index: number): string => `trt-${index + 1}`;

function configure({ deployment, upstream, requestTimeoutMs }: Setting, present = engines) {
  const upstreams = present.map((engine) => {
    const index = engines.indexOf(engine);
    return createUpstreamConfig(engine.url, { name: nameOf(index), ...upstream?.(index) });
  });
  const config = createConfig(
    [createDeploymentConfig(upstreams, deployment)],
    requestTimeoutMs === undefined ? {} : { server: { requestTimeoutMs } },
  );
  return { ...config, teams: config.teams.map((team) => ({ ...team, models: ['*'] })) };
}

async function start(setting: Setting = {}, options: Partial<GatewayOptions> = {}): Promise<void> {
  engines = [];
  retries = [];
  ejections = [];
  for (let index = 1; index < (setting.count ?? 2); index += 1) engines.push(await startFakeEngine());
  const others = engines;
  harness = await startHarness(
    (url) => {
      // The harness has the first engine; what the config needs of it is its URL.
      engines = [{ url } as FakeEngine, ...others];
      return configure(setting);
    },
    {
      onRetry: (_deployment, result) => void retries.push(result),
      onEjection: ({ upstream }) => void ejections.push(upstream),
      ...options,
    },
  );
  engines = [harness.engine, ...others];
}

afterEach(async () => {
  await harness.close();
  await Promise.all(engines.slice(1).map((engine) => engine.close()));
});

const answerAll = (script: Script): void => {
  for (const engine of engines) engine.answerWith(script);
};
const refuse =
  (status: number): Script =>
  (res) =>
    void res.writeHead(status, { 'content-type': 'text/plain' }).end(`engine says ${status}`);
const succeed: Script = (res) => void res.end('{}');
const reset: Script = (res) => void res.destroy();
const asked = (): number[] => engines.map(({ requests }) => requests.length);

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve));
}

/** Sends requests one after the other. */
async function sendMany(count: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let index = 0; index < count; index += 1) answers.push(await send(harness.port));
  return answers;
}

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
    harness.clock.advance(1300);
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
    harness.clock.advance(1300);
    await sendMany(40);
    expect([asked()[0], ejections.length]).toEqual([4, 2]);
    harness.clock.advance(1300);
    await sendMany(20);
    expect(asked()[0]).toBe(4);
    harness.clock.advance(1300);
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
    harness.clock.advance(5001);
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
    harness.clock.advance(3100);
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
    harness.clock.advance(20_000);
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
