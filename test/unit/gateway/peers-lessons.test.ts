// What went wrong in other gateways and must not go wrong here: the lessons of the request path, by their row in peers-lessons.md. A lesson that
// a suite of its own covers is named with it; the others are shown here. Rows on budgets, stores, workers and GPU telemetry belong to other folders.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, test } from 'vitest';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { Admission } from '#tenancy/admission.ts';
import { answerJson, answerStream, createGate } from '#test/support/fake-engine.ts';
import { openRaw } from '#test/support/raw-http.ts';
import { createChatAndRanker } from './chat-and-ranker.ts';
import { post } from './ending-kinds.ts';
import { chatBody, createConfig, type Harness, send, startHarness } from './harness.ts';
import { CHAT, STREAMING } from './route-shapes.ts';

/** Rows whose lesson another suite holds: file, and words of the test's name. */
const ELSEWHERE: readonly [number, string, string, string][] = [
  [1, 'a hang-up is billed', 'endings', 'of $protocol $stage, when $how'],
  [2, 'usage seen before a hang-up counts', 'client-endings', 'between usage and [DONE]: aborted, with the tokens'],
  [
    3,
    'running counts, taken out again',
    'continuous-usage',
    'running counts are asked for and taken out of every event',
  ],
  [4, 'a hang-up ends the engine’s work', 'client-endings', 'half way: the engine is let go'],
  [5, 'zero is a count', 'route-matrix', 'zero, which is a count'],
  [6, 'usage beside choices counts', 'route-matrix', 'usage in the chunk that also has choices counts'],
  [7, 'usage is asked for and stripped', 'relay', 'usage is asked for by splicing'],
  [8, 'stream_options with stream alone', 'route-matrix', 'stream_options goes with stream: true alone'],
  [9, 'events split over chunks stay as they are', 'sse-scanner', 'every single cut of a stream gives one result'],
  [11, 'failures have their record', 'engine-endings', 'one record, and the client never takes it for an end'],
  [13, 'a client may go at [DONE]', 'client-endings', 'after [DONE] and before the end: completed'],
  [14, 'cumulative counts replace', 'read-usage', 'the last cumulative count replaces the ones before'],
  [15, 'no output is not billed as output', 'route-matrix', 'hangs up before any content pays for no output'],
  [16, 'nor is all of it', 'route-matrix', 'pays for what it was sent, not for nothing and not for all'],
  [17, 'error texts are free', 'route-matrix', 'an error in the middle is an error, and its text is nobody’s output'],
  [18, 'usage: null is no zero', 'route-matrix', 'a whole answer with null usage is estimated'],
  [20, 'older frontends without usage', 'upstream-streams', 'no usage chunk although it was asked for'],
  [28, 'unknown keys are errors', '../config/load-config', 'unknown key: did you mean port?'],
  [38, 'attempts of one request', 'fallback-deployments', 'when the first one %s'],
  [44, 'queues and bodies that wait are bounded', 'replica-set', 'keeps no more bodies waiting than memory allows'],
  [46, 'hang-ups leak nothing', 'failures', 'hundreds of hang-ups leave no connection'],
  [47, 'nothing is held back', 'failures', 'each event reaches the client before the next one exists'],
];

test.each(ELSEWHERE)('row %i: %s (%s)', (_row, _lesson, file, name) => {
  expect(readFileSync(join(import.meta.dirname, `${file}.test.ts`), 'utf8')).toContain(name);
});

let harness: Harness;
afterEach(async () => {
  await (harness as Harness | undefined)?.close();
});

describe('row 10: a route is never unbilled unnoticed', () => {
  const usage = { prompt: 9, cached: 4, completion: 7, reasoning: 2 };
  const cases = STREAMING.flatMap((route) =>
    [true, false].flatMap((stream) => [usage, null].map((said) => ({ path: route.path, stream, said, route }))),
  );
  it.each(cases)('$path, stream $stream, usage $said', async ({ route, stream, said }) => {
    harness = await startHarness();
    const script = stream
      ? answerStream([...route.opening(said), route.content('Hel'), route.content('lo'), ...route.closing(said)])
      : answerJson(route.whole(said));
    harness.engine.answerWith(script);
    await send(harness.port, { path: route.path, body: { ...route.body, stream } });
    const [record] = harness.metering.records;
    expect(record?.tokenSource).toBe(said === null ? (stream ? 'counted' : 'estimated') : 'reported');
    expect(record?.tokens.input).toBeGreaterThan(0);
    expect(record?.tokens.output).toBeGreaterThan(0);
  });
});

describe('row 12: metrics are told of requests whose client has gone', () => {
  it.each(['hang-up', 'timeout', 'drain'])('%s', async (how) => {
    const told: UsageRecord[] = [];
    const began = createGate();
    harness = await startHarness(undefined, { listeners: [{ recordFinished: (record) => void told.push(record) }] });
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(CHAT.content('Hel'), () => began.open());
    });
    const client = openRaw(harness.port, post(CHAT.path, { ...CHAT.body, stream: true }));
    await began.opened;
    await client.until('\r\n\r\n');
    if (how === 'hang-up') client.hangUp();
    else if (how === 'timeout') harness.clock.advance(600_500);
    else await harness.gateway.drain(1);
    await harness.metering.whenRecorded(1);
    const outcome = { 'hang-up': 'client_aborted', timeout: 'timed_out', drain: 'interrupted' }[how];
    expect(told).toMatchObject([{ outcome, tokens: { output: 1 } }]);
    client.hangUp();
  });
});

