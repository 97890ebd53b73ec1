// What the official SDKs make of a stream whose engine broke: an exception in their own words, never an answer that looks whole.
import Anthropic, { APIError as AnthropicError } from '@anthropic-ai/sdk';
import OpenAI, { APIError } from 'openai';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerStream, type Script } from '#test/support/fake-engine.ts';
import { type Harness, SEARCH_KEY, startHarness } from '#test/unit/gateway/harness.ts';

const MODEL = 'llama-3.1-70b';

let harness: Harness;
beforeEach(async () => {
  harness = await startHarness();
});
afterEach(() => harness.close());

const data = (payload: object): string => `data: ${JSON.stringify(payload)}\n\n`;
const named = (type: string, payload: object): string => `event: ${type}\n${data({ type, ...payload })}`;

/** The beginning of an answer in the words of each route, and how an SDK reads it to its end; resolves with the texts that came. */
const ROUTES: readonly [string, readonly string[], (baseUrl: string) => Promise<string[]>, typeof APIError][] = [
  [
    'chat.completions of openai',
    ['Hel', 'lo'].map((content) => data({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })),
    async (baseUrl) => {
      const texts: string[] = [];
      const stream = await openai(baseUrl).chat.completions.create({ model: MODEL, messages: [], stream: true });
      return collect(texts, stream, (chunk) => chunk.choices[0]?.delta.content);
    },
    APIError,
  ],
  [
    'responses of openai',
    [
      named('response.created', { response: { id: 'resp_1', output: [] }, sequence_number: 0 }),
      ...['Hel', 'lo'].map((delta, index) =>
        named('response.output_text.delta', { delta, item_id: 'm', output_index: 0, sequence_number: index + 1 }),
      ),
    ],
    async (baseUrl) => {
      const texts: string[] = [];
      const stream = await openai(baseUrl).responses.create({ model: MODEL, input: 'Hi', stream: true });
      return collect(texts, stream, (event) => (event.type === 'response.output_text.delta' ? event.delta : undefined));
    },
    APIError,
  ],
  [
    'messages of anthropic',
    [
      named('message_start', { message: { id: 'm', role: 'assistant', content: [], usage: { input_tokens: 3 } } }),
      ...['Hel', 'lo'].map((text) => named('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })),
    ],
    async (baseUrl) => {
      const texts: string[] = [];
      const stream = await new Anthropic({ baseURL: baseUrl, apiKey: SEARCH_KEY, maxRetries: 0 }).messages.create({
        model: MODEL,
        max_tokens: 9,
        messages: [{ role: 'user', content: 'Hi' }],
        stream: true,
      });
      return collect(texts, stream, (event) =>
        event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : undefined,
      );
    },
    AnthropicError as unknown as typeof APIError,
  ],
];

const openai = (baseUrl: string): OpenAI => new OpenAI({ baseURL: `${baseUrl}/v1`, apiKey: SEARCH_KEY, maxRetries: 0 });

/** What had come when the stream threw goes with the error. */
class Broken extends Error {
  readonly texts: readonly string[];

  constructor(cause: unknown, texts: readonly string[]) {
    super('the stream threw', { cause });
    this.texts = texts;
  }
}

async function collect<T>(
  texts: string[],
  stream: AsyncIterable<T>,
  read: (event: T) => string | null | undefined,
): Promise<string[]> {
  try {
    for await (const event of stream) {
      const text = read(event);
      if (typeof text === 'string') texts.push(text);
    }
  } catch (error) {
    throw new Broken(error, texts);
  }
  return texts;
}

const breaks: readonly [string, (events: readonly string[]) => Script][] = [
  [
    'is reset',
    (events) => (res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write(events.join(''), () => res.destroy());
    },
  ],
  ['ends its answer cleanly before it is whole', (events) => answerStream(events)],
];

describe.each(ROUTES)('%s', (_name, events, read, ErrorClass) => {
  it.each(breaks)('throws its API error after all that came when the engine %s', async (_how, script) => {
    harness.engine.answerWith(script(events));
    const broken = await read(harness.url).catch((error: unknown) => error);
    expect(broken).toBeInstanceOf(Broken);
    const { texts, cause } = broken as Broken;
    expect(texts).toEqual(['Hel', 'lo']);
    expect(cause).toBeInstanceOf(ErrorClass);
    expect((cause as APIError).message).toContain('The engine broke off its answer.');
    expect(harness.metering.records).toMatchObject([{ outcome: 'upstream_error', status: 200, tokens: { output: 2 } }]);
  });
});

describe('the Responses API', () => {
  it('numbers the error event after the last event that came', async () => {
    const [, events = []] = ROUTES[1] ?? [];
    harness.engine.answerWith(breaks[0]?.[1](events) ?? answerStream([]));
    const answer = await fetch(`${harness.url}/v1/responses`, {
      method: 'POST',
      headers: { authorization: `Bearer ${SEARCH_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: MODEL, input: 'Hi', stream: true }),
    });
    let text = '';
    await answer.body
      ?.pipeThrough(new TextDecoderStream())
      .pipeTo(new WritableStream({ write: (piece) => void (text += piece) }))
      .catch(() => {});
    const last = text.trimEnd().split('\n').at(-1) ?? '';
    expect(JSON.parse(last.slice(6))).toEqual({
      type: 'error',
      code: 'upstream_unreachable',
      message: 'The engine broke off its answer.',
      param: null,
      sequence_number: 3,
    });
  });
});
