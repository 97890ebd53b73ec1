// The kinds of request whose endings are tested: what the engine has sent when the ending strikes, and what must be counted of it.
import type { ServerResponse } from 'node:http';
import type { Config } from '#config/config.ts';
import { chatEvents, createGate } from '#test/support/fake-engine.ts';
import { createChatAndRanker } from './chat-and-ranker.ts';
import { chatBody, createConfig, type Harness, startHarness } from './harness.ts';
import { HEAD } from './raw-requests.ts';

export const EVENTS = chatEvents(['Hel', 'lo'], { usage: true });
export interface Kind {
  readonly request: string;
  readonly headers: Record<string, string>;
  /** What the engine has sent when the ending strikes, and how the client knows that it came. */
  readonly part: string;
  readonly seen: string;
  /** Fields of the record of an answer cut after `part`. */
  readonly counted: object;
}

export const post = (path: string, body: object, headers = ''): string => {
  const text = JSON.stringify(body);
  return `POST ${path} HTTP/1.1\r\n${HEAD}${headers}content-length: ${text.length}\r\n\r\n${text}`;
};

const KINDS: Readonly<Record<string, Kind>> = {
  'a stream': {
    request: post('/v1/chat/completions', chatBody({ stream: true })),
    headers: { 'content-type': 'text/event-stream' },
    part: EVENTS.slice(0, 2).join(''),
    seen: 'Hel',
    counted: { tokenSource: 'counted', tokens: { output: 1 } },
  },
  'an answer as JSON': {
    request: post('/v1/chat/completions', chatBody()),
    headers: { 'content-type': 'application/json' },
    part: '{"half":',
    seen: '{"half":',
    counted: {},
  },
  'a forwarded answer': {
    request: post('/v1/audio/speech', { input: 'x' }),
    headers: { 'content-type': 'audio/mpeg' },
    part: 'ID3-half',
    seen: 'ID3-half',
    counted: { tokenSource: 'unknown' },
  },
  "a stream in Anthropic's words": {
    request: post('/v1/messages', chatBody({ stream: true, max_tokens: 9 })),
    headers: { 'content-type': 'text/event-stream; charset=utf-8' },
    part: 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}\n\n',
    seen: 'Hel',
    counted: { tokenSource: 'counted', tokens: { output: 1 } },
  },
  "a stream of Triton's own": {
    request: post('/v2/models/ranker/generate_stream', { text_input: 'x', stream: true }),
    headers: { 'content-type': 'text/event-stream' },
    part: 'data: {"model_name":"ranker","text_output":"Hel"}\n\n',
    seen: 'Hel',
    counted: {},
  },
  'tensors from Triton': {
    request: post('/v2/models/ranker/infer', { inputs: [] }),
    headers: { 'content-type': 'application/octet-stream' },
    part: '\u0001\u0002tensor-half',
    seen: 'tensor-half',
    counted: {},
  },
};
export const EACH = Object.entries(KINDS);

/** A gateway before one engine that serves a chat model and, as Triton, a model of its own. */
export function startEndingHarness(): Promise<Harness> {
  return startHarness((url) => createEndingConfig(url));
}

/** The config of such a gateway. */
export function createEndingConfig(url: string): Config {
  return createConfig(createChatAndRanker(url, { ranker: { work: 'duration' } }));
}

/** Answers what clients asked for; health checks and questions of the gateway's own get an empty object. */
export function answerPosts(harness: Harness, answer: (res: ServerResponse) => unknown): void {
  harness.engine.answerWith((res, { method }) => {
    if (method === 'POST') answer(res);
    else res.end('{}');
  });
}

/** The engine's side of one answer: when it was asked, and when its connection was taken away. */
export function watchEngine(harness: Harness, answer: (res: ServerResponse) => void) {
  const asked = createGate();
  const { promise: closedAtMs, resolve } = Promise.withResolvers<number>();
  answerPosts(harness, (res) => {
    res.once('close', () => resolve(performance.now()));
    answer(res);
    asked.open();
  });
  return { asked: asked.opened, closedAtMs };
}
