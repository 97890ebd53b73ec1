// One model name in several deployments: a request that no engine of the first one takes goes on to the next, within the retry budget, with a
// record for each attempt; and nothing goes on that an engine may have worked on, or that the client chose itself.
import { afterEach, describe, expect, it } from 'vitest';
import type { DeploymentConfig, UpstreamConfig } from '#config/config.ts';
import type { GatewayOptions } from '#gateway/create-gateway.ts';
import type { Admission } from '#tenancy/admission.ts';
import { answerJson, answerStream, type FakeEngine, type Script, startFakeEngine } from '#test/support/fake-engine.ts';
import { openRaw } from '#test/support/raw-http.ts';
import {
  ADS_KEY,
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';
import { POST } from './raw-requests.ts';
import { refuse, reset, until } from './several-engines.ts';

let harness: Harness;
/** Of the first deployment, of the second, of the third. */
let engines: FakeEngine[][];
let retries: string[];

const NAMES = ['main', 'spare', 'last'];

interface Setting {
  /** Engines of each deployment. */
  readonly counts?: readonly number[];
  readonly deployment?: (index: number) => Partial<DeploymentConfig>;
  readonly upstream?: Partial<UpstreamConfig>;
  readonly options?: Partial<GatewayOptions>;
}

async function start({ counts = [1, 1], deployment, upstream, options }: Setting = {}): Promise<void> {
  retries = [];
  engines = await Promise.all(
    counts.map((count) => Promise.all(Array.from({ length: count }, () => startFakeEngine()))),
  );
  const open = createConfig(
    engines.map((group, index) => {
      const name = NAMES[index] as string;
      const upstreams = group.map(({ url }, at) =>
        createUpstreamConfig(url, { name: `${name}-${at}`, pool: `${name}/${at}`, ...upstream }),
      );
      const priority = 10 - index;
      const shared = { name, models: [`${name}-model`, 'shared'], servedModel: `${name}-served`, priority };
      return createDeploymentConfig(upstreams, { ...shared, ...deployment?.(index) });
    }),
  );
  // Only the team of the first key has limits to ask about.
  const teams = open.teams.map((team, index) => (index === 0 ? { ...team, limits: { concurrency: 9 } } : team));
  harness = await startHarness(() => ({ ...open, teams }), {
    onRetry: (name, result) => void retries.push(`${name} ${result}`),
    ...options,
  });
}
afterEach(async () => {
  await harness.close();
  await Promise.all(engines.flat().map((engine) => engine.close()));
});

const ask = (fields: object = {}, headers: Record<string, string> = {}) =>
  send(harness.port, { body: chatBody({ model: 'shared', ...fields }), headers });
const all = (index: number, script: Script): void => engines[index]?.forEach((engine) => engine.answerWith(script));
const asked = (): number[] => engines.map((group) => group.reduce((sum, { requests }) => sum + requests.length, 0));
const told = () =>
  harness.metering.records
    .toSorted((left, right) => left.attempt - right.attempt)
    .map(({ attempt, deployment, model, outcome, status, lastAttempt }) => [
      attempt,
      deployment,
      model,
      outcome,
      status,
      lastAttempt,
    ]);

const ANSWER = {
  choices: [{ message: { content: 'from the spare' } }],
  usage: { prompt_tokens: 3, completion_tokens: 4 },
};

describe('a request goes on to the next deployment', () => {
  const reasons: [string, number, () => unknown, number, readonly number[]][] = [
    ['refuses connections', 1, () => Promise.all((engines[0] ?? []).map((engine) => engine.close())), 502, [0, 1]],
    [
      'refuses connections on both engines',
      2,
      () => Promise.all((engines[0] ?? []).map((one) => one.close())),
      502,
      [0, 1],
    ],
    ['resets the connection', 1, () => all(0, reset), 502, [1, 1]],
    ['declines with 502', 1, () => all(0, refuse(502)), 502, [1, 1]],
    ['declines with 503 on both engines', 2, () => all(0, refuse(503)), 503, [2, 1]],
    ["declines with Dynamo's 529", 1, () => all(0, refuse(529)), 529, [1, 1]],
  ];
  it.each(reasons)('when the first one %s', async (_why, count, breakIt, status, sent) => {
    await start({ counts: [count, 1] });
    await breakIt();
    all(1, answerJson(ANSWER));
    const answer = await ask();
    expect([answer.status, answer.text]).toEqual([200, JSON.stringify(ANSWER)]);
    expect(answer.headers).toMatchObject({
      'x-inferometer-deployment': 'spare',
      'x-inferometer-upstream': 'spare-0',
    });
    expect(asked()).toEqual(sent);
    expect(JSON.parse(String(engines[1]?.[0]?.requests[0]?.body))).toMatchObject({ model: 'spare-served' });
    expect(told()).toEqual([
      ...Array.from({ length: count }, (_, index) => [
        index + 1,
        'main',
        'main-model',
        'upstream_error',
        status,
        false,
      ]),
      [count + 1, 'spare', 'spare-model', 'completed', 200, true],
    ]);
    expect(new Set(harness.metering.records.map(({ requestId }) => requestId)).size).toBe(1);
    expect(harness.metering.records.at(-1)).toMatchObject({ tokens: { input: 3, output: 4 } });
    expect(retries.at(-1)).toBe('spare answered');
  });

  it('however many requests there are, where nothing listens at the first one: nothing was sent, so nothing is added', async () => {
    const health = { path: '/health', intervalMs: 60_000, timeoutMs: 1000, unhealthyAfter: 1000 };
    await start({ counts: [2, 1], deployment: () => ({ health }) });
    await Promise.all((engines[0] ?? []).map((engine) => engine.close()));
    for (let index = 0; index < 12; index += 1) expect((await ask()).headers['x-inferometer-deployment']).toBe('spare');
    expect(retries).toHaveLength(24);
    expect(retries.filter((result) => result.endsWith('refused'))).toEqual([]);
  });

  it('until all its engines are left out, on a quiet gateway too: no client notices that they decline', async () => {
    await start({ counts: [2, 1] });
    all(0, refuse(503));
    for (let index = 0; index < 8; index += 1) expect((await ask()).status).toBe(200);
    // Three failures in a row leave an engine out, and then nobody asks there any more.
    expect(asked()).toEqual([6, 8]);
  });

  it('as a stream too, and through as many deployments as there are', async () => {
    await start({ counts: [1, 2, 1] });
    all(0, refuse(503));
    all(1, refuse(502));
    const event = 'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n';
    all(2, answerStream([event, 'data: [DONE]\n\n']));
    const answer = await ask({ stream: true });
    expect(answer).toMatchObject({ status: 200, complete: true, text: `${event}data: [DONE]\n\n` });
    expect(told().map(([, deployment, , , status, last]) => [deployment, status, last])).toEqual([
      ['main', 503, false],
      ['spare', 502, false],
      ['spare', 502, false],
      ['last', 200, true],
    ]);
  });

  it('when the line before the first one is full: nobody was asked there, so there is one attempt', async () => {
    await start({ deployment: () => ({ queue: { size: 0, timeoutMs: 1000 } }), upstream: { maxInFlight: 1 } });
    all(0, () => {});
    const body = JSON.stringify(chatBody({ model: 'shared' }));
    const busy = openRaw(harness.port, `${POST}content-length: ${body.length}\r\n\r\n${body}`);
    await until(() => engines[0]?.[0]?.requests.length === 1);
    all(1, answerJson(ANSWER));
    expect((await ask()).headers['x-inferometer-deployment']).toBe('spare');
    expect(told()).toEqual([[1, 'spare', 'spare-model', 'completed', 200, true]]);
    expect(retries).toEqual([]);
    busy.hangUp();
    await harness.metering.whenRecorded(2);
  });

  it("in KServe's protocol", async () => {
    await start({ deployment: () => ({ engine: 'triton', work: 'duration' }) });
    const answer =
      (script: Script): Script =>
      (res, request) =>
        request.method === 'POST' ? script(res, request) : void res.end('{}');
    all(0, answer(refuse(503)));
    all(1, answer(answerJson({ text_output: 'x' })));
    const { headers, text } = await send(harness.port, {
      path: '/v2/models/shared/generate',
      body: { text_input: 'hello', max_tokens: 3 },
    });
    expect([text, headers['x-inferometer-deployment']]).toEqual(['{"text_output":"x"}', 'spare']);
    expect(engines[1]?.[0]?.requests.at(-1)?.path).toBe('/v2/models/spare-served/generate');
    expect(told().map(([, deployment]) => deployment)).toEqual(['main', 'spare']);
  });

  it('with its own field rules, admitted and let go once', async () => {
    const admitted: string[] = [];
    const admission: Admission = {
      admit: (_caller, request) => {
        admitted.push(request.deployment);
        return { headers: { 'x-ratelimit-limit-requests': '7' }, release: () => void admitted.push('released') };
      },
    };
    await start({
      deployment: (index) => ({ caps: index === 0 ? { maxTokens: 9 } : { maxTokens: 5 } }),
      options: { admission },
    });
    all(0, refuse(503));
    const answer = await ask({ max_tokens: 100 });
    expect(JSON.parse(String(engines[0]?.[0]?.requests[0]?.body))).toMatchObject({ max_tokens: 9 });
    expect(JSON.parse(String(engines[1]?.[0]?.requests[0]?.body))).toMatchObject({ max_tokens: 5 });
    expect(answer).toMatchObject({ status: 200, headers: { 'x-ratelimit-limit-requests': '7' } });
    await until(() => admitted.length > 1);
    expect(admitted).toEqual(['main', 'released']);
  });
});

describe('a forwarded route of several deployments', () => {
  const speak = (headers: Record<string, string> = {}) =>
    send(harness.port, { path: '/v1/audio/speech', body: { model: 'shared', input: 'x' }, headers });

  it('goes by priority too, and to the one that a header names', async () => {
    await start({ deployment: (index) => ({ priority: index }) });
    expect((await speak()).headers['x-inferometer-deployment']).toBe('spare');
    expect((await speak({ 'x-inferometer-deployment': 'main' })).headers['x-inferometer-deployment']).toBe('main');
    const form = '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nshared\r\n--b--\r\n';
    const uploaded = await send(harness.port, {
      path: '/v1/audio/transcriptions',
      body: form,
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
    });
    expect(uploaded.headers['x-inferometer-deployment']).toBe('spare');
  });

  it('passes over a deployment whose engines are all left out', async () => {
    await start();
    all(0, refuse(503));
    for (let index = 0; index < 4; index += 1) expect((await speak()).status).toBe(200);
    expect(asked()).toEqual([3, 4]);
  });

  it.each([
    ['declines', () => all(0, refuse(503)), 503, [1, 1]],
    ['refuses connections', () => engines[0]?.[0]?.close(), 502, [0, 1]],
  ])('goes on to the next one when the first %s, renamed for it', async (_why, breakIt, status, sent) => {
    await start();
    await breakIt();
    all(1, answerJson(ANSWER));
    const answer = await speak();
    expect([answer.status, answer.text]).toEqual([200, JSON.stringify(ANSWER)]);
    expect(answer.headers).toMatchObject({ 'x-inferometer-deployment': 'spare', 'x-inferometer-upstream': 'spare-0' });
    expect(asked()).toEqual(sent);
    expect(JSON.parse(String(engines[1]?.[0]?.requests[0]?.body))).toEqual({ model: 'spare-served', input: 'x' });
    expect(told()).toEqual([
      [1, 'main', 'main-model', 'upstream_error', status, false],
      [2, 'spare', 'spare-model', 'completed', 200, true],
    ]);
  });

  it('is recorded by the glob of each deployment that was tried, and never sent to one without', async () => {
    const globs = [['/v1/audio/speech'], [], ['/v1/audio/*']];
    await start({ counts: [1, 1, 1], deployment: (index) => ({ passThrough: globs[index] ?? [] }) });
    all(0, refuse(503));
    all(2, answerJson(ANSWER));
    expect((await speak()).status).toBe(200);
    expect(asked()).toEqual([1, 0, 1]);
    expect(harness.metering.records.map(({ deployment, route }) => [deployment, route])).toEqual([
      ['main', '/v1/audio/speech'],
      ['last', '/v1/audio/*'],
    ]);
  });

  it('stays at the one that a header names, and at one that its engine answered', async () => {
    await start();
    all(0, refuse(503));
    expect(await speak({ 'x-inferometer-deployment': 'main' })).toMatchObject({ status: 503 });
    all(0, refuse(500));
    expect(await speak()).toMatchObject({ status: 500 });
    expect(asked()).toEqual([2, 0]);
  });

  describe('that streams its body', () => {
    const upload = () =>
      send(harness.port, {
        path: '/v1/audio/speech?model=shared',
        body: 'x'.repeat(100_000),
        headers: { 'content-type': 'application/octet-stream' },
      });

    it('goes on where the line before the first one is full: decided before a byte is read, so the body is whole', async () => {
      await start({ deployment: () => ({ queue: { size: 0, timeoutMs: 1000 } }), upstream: { maxInFlight: 1 } });
      all(0, () => {});
      const body = JSON.stringify(chatBody({ model: 'main-model' }));
      const busy = openRaw(harness.port, `${POST}content-length: ${body.length}\r\n\r\n${body}`);
      await until(() => engines[0]?.[0]?.requests.length === 1);
      all(1, answerJson(ANSWER));
      const answer = await upload();
      expect([answer.status, answer.headers['x-inferometer-deployment']]).toEqual([200, 'spare']);
      expect(engines[1]?.[0]?.requests[0]?.body).toHaveLength(100_000);
      expect(told()).toEqual([[1, 'spare', 'spare-model', 'completed', 200, true]]);
      busy.hangUp();
      await harness.metering.whenRecorded(2);
    });

    it('stays where it was sent: its body is gone', async () => {
      await start();
      all(0, refuse(503));
      expect(await upload()).toMatchObject({ status: 503 });
      expect(asked()).toEqual([1, 0]);
    });
  });
});

describe('a request stays where it is', () => {
  it.each([400, 404, 429, 500, 501, 504])('when the engine answers %d', async (status) => {
    await start();
    all(0, refuse(status));
    expect(await ask()).toMatchObject({ status, text: `engine says ${status}` });
    expect(asked()).toEqual([1, 0]);
  });

  it('when the answer has begun', async () => {
    await start();
    all(0, (res) => void res.writeHead(200, { 'content-type': 'application/json' }).write('{', () => res.destroy()));
    expect(await ask()).toMatchObject({ status: 200, complete: false });
    expect(asked()).toEqual([1, 0]);
  });

  it('when two engines were lost with it: it may be what kills them', async () => {
    await start({ counts: [2, 1] });
    all(0, reset);
    expect(await ask()).toMatchObject({ status: 502 });
    expect(asked()).toEqual([2, 0]);
    await harness.close();
    await Promise.all(engines.flat().map((engine) => engine.close()));
    await start({ counts: [1, 2] });
    all(0, reset);
    all(1, reset);
    expect(await ask()).toMatchObject({ status: 502 });
    expect(asked()).toEqual([1, 1]);
  });

  it('when the client names the deployment', async () => {
    await start();
    all(0, refuse(503));
    expect(await ask({}, { 'x-inferometer-deployment': 'main' })).toMatchObject({ status: 503 });
    expect(await ask({ model: 'main-model' })).toMatchObject({ status: 503 });
    expect(asked()).toEqual([2, 0]);
  });

  it('when its team may not use the other one', async () => {
    await start({ deployment: (index) => ({ models: index === 0 ? ['gemma-7b', 'both'] : ['other', 'both'] }) });
    all(0, refuse(503));
    const { status } = await send(harness.port, { body: chatBody({ model: 'both' }), key: ADS_KEY });
    expect(status).toBe(503);
    expect(asked()).toEqual([1, 0]);
  });

  it('when the last deployment fails too: its answer passes, and every attempt is in the books', async () => {
    await start();
    all(0, refuse(503));
    all(1, refuse(502));
    expect(await ask()).toMatchObject({
      status: 502,
      text: 'engine says 502',
      headers: { 'x-inferometer-deployment': 'spare' },
    });
    expect(told().map(([, deployment, , , status, last]) => [deployment, status, last])).toEqual([
      ['main', 503, false],
      ['spare', 502, true],
    ]);
  });

  it('when the retry budget is spent', async () => {
    const health = { path: '/health', intervalMs: 60_000, timeoutMs: 1000, unhealthyAfter: 1000 };
    await start({ deployment: () => ({ health }) });
    all(0, refuse(503));
    const statuses: number[] = [];
    for (let index = 0; index < 16; index += 1) statuses.push((await ask()).status);
    // At least 10 in ten seconds, and a fifth of the requests.
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(statuses.slice(10)).toEqual(Array.from({ length: 6 }, () => 503));
    expect(retries.filter((result) => result === 'main refused')).toHaveLength(6);
    expect(asked()).toEqual([16, 10]);
  });
});
