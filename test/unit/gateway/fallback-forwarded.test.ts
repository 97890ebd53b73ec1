// Forwarded routes of a model in several deployments: which of them gets a request, and when it goes on to the next one.
import { afterEach, describe, expect, it } from 'vitest';
import { answerJson } from '#test/support/fake-engine.ts';
import { openRaw } from '#test/support/raw-http.ts';
import { chatBody, send } from './harness.ts';
import { POST } from './raw-requests.ts';
import { ANSWER, answerOf, asked, engines, harness, start, stop, told } from './several-deployments.ts';
import { refuse, until } from './several-engines.ts';

afterEach(stop);

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
    answerOf(0, refuse(503));
    for (let index = 0; index < 4; index += 1) expect((await speak()).status).toBe(200);
    expect(asked()).toEqual([3, 4]);
  });

  it.each([
    ['declines', () => answerOf(0, refuse(503)), 503, [1, 1]],
    ['refuses connections', () => engines[0]?.[0]?.close(), 502, [0, 1]],
  ])('goes on to the next one when the first %s, renamed for it', async (_why, breakIt, status, sent) => {
    await start();
    await breakIt();
    answerOf(1, answerJson(ANSWER));
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
    answerOf(0, refuse(503));
    answerOf(2, answerJson(ANSWER));
    expect((await speak()).status).toBe(200);
    expect(asked()).toEqual([1, 0, 1]);
    expect(harness.metering.records.map(({ deployment, route }) => [deployment, route])).toEqual([
      ['main', '/v1/audio/speech'],
      ['last', '/v1/audio/*'],
    ]);
  });

  it('stays at the one that a header names, and at one that its engine answered', async () => {
    await start();
    answerOf(0, refuse(503));
    expect(await speak({ 'x-inferometer-deployment': 'main' })).toMatchObject({ status: 503 });
    answerOf(0, refuse(500));
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
      answerOf(0, () => {});
      const body = JSON.stringify(chatBody({ model: 'main-model' }));
      const busy = openRaw(harness.port, `${POST}content-length: ${body.length}\r\n\r\n${body}`);
      await until(() => engines[0]?.[0]?.requests.length === 1);
      answerOf(1, answerJson(ANSWER));
      const answer = await upload();
      expect([answer.status, answer.headers['x-inferometer-deployment']]).toEqual([200, 'spare']);
      expect(engines[1]?.[0]?.requests[0]?.body).toHaveLength(100_000);
      expect(told()).toEqual([[1, 'spare', 'spare-model', 'completed', 200, true]]);
      busy.hangUp();
      await harness.metering.whenRecorded(2);
    });

    it('stays where it was sent: its body is gone', async () => {
      await start();
      answerOf(0, refuse(503));
      expect(await upload()).toMatchObject({ status: 503 });
      expect(asked()).toEqual([1, 0]);
    });
  });
});
