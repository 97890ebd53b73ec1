import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { UsageRecord } from '#domain/usage-record.ts';
import { answerJson, answerStream, CHAT_ANSWER, chatEvents, createGate } from '#test/support/fake-engine.ts';
import { loadTokenizer } from '#tokenizer/load-tokenizer.ts';
import type { Count, TokenCounter } from '#tokenizer/count-tokens.ts';
import {
  chatBody,
  createConfig,
  createDeploymentConfig,
  createUpstreamConfig,
  type Harness,
  SEARCH_KEY,
  send,
  startHarness,
} from './harness.ts';

const TOKENIZER = join(import.meta.dirname, '../tokenizer/fixtures/byte-level-bpe');
const model = loadTokenizer(TOKENIZER);
const tokensOf = (text: string): number => model.count(text, { addSpecialTokens: false });
const PROMPT_TOKENS = tokensOf(
  '<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello, engine<|eot_id|>' +
    '<|start_header_id|>assistant<|end_header_id|>\n\n',
);
const { usage: _usage, ...SILENT_ANSWER } = CHAT_ANSWER;
/** Several tokens per event, so that counting events and counting text differ. */
const WORDS = ['the quick brown fox', ' jumps over the lazy dog'];
const SILENT_EVENTS = chatEvents(WORDS, { usage: false });

let harness: Harness;
afterEach(() => harness.close());

async function start(
  options: { tokenizer?: string; work?: 'duration'; tokenCounter?: TokenCounter } = {},
): Promise<void> {
  const { tokenizer = TOKENIZER, work, tokenCounter } = options;
  harness = await startHarness(
    (url) => {
      const own = { ...(tokenizer === '' ? {} : { tokenizer }), ...(work === undefined ? {} : { work }) };
      return createConfig([createDeploymentConfig([createUpstreamConfig(url)], own)]);
    },
    tokenCounter === undefined ? {} : { tokenCounter },
  );
}

async function recordOf(body: object, path = '/v1/chat/completions'): Promise<Omit<UsageRecord, 'profileSource'>> {
  const before = harness.metering.records.length;
  await send(harness.port, { body, path });
  await harness.metering.whenRecorded(before + 1);
  const record = harness.metering.records.at(-1);
  if (record === undefined) throw new Error('no record');
  return record;
}

/** Asks for a stream and keeps what arrives. */
function openStream() {
  let text = '';
  const req = request({
    port: harness.port,
    path: '/v1/chat/completions',
    method: 'POST',
    agent: false,
    headers: { authorization: `Bearer ${SEARCH_KEY}` },
  });
  const closed = new Promise<void>((resolve) => req.on('close', () => resolve()));
  const listeners: (() => void)[] = [];
  req.on('error', () => {});
  req.on('response', (res) => {
    res
      .on('error', () => {})
      .on('data', (chunk: Buffer) => {
        text += chunk.toString();
        for (const listener of listeners) listener();
      });
  });
  req.end(JSON.stringify(chatBody({ stream: true })));
  const until = (part: string) =>
    new Promise<void>((resolve) => {
      const look = (): void => {
        if (text.includes(part)) resolve();
      };
      listeners.push(look);
      look();
    });
  return { req, closed, until, text: () => text };
}

/** A counter whose counts come when a test says so. */
function createGatedCounter(counts: number | null): TokenCounter & { open(): void; readonly asked: Promise<void> } {
  const gate = createGate();
  const asked = createGate();
  const count = (): Count => {
    asked.open();
    return gate.opened.then(() => counts);
  };
  return {
    has: () => true,
    countText: count,
    countPrompt: count,
    reload: () => {},
    close: async () => gate.open(),
    open: () => gate.open(),
    asked: asked.opened,
  };
}

