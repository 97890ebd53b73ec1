import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, answerStream, chatEvents, type Script } from '#test/support/fake-engine.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

const events = chatEvents(['Hel', 'lo'], { usage: false });

/** An engine whose schema has no stream_options. */
const strict =
  (refusal: unknown = { error: "Unexpected keys: {'stream_options'}" }, status = 422): Script =>
  (res, request) => {
    const script = request.body.includes('stream_options') ? answerJson(refusal, status) : answerStream(events);
    return script(res, request);
  };

describe('fields that engines refuse', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness();
  });
  afterEach(() => harness.close());

  const ask = (body: object = {}) => send(harness.port, { body: chatBody({ stream: true, ...body }) });
  const asked = (): boolean[] => harness.engine.requests.map(({ body }) => body.includes('stream_options'));

  it.each([
    ['a schema that names the field', strict()],
    ['a status without a word', strict({}, 400)],
  ])('%s is asked again without it, is remembered, and the client sees one good answer', async (_name, script) => {
    harness.engine.answerWith(script);
    for (let count = 0; count < 3; count += 1) expect((await ask()).text).toBe(events.join(''));
    expect(asked()).toEqual([true, false, false, false]);
    expect(harness.metering.records).toHaveLength(3);
    expect(harness.metering.starts.map(({ recordId }) => recordId)).toEqual(
      harness.metering.records.map(({ recordId }) => recordId),
    );
    expect(harness.metering.records).toMatchObject(
      [1, 2, 3].map(() => ({ attempt: 1, outcome: 'completed', tokenSource: 'counted', tokens: { output: 2 } })),
    );
  });

  it('the memory is of one route', async () => {
    harness.engine.answerWith(strict());
    await ask();
    await send(harness.port, { path: '/v1/completions', body: { model: 'llama-3.1-70b', prompt: 'x', stream: true } });
    expect(asked()).toEqual([true, false, true, false]);
  });

  it('it is forgotten after some minutes, and on reload', async () => {
    harness.engine.answerWith(strict());
    await ask();
    harness.clock.advance(11 * 60_000);
    await ask();
    harness.gateway.reload(createConfig([createDeploymentConfig([createUpstreamConfig(harness.engine.url)])]));
    await ask();
    expect(asked()).toEqual([true, false, true, false, true, false]);
  });

  it('a refusal of something else is the answer as it came, and nothing is remembered', async () => {
    const refusal = { error: { message: 'temperature is too high', type: 'x', param: null, code: null } };
    harness.engine.answerWith(answerJson(refusal, 400));
    const answer = await ask();
    expect([answer.status, answer.text]).toEqual([400, JSON.stringify(refusal)]);
    expect(harness.metering.records).toMatchObject([{ attempt: 1, status: 400, outcome: 'upstream_error' }]);
    harness.engine.answerWith(answerStream(chatEvents(['x'], { usage: true })));
    await ask();
    expect(asked().at(-1)).toBe(true);
  });

  it('an engine known to take the field is not asked twice for every mistake of a client', async () => {
    harness.engine.answerWith(answerStream(chatEvents(['x'], { usage: true })));
    await ask();
    harness.engine.answerWith(answerJson({ error: 'temperature is too high' }, 400));
    await ask();
    expect(asked()).toEqual([true, true]);
    harness.engine.answerWith(strict());
    expect((await ask()).text).toBe(events.join(''));
  });

  it('what the client itself sent is never taken out', async () => {
    harness.engine.answerWith(strict());
    const answer = await ask({ stream_options: { include_usage: true } });
    expect(answer.status).toBe(422);
    expect(asked()).toEqual([true]);
  });

  it('a refusal that breaks off is no reason to ask again', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(422, { 'content-type': 'application/json', 'content-length': '99' });
      res.write('{"error":"stream_options', () => res.destroy());
    });
    const answer = await ask();
    expect([answer.status, answer.complete]).toEqual([422, false]);
    expect(harness.engine.requests).toHaveLength(1);
    expect(harness.metering.records).toHaveLength(1);
  });

  it('a client that leaves during the second sending is one aborted request', async () => {
    const held: (() => void)[] = [];
    harness.engine.answerWith((res, request) =>
      request.body.includes('stream_options') ? strict()(res, request) : void held.push(() => res.end()),
    );
    const controller = new AbortController();
    const answer = fetch(`${harness.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-search-0123456789', 'content-type': 'application/json' },
      body: JSON.stringify(chatBody({ stream: true })),
      signal: controller.signal,
    }).catch(() => {});
    while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await answer;
    await harness.metering.whenRecorded(1);
    await harness.engine.hungUp();
    expect(harness.metering.records).toMatchObject([{ outcome: 'client_aborted', attempt: 1, status: 499 }]);
  });
});
