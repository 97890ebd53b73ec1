import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerStream, CHAT_ANSWER, chatEvents } from '#test/support/fake-engine.ts';
import { chatBody, type Harness, send, startHarness } from './harness.ts';

describe('relay', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness();
  });
  afterEach(() => harness.close());

  it('an answer reaches the client byte for byte and leaves one record with the reported tokens', async () => {
    const answer = await send(harness.port, { headers: { 'x-request-id': 'mine-1' } });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe(JSON.stringify(CHAT_ANSWER));
    expect(answer.headers['x-request-id']).toBe('mine-1');
    expect(answer.headers['x-inferometer-deployment']).toBe('llama-70b');
    expect(answer.headers['x-inferometer-upstream']).toBe('trt-1');
    expect(answer.headers['server-timing']).toMatch(/^gateway;dur=\d+\.\d{3}$/);
    expect(harness.metering.records).toMatchObject([
      {
        team: 'search',
        project: 'ranking',
        clientRequestId: 'mine-1',
        requestId: answer.headers['x-inferometer-request-id'],
        outcome: 'completed',
        status: 200,
        tokens: { input: 5, cachedInput: 2, output: 3, reasoning: null },
        tokenSource: 'reported',
        model: 'llama-3.1-70b',
        upstream: 'trt-1',
        lastAttempt: true,
      },
    ]);
  });

  it('usage is asked for by splicing, and its chunk is taken out again while every other byte stays', async () => {
    harness.engine.answerWith(answerStream(chatEvents(['Hel', 'lo'], { usage: true })));
    const answer = await send(harness.port, { body: '{"model":"llama-3.1-70b","stream":true,"messages":[]}' });
    expect(answer.text).toBe(chatEvents(['Hel', 'lo'], { usage: false }).join(''));
    expect(harness.engine.requests[0]?.body.toString()).toBe(
      '{"stream_options":{"include_usage":true},"model":"served","stream":true,"messages":[]}',
    );
    expect(harness.metering.records).toMatchObject([
      { outcome: 'completed', tokens: { input: 5, output: 2 }, tokenSource: 'reported', stream: true },
    ]);
    expect(harness.metering.contents.reduce((sum, { steps }) => sum + steps, 0)).toBe(2);
  });

  it('a client that asked for usage gets the stream untouched', async () => {
    const events = chatEvents(['Hel', 'lo'], { usage: true });
    harness.engine.answerWith(answerStream(events));
    const answer = await send(harness.port, { body: chatBody({ stream: true, stream_options: {} }) });
    expect(answer.text).toBe(events.join(''));
  });
});