describe('rows 19 and 22: buckets are disjoint, and what the engine said is never overwritten', () => {
  it.each([
    [
      'a total that contradicts its parts',
      { prompt_tokens: 8, completion_tokens: 2, total_tokens: 298 },
      [8, null, 2, null],
    ],
    ['a total in place of the completion', { prompt_tokens: 8, total_tokens: 11 }, [8, null, 3, null]],
    [
      'cached tokens',
      { prompt_tokens: 8, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 8 } },
      [0, 8, 2, null],
    ],
    [
      'more cached than prompt, more reasoning than completion',
      {
        prompt_tokens: 8,
        completion_tokens: 2,
        prompt_tokens_details: { cached_tokens: 80 },
        completion_tokens_details: { reasoning_tokens: 20 },
      },
      [0, 8, 0, 2],
    ],
  ])('%s', async (_name, usage, [input, cachedInput, output, reasoning]) => {
    harness = await startHarness();
    harness.engine.answerWith(answerJson({ choices: [{ message: { content: 'x' } }], usage }));
    await send(harness.port);
    expect(harness.metering.records).toMatchObject([
      { tokenSource: 'reported', tokens: { input, cachedInput, output, reasoning } },
    ]);
  });
});

describe('row 27: no route goes around limits and budgets', () => {
  it.each([
    ['/v1/chat/completions', chatBody()],
    ['/v1/embeddings', { model: 'm', input: 'x' }],
    ['/v1/responses', { model: 'm', input: 'x' }],
    ['/v1/messages', { model: 'm', messages: [], max_tokens: 3 }],
    ['/v1/rerank', { model: 'm', query: 'x', documents: [] }],
    ['/v1/audio/speech', { input: 'x' }],
    ['/v1/images/generations', { prompt: 'x' }],
    ['/v2/models/ranker/infer', { inputs: [] }],
    ['/v2/models/ranker/generate', { text_input: 'x' }],
    ['/v2/models/ranker/generate_stream', { text_input: 'x' }],
  ])('%s', async (path, body) => {
    const asked: string[] = [];
    const admission: Admission = {
      admit: (caller) => {
        asked.push(caller.team);
        return { headers: {}, release: () => void asked.push('released') };
      },
    };
    harness = await startHarness(
      (url) => {
        const config = createConfig(createChatAndRanker(url, { chat: { models: ['m', 'llama-3.1-70b'] } }));
        return { ...config, teams: config.teams.map((team) => ({ ...team, limits: { concurrency: 9 } })) };
      },
      { admission },
    );
    expect((await send(harness.port, { path, body })).status).toBe(200);
    while (asked.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toEqual(['search', 'released']);
    // What no deployment forwards is refused before anybody is asked.
    expect((await send(harness.port, { path: '/v1/batches', body })).status).toBe(404);
    expect(asked).toHaveLength(2);
  });
});

describe('row 30: nobody is charged by the word of a header', () => {
  it.each(['x-team', 'x-inferometer-team', 'x-litellm-customer-id', 'openai-organization', 'x-forwarded-user'])(
    '%s',
    async (name) => {
      harness = await startHarness();
      await send(harness.port, { headers: { [name]: 'ads' } });
      expect(harness.metering.records).toMatchObject([{ team: 'search', project: 'ranking' }]);
    },
  );
});

describe('row 37: reading never bills', () => {
  it.each([
    '/v1/models',
    '/v1/models/llama-3.1-70b',
    '/v1/responses/resp_1',
    '/healthz',
    '/readyz',
    '/v2/health/ready',
  ])('GET %s', async (path) => {
    harness = await startHarness();
    await send(harness.port, { method: 'GET', path });
    expect(harness.metering.starts).toEqual([]);
    expect(harness.engine.requests).toEqual([]);
  });
});

test('row 43: of a large body only what is changed is touched', async () => {
  harness = await startHarness();
  const image = Buffer.alloc(150_000, 7).toString('base64');
  const body = `{ "messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,${image}"}}]}] ,\n "x":1e400,"model" : "llama-3.1-70b"}`;
  await send(harness.port, { body });
  expect(String(harness.engine.requests[0]?.body)).toBe(body.replace('"llama-3.1-70b"', '"served"'));
});

test('beyond the rows: a picture in a prompt is not taken for a hundred thousand bytes of text', async () => {
  harness = await startHarness();
  const picture = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(150_000)}` } };
  for (const text of ['What is this?', null]) {
    const content = text === null ? [picture] : [{ type: 'text', text }, picture];
    await send(harness.port, { body: { model: 'llama-3.1-70b', messages: [{ role: 'user', content }] } });
  }
  const [described, alone] = harness.metering.starts.map(({ promptBytes }) => promptBytes);
  expect(described).toBeLessThan(100);
  expect(alone).toBeLessThan(20_000);
});

test('beyond the rows: prompts that begin alike are metered as such, work without tokens without any print', async () => {
  harness = await startHarness();
  const system = 'You answer questions about the annual report. '.repeat(20);
  for (const question of ['Revenue?', 'Costs?'])
    await send(harness.port, {
      body: { model: 'llama-3.1-70b', messages: [{ role: 'user', content: system + question }] },
    });
  await send(harness.port, { path: '/v1/audio/speech', body: { input: system } });
  const [one, other, speech] = harness.metering.starts.map(({ promptPrint }) => promptPrint);
  expect(one?.marks.length).toBeGreaterThan(5);
  expect(other?.marks).toEqual(one?.marks);
  expect(speech).toBeNull();
});

test('beyond the rows: GPU time is metered on every route, whatever it says of tokens', async () => {
  harness = await startHarness();
  for (const path of ['/v1/audio/speech', '/v1/images/generations', '/v1/moderations'])
    await send(harness.port, { path, body: { input: 'x' } });
  expect(harness.metering.starts.map(({ work }) => work)).toEqual(['duration', 'duration', 'duration']);
  expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(['completed', 'completed', 'completed']);
});
