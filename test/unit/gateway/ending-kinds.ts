// The kinds of request whose endings are tested: what the engine has sent when the ending strikes, and what must be counted of it.
import type { ServerResponse } from 'node:http';
import { chatEvents, createGate } from '#test/support/fake-engine.ts';
import { chatBody, type Harness } from './harness.ts';
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
};
export const EACH = Object.entries(KINDS);

/** The engine's side of one answer: when it was asked, and when its connection was taken away. */
export function watchEngine(harness: Harness, answer: (res: ServerResponse) => void) {
  const asked = createGate();
  const { promise: closedAtMs, resolve } = Promise.withResolvers<number>();
  harness.engine.answerWith((res) => {
    res.once('close', () => resolve(performance.now()));
    answer(res);
    asked.open();
  });
  return { asked: asked.opened, closedAtMs };
}
