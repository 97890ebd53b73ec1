import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StreamObserver } from '#gateway/observe-answer.ts';
import { answerStream, createGate } from '#test/support/fake-engine.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  send,
  startHarness,
} from './harness.ts';

const usage = (prompt_tokens: number, completion_tokens: number): object => ({
  prompt_tokens,
  total_tokens: prompt_tokens + completion_tokens,
  completion_tokens,
  prompt_tokens_details: { cached_tokens: 2 },
});
const event = (body: object): string => `data: ${JSON.stringify(body)}\n\n`;
const chat = (content: string, index: number, rest: object): string =>
  event({ id: 'c-1', choices: [{ index, delta: { content }, logprobs: null }], ...rest });
const DONE = 'data: [DONE]\n\n';

/** Running counts of each event, and the same stream without them. */
const stream = (words: readonly (readonly [string, number])[], running: boolean): string[] => {
  const seen = new Map<number, number>();
  return words.map(([word, index]) => {
    const count = (seen.get(index) ?? 0) + 3;
    seen.set(index, count);
    return chat(word, index, running ? { usage: usage(7, count) } : {});
  });
};

describe('continuous usage', () => {
  let harness: Harness;
  beforeEach(async () => {
    harness = await startHarness((url) =>
      createConfig([createDeploymentConfig([createUpstreamConfig(url)], { continuousUsage: true })]),
    );
  });
  afterEach(() => harness.close());

  const words = [
    ['Hel', 0],
    ['"usage":{}', 0],
    ['lo', 1],
    ['!', 0],
  ] as const;

  it('running counts are asked for and taken out of every event again, byte for byte', async () => {
    const final = event({ id: 'c-1', choices: [], usage: usage(7, 12) });
    harness.engine.answerWith(answerStream([...stream(words, true), final, DONE]));
    const answer = await send(harness.port, { body: chatBody({ stream: true, n: 2 }) });
    expect(answer.text).toBe([...stream(words, false), DONE].join(''));
    expect(harness.engine.requests[0]?.body.toString()).toContain(
      '"stream_options":{"include_usage":true,"continuous_usage_stats":true}',
    );
    expect(harness.metering.records).toMatchObject([
      { outcome: 'completed', tokenSource: 'reported', tokens: { input: 5, cachedInput: 2, output: 12 } },
    ]);
  });

  it('a client that asked for the usage chunk gets it, and nothing more', async () => {
    const final = event({ id: 'c-1', choices: [], usage: usage(7, 12) });
    harness.engine.answerWith(answerStream([...stream(words, true), final, DONE]));
    const answer = await send(harness.port, {
      body: chatBody({ stream: true, stream_options: { include_usage: true } }),
    });
    expect(answer.text).toBe([...stream(words, false), final, DONE].join(''));
    const sent = JSON.parse(String(harness.engine.requests[0]?.body)) as { stream_options: unknown };
    expect(sent.stream_options).toEqual({ include_usage: true, continuous_usage_stats: true });
  });

  it('a client that asked for running counts gets all of them', async () => {
    const events = [...stream(words, true), event({ choices: [], usage: usage(7, 12) }), DONE];
    harness.engine.answerWith(answerStream(events));
    const answer = await send(harness.port, {
      body: chatBody({ stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } }),
    });
    expect(answer.text).toBe(events.join(''));
    expect(harness.metering.records).toMatchObject([{ tokens: { output: 12 }, tokenSource: 'reported' }]);
  });

  it('completions keep the null that trtllm-serve writes where it says no usage', async () => {
    const chunk = (value: unknown): string => event({ id: 'x', usage: value, choices: [{ index: 0, text: 'a' }] });
    harness.engine.answerWith(answerStream([chunk(usage(3, 1)), chunk(usage(3, 2)), DONE]));
    const answer = await send(harness.port, {
      path: '/v1/completions',
      body: { model: 'llama-3.1-70b', prompt: 'x', stream: true },
    });
    expect(answer.text).toBe([chunk(null), chunk(null), DONE].join(''));
  });

  it('a stream cut by its client has the exact counts of all choices, its prompt once', async () => {
    const gate = createGate();
    harness.engine.answerWith(async (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(stream(words, true).join(''));
      await gate.opened;
      res.end();
    });
    const controller = new AbortController();
    const answer = await fetch(`${harness.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-search-0123456789', 'content-type': 'application/json' },
      body: JSON.stringify(chatBody({ stream: true, n: 2 })),
      signal: controller.signal,
    });
    await answer.body?.getReader().read();
    controller.abort();
    await harness.metering.whenRecorded(1);
    gate.open();
    expect(harness.metering.records).toMatchObject([
      { outcome: 'client_aborted', tokenSource: 'reported', tokens: { input: 5, cachedInput: 2, output: 12 } },
    ]);
  });

  it('a stream cut by its engine has the counts said so far', async () => {
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(stream(words.slice(0, 2), true).join(''), () => res.destroy());
    });
    await send(harness.port, { body: chatBody({ stream: true }) });
    expect(harness.metering.records).toMatchObject([
      { outcome: 'upstream_error', tokenSource: 'reported', tokens: { input: 5, output: 6 } },
    ]);
  });

  it('is off unless the deployment says so', async () => {
    const { gateway, engine } = harness;
    gateway.reload(createConfig([createDeploymentConfig([createUpstreamConfig(engine.url)])]));
    await send(harness.port, { body: chatBody({ stream: true }) });
    expect(engine.requests[0]?.body.includes('continuous_usage_stats')).toBe(false);
  });
});

describe('cutting running counts out of a stream', () => {
  const observe = (chunks: readonly Buffer[]): string => {
    const observer = new StreamObserver({
      shape: 'chat',
      promptCount: 1,
      sequences: 2,
      removal: { chunk: true, running: true },
    });
    const pieces = chunks.map((chunk) => observer.observe(chunk));
    pieces.push(observer.end());
    return Buffer.concat(pieces.filter((piece) => piece !== null)).toString();
  };

  it('gives the same bytes however the stream is cut into chunks, with any line ends and texts', () => {
    const word = fc.oneof(fc.string(), fc.constantFrom('"usage":{"completion_tokens":9}', ',"usage":{}', '}\\"', '😀'));
    const ends = fc.constantFrom('\n\n', '\r\n\r\n', '\r\r', ' \n\n');
    const position = fc.constantFrom('first', 'middle', 'last');
    const item = fc.record({ word, index: fc.nat(1), ends, position, space: fc.constantFrom('', ' ') });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 6 }), fc.array(fc.nat(400)), (items, cuts) => {
        const render = (running: boolean): string =>
          items
            .map(({ word: content, index, ends: end, position: place, space }, count) => {
              const parts = [
                `"id":${space}"c"`,
                `"choices":[{"index":${index},"delta":${JSON.stringify({ content })}}]`,
              ];
              const counts = `"usage":${space}${JSON.stringify(usage(3, count))}`;
              if (running) parts.splice({ first: 0, middle: 1, last: 2 }[place], 0, counts);
              return `data: {${parts.join(',')}}${end}`;
            })
            .join('');
        const whole = Buffer.from(render(true));
        const at = [...new Set(cuts.filter((cut) => cut < whole.length))].toSorted((left, right) => left - right);
        const chunks = [0, ...at].map((start, index) => whole.subarray(start, at[index] ?? whole.length));
        expect(observe(chunks)).toBe(render(false));
      }),
    );
  });

  it.each([
    'data: {"usage":{"completion_tokens":1\n\n',
    'data: {"choices":[{}],"usage":{]}\n\n',
    'data: "usage":{}\n\n',
    ': "usage":{}\n\n',
    'event: x\ndata: {"a":1,\ndata: "usage":{"completion_tokens":1}}\n\n',
    'data:{"usage":{}}\n\n',
  ])('rubbish passes as it is: %j', (text) => {
    expect(observe([Buffer.from(text)])).toBe(text);
  });
});
