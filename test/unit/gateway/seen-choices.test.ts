// What the books are told of a request's sequences: what it asked for where its protocol knows the field, and what its answer held.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerJson, answerStream } from '#test/support/fake-engine.ts';
import {
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

const CHAT = '/v1/chat/completions';
const MODEL = 'llama-3.1-70b';
const chunk = (index: number, word: string): string =>
  `data: ${JSON.stringify({ choices: [{ index, delta: { content: word } }] })}\n\n`;
const finish = (index: number): string =>
  `data: ${JSON.stringify({ choices: [{ index, delta: {}, finish_reason: 'stop' }] })}\n\n`;
const DONE = 'data: [DONE]\n\n';

it.each([
  ['one, where the engine ignored n', [0], 1],
  ['as many as it held', [0, 1, 2], 3],
])('a stream tells how many answers it held: %s', async (_what, indexes, sequences) => {
  const words = ['a', 'b', 'c', 'd'].flatMap((word) => indexes.map((index) => chunk(index, word)));
  harness.engine.answerWith(answerStream([...words, ...indexes.map(finish), DONE]));
  await send(harness.port, { path: CHAT, body: { model: MODEL, stream: true, n: 1000, messages: [] } });
  expect(harness.metering.starts).toMatchObject([{ sequences: 1000 }]);
  expect(harness.metering.ends).toMatchObject([{ sequences }]);
});

describe.each([
  ['vllm', 'are not believed where the engine knows no best_of', 2],
  ['tensorrt-llm', 'count where the engine runs them and returns the best', 2 * 8],
] as const)('on %s', (engine, what, sequences) => {
  it(`a whole answer tells how many answers it held; candidates behind them ${what}`, async () => {
    await harness.close();
    harness = await startHarness((url) =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url)], { engine })]),
    );
    const choices = [0, 1].map((index) => ({ index, message: { content: 'x' }, finish_reason: 'stop' }));
    harness.engine.answerWith(answerJson({ choices, usage: { prompt_tokens: 1, completion_tokens: 2 } }));
    await send(harness.port, { path: CHAT, body: { model: MODEL, n: 2, best_of: 16, messages: [] } });
    expect(harness.metering.starts).toMatchObject([{ sequences: 16 }]);
    expect(harness.metering.ends).toMatchObject([{ sequences }]);
  });
});

it('numbers of the answers of each prompt count for every prompt', async () => {
  harness.engine.answerWith(
    answerStream([...[0, 1].map((index) => `data: ${JSON.stringify({ choices: [{ text: 'a', index }] })}\n\n`), DONE]),
  );
  await send(harness.port, {
    path: '/v1/completions',
    body: { model: MODEL, stream: true, n: 2, prompt: ['a', 'b', 'c'] },
  });
  expect(harness.metering.ends).toMatchObject([{ sequences: 6 }]);
});

it.each([
  ['/v1/responses', { input: 'x' }],
  ['/v1/messages', { messages: [], max_tokens: 5 }],
  ['/v1/embeddings', { input: 'x' }],
])('%s knows neither n, best_of nor a list of prompts, and engines ignore them there', async (path, body) => {
  const wishes = { n: 1000, best_of: 1000, prompt: ['a', 'b', 'c'] };
  await send(harness.port, { path, body: { model: MODEL, ...body, ...wishes } });
  expect(harness.metering.starts).toMatchObject([{ sequences: 1, promptCount: 1 }]);
});

it('a list of prompts in a chat is none', async () => {
  await send(harness.port, { path: CHAT, body: { model: MODEL, messages: [], prompt: ['a', 'b', 'c'] } });
  expect(harness.metering.starts).toMatchObject([{ sequences: 1, promptCount: 1 }]);
});