describe('an engine that reports no usage', () => {
  it('a whole answer is counted with the model’s tokenizer, chat template included', async () => {
    await start();
    harness.engine.answerWith(answerJson(SILENT_ANSWER));
    const record = await recordOf(chatBody());
    expect(record.tokens).toEqual({
      input: PROMPT_TOKENS,
      cachedInput: null,
      output: tokensOf('one two three'),
      reasoning: null,
    });
    expect(record.tokenSource).toBe('counted');
  });

  it('its first stream is counted by events, every later one by its text', async () => {
    await start();
    harness.engine.answerWith(answerStream(SILENT_EVENTS));
    const first = await recordOf(chatBody({ stream: true }));
    const second = await recordOf(chatBody({ stream: true }));
    expect([first.tokens.input, first.tokens.output]).toEqual([PROMPT_TOKENS, WORDS.length]);
    expect([second.tokens.input, second.tokens.output]).toEqual([PROMPT_TOKENS, tokensOf(WORDS.join(''))]);
    expect([first.tokenSource, second.tokenSource]).toEqual(['counted', 'counted']);
    expect(tokensOf(WORDS.join(''))).toBeGreaterThan(WORDS.length);
  });

  it('one that reports again is believed, and its text is kept no longer', async () => {
    await start();
    harness.engine.answerWith(answerStream(SILENT_EVENTS));
    await recordOf(chatBody({ stream: true }));
    harness.engine.answerWith(answerStream(chatEvents(WORDS, { usage: true })));
    const reported = await recordOf(chatBody({ stream: true }));
    expect([reported.tokenSource, reported.tokens.output]).toEqual(['reported', WORDS.length]);
    harness.engine.answerWith(answerStream(SILENT_EVENTS));
    expect((await recordOf(chatBody({ stream: true }))).tokens.output).toBe(WORDS.length);
  });

  it('reasoning is counted apart', async () => {
    await start();
    const message = { role: 'assistant', content: 'the fox', reasoning_content: 'a lazy dog' };
    harness.engine.answerWith(
      answerJson({ ...SILENT_ANSWER, choices: [{ index: 0, message, finish_reason: 'stop' }] }),
    );
    const { tokens } = await recordOf(chatBody());
    expect([tokens.output, tokens.reasoning]).toEqual([tokensOf('the fox'), tokensOf('a lazy dog')]);
  });

  it('a stream cut by its client counts the text that came', async () => {
    await start();
    harness.engine.answerWith(answerStream(SILENT_EVENTS));
    await recordOf(chatBody({ stream: true }));
    harness.engine.answerWith((res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(SILENT_EVENTS.slice(0, 2).join(''));
    });
    const client = openStream();
    await client.until('fox');
    client.req.destroy();
    await harness.metering.whenRecorded(2);
    const record = harness.metering.records.at(-1);
    expect(record?.outcome).toBe('client_aborted');
    expect([record?.tokens.input, record?.tokens.output]).toEqual([PROMPT_TOKENS, tokensOf(WORDS[0] ?? '')]);
  });

  it('embeddings count their texts and no output', async () => {
    await start();
    harness.engine.answerWith(answerJson({ data: [{ embedding: [0.1] }] }));
    const { tokens, tokenSource } = await recordOf(
      { model: 'llama-3.1-70b', input: ['the fox', 'dog'] },
      '/v1/embeddings',
    );
    expect([tokens.input, tokens.output, tokenSource]).toEqual([
      tokensOf('the fox') + tokensOf('dog') + 2,
      0,
      'counted',
    ]);
  });
});

describe('what is not counted', () => {
  it('an engine that reports is taken at its word', async () => {
    await start();
    const { tokens, tokenSource } = await recordOf(chatBody());
    expect([tokens.input, tokens.cachedInput, tokens.output, tokenSource]).toEqual([5, 2, 3, 'reported']);
  });

  it('a refusal says nothing of work', async () => {
    await start();
    harness.engine.answerWith(answerJson({ error: { message: 'no' } }, 400));
    expect((await recordOf(chatBody())).tokenSource).toBe('unknown');
  });

  it('neither is work metered by duration, nor a deployment without a tokenizer', async () => {
    await start({ work: 'duration' });
    harness.engine.answerWith(answerJson(SILENT_ANSWER));
    expect((await recordOf(chatBody())).tokenSource).toBe('unknown');
    await harness.close();
    await start({ tokenizer: '' });
    harness.engine.answerWith(answerJson(SILENT_ANSWER));
    expect((await recordOf(chatBody())).tokenSource).toBe('estimated');
  });

  it('where counting fails the record is estimated from bytes', async () => {
    const counter = createGatedCounter(null);
    counter.open();
    await start({ tokenCounter: counter });
    harness.engine.answerWith(answerJson(SILENT_ANSWER));
    const { tokens, tokenSource } = await recordOf(chatBody());
    expect([tokens.input, tokens.output, tokenSource]).toEqual([4, 4, 'estimated']);
  });

  it('no text reaches the log', async () => {
    await start();
    harness.engine.answerWith(
      answerJson({ ...SILENT_ANSWER, choices: [{ message: { content: 'canary-completion' } }] }),
    );
    await recordOf(chatBody({ messages: [{ role: 'user', content: 'canary-prompt' }] }));
    await recordOf(
      chatBody({ messages: [{ role: 'wizard', content: [{ type: 'image_url' }, { text: 'canary-part' }] }] }),
    );
    expect(harness.log.lines.join('\n')).not.toContain('canary');
  });
});

