// One model name in several deployments: a request that no engine of the first one takes goes on to the next, within the retry budget, with a
// record for each attempt; and nothing goes on that an engine may have worked on, or that the client chose itself.
import { afterEach, describe, expect, it } from 'vitest';
import type { Admission } from '#tenancy/admission.ts';
import { answerJson, answerStream, type Script } from '#test/support/fake-engine.ts';
import { openRaw } from '#test/support/raw-http.ts';
import { ADS_KEY, chatBody, send } from './harness.ts';
import { POST } from './raw-requests.ts';
import { ANSWER, answerOf, ask, asked, engines, harness, retries, start, stop, told } from './several-deployments.ts';
import { refuse, reset, until } from './several-engines.ts';

afterEach(stop);

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
    ['resets the connection', 1, () => answerOf(0, reset), 502, [1, 1]],
    ['declines with 502', 1, () => answerOf(0, refuse(502)), 502, [1, 1]],
    ['declines with 503 on both engines', 2, () => answerOf(0, refuse(503)), 503, [2, 1]],
    ["declines with Dynamo's 529", 1, () => answerOf(0, refuse(529)), 529, [1, 1]],
  ];
  it.each(reasons)('when the first one %s', async (_why, count, breakIt, status, sent) => {
    await start({ counts: [count, 1] });
    await breakIt();
    answerOf(1, answerJson(ANSWER));
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
    answerOf(0, refuse(503));
    for (let index = 0; index < 8; index += 1) expect((await ask()).status).toBe(200);
    // Three failures in a row leave an engine out, and then nobody asks there any more.
    expect(asked()).toEqual([6, 8]);
  });

  it('as a stream too, and through as many deployments as there are', async () => {
    await start({ counts: [1, 2, 1] });
    answerOf(0, refuse(503));
    answerOf(1, refuse(502));
    const event = 'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n';
    answerOf(2, answerStream([event, 'data: [DONE]\n\n']));
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
    answerOf(0, () => {});
    const body = JSON.stringify(chatBody({ model: 'shared' }));
    const busy = openRaw(harness.port, `${POST}content-length: ${body.length}\r\n\r\n${body}`);
    await until(() => engines[0]?.[0]?.requests.length === 1);
    answerOf(1, answerJson(ANSWER));
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
    answerOf(0, answer(refuse(503)));
    answerOf(1, answer(answerJson({ text_output: 'x' })));
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
    answerOf(0, refuse(503));
    const answer = await ask({ max_tokens: 100 });
    expect(JSON.parse(String(engines[0]?.[0]?.requests[0]?.body))).toMatchObject({ max_tokens: 9 });
    expect(JSON.parse(String(engines[1]?.[0]?.requests[0]?.body))).toMatchObject({ max_tokens: 5 });
    expect(answer).toMatchObject({ status: 200, headers: { 'x-ratelimit-limit-requests': '7' } });
    await until(() => admitted.length > 1);
    expect(admitted).toEqual(['main', 'released']);
  });
});

describe('a request stays where it is', () => {
  it.each([400, 404, 429, 500, 501, 504])('when the engine answers %d', async (status) => {
    await start();
    answerOf(0, refuse(status));
    expect(await ask()).toMatchObject({ status, text: `engine says ${status}` });
    expect(asked()).toEqual([1, 0]);
  });

  it('when the answer has begun', async () => {
    await start();
    answerOf(
      0,
      (res) => void res.writeHead(200, { 'content-type': 'application/json' }).write('{', () => res.destroy()),
    );
    expect(await ask()).toMatchObject({ status: 200, complete: false });
    expect(asked()).toEqual([1, 0]);
  });

  it('when two engines were lost with it: it may be what kills them', async () => {
    await start({ counts: [2, 1] });
    answerOf(0, reset);
    expect(await ask()).toMatchObject({ status: 502 });
    expect(asked()).toEqual([2, 0]);
    await stop();
    await start({ counts: [1, 2] });
    answerOf(0, reset);
    answerOf(1, reset);
    expect(await ask()).toMatchObject({ status: 502 });
    expect(asked()).toEqual([1, 1]);
  });

  it('when the client names the deployment', async () => {
    await start();
    answerOf(0, refuse(503));
    expect(await ask({}, { 'x-inferometer-deployment': 'main' })).toMatchObject({ status: 503 });
    expect(await ask({ model: 'main-model' })).toMatchObject({ status: 503 });
    expect(asked()).toEqual([2, 0]);
  });

  it('when its team may not use the other one', async () => {
    await start({ deployment: (index) => ({ models: index === 0 ? ['gemma-7b', 'both'] : ['other', 'both'] }) });
    answerOf(0, refuse(503));
    const { status } = await send(harness.port, { body: chatBody({ model: 'both' }), key: ADS_KEY });
    expect(status).toBe(503);
    expect(asked()).toEqual([1, 0]);
  });

  it('when the last deployment fails too: its answer passes, and every attempt is in the books', async () => {
    await start();
    answerOf(0, refuse(503));
    answerOf(1, refuse(502));
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
    answerOf(0, refuse(503));
    const statuses: number[] = [];
    for (let index = 0; index < 16; index += 1) statuses.push((await ask()).status);
    // At least 10 in ten seconds, and a fifth of the requests.
    expect(statuses.slice(0, 10)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(statuses.slice(10)).toEqual(Array.from({ length: 6 }, () => 503));
    expect(retries.filter((result) => result === 'main refused')).toHaveLength(6);
    expect(asked()).toEqual([16, 10]);
  });
});