describe('while a long answer is counted', () => {
  it('its last bytes wait for the record, which is written once, with the engine’s part ended before', async () => {
    const counter = createGatedCounter(11);
    await start({ tokenCounter: counter });
    harness.engine.answerWith(answerStream(SILENT_EVENTS));
    const client = openStream();
    await Promise.all([counter.asked, client.until('lazy dog')]);
    harness.clock.advance(700);
    // A turn of the loop for bytes that should not have left.
    await send(harness.port, { path: '/healthz', method: 'GET' });
    expect(client.text()).toBe(SILENT_EVENTS.slice(0, -1).join(''));
    expect(harness.metering.records).toEqual([]);
    counter.open();
    await client.closed;
    expect(client.text()).toBe(SILENT_EVENTS.join(''));
    const [end] = harness.metering.ends;
    expect(harness.metering.ends).toHaveLength(1);
    expect(end?.tokens.input).toBe(11);
    expect(end?.record.outcome).toBe('completed');
    const recordedAtMs = (end?.record.endedAtMs ?? 0) - performance.timeOrigin;
    expect(recordedAtMs - (end?.atMs ?? 0)).toBeGreaterThanOrEqual(700);
  });

  it('a client that leaves changes neither the outcome nor the number of records', async () => {
    const counter = createGatedCounter(11);
    await start({ tokenCounter: counter });
    harness.engine.answerWith(answerStream(SILENT_EVENTS));
    const client = openStream();
    await counter.asked;
    client.req.destroy();
    await client.closed;
    expect((await harness.gateway.drain(200)).left).toBe(1);
    counter.open();
    await harness.metering.whenRecorded(1);
    expect((await harness.gateway.drain(5_000)).left).toBe(0);
    expect(harness.metering.records.map(({ outcome }) => outcome)).toEqual(['completed']);
  });

  it('draining waits for its record, and closing has it written at once', async () => {
    const counter = createGatedCounter(11);
    await start({ tokenCounter: counter });
    harness.engine.answerWith(answerJson(SILENT_ANSWER));
    const answer = send(harness.port).catch(() => null);
    await counter.asked;
    expect((await harness.gateway.drain(10)).left).toBe(1);
    await harness.gateway.close();
    await answer;
    expect(harness.metering.records.map(({ outcome, tokenSource }) => [outcome, tokenSource])).toEqual([
      ['completed', 'counted'],
    ]);
  });

  it.each([
    ['by the tokenizer', TOKENIZER, tokensOf(' over the lazy dog')],
    ['by its bytes', '', Math.ceil(' over the lazy dog'.length / 4)],
  ])('the prompt that an answer repeats (`echo`) is no output, counted %s', async (_how, tokenizer, output) => {
    await start({ tokenizer });
    const prompt = 'the quick brown fox jumps';
    const choices = [{ index: 0, text: `${prompt} over the lazy dog`, finish_reason: 'stop' }];
    harness.engine.answerWith(answerJson({ object: 'text_completion', choices }));
    const body = { model: 'llama-3.1-70b', prompt, echo: true };
    expect((await recordOf(body, '/v1/completions')).tokens.output).toBe(output);
  });
});
