import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventTemplate, findTextEnd } from '#gateway/event-template.ts';
import type { RouteShape } from '#gateway/metered-routes.ts';
import { StreamObserver } from '#gateway/observe-answer.ts';

const REMOVALS = [
  { chunk: false, running: false },
  { chunk: true, running: false },
  { chunk: true, running: true },
] as const;

/** Passes chunks on; everything that an observer says of them. */
function observe(chunks: readonly Buffer[], shape: RouteShape, removal: (typeof REMOVALS)[number]) {
  const observer = new StreamObserver({ shape, promptCount: 1, sequences: 1, removal });
  const out: Buffer[] = [];
  let steps = 0;
  for (const chunk of chunks) {
    const passed = observer.observe(chunk);
    steps += observer.steps;
    if (passed !== null) out.push(passed);
  }
  const { atBoundary } = observer;
  const rest = observer.end();
  if (rest !== null) out.push(rest);
  const { isFinished, isLast, isFailed, isTorn, usage, contentEvents, count } = observer;
  const tokens = [count.tokens(null), count.tokens(1.5)];
  const said = { isFinished, isLast, isFailed, isTorn, usage, contentEvents, tokens, steps, atBoundary };
  return { ...said, out: Buffer.concat(out).toString('latin1') };
}

/** Texts that look like what streams say elsewhere, long ones, and any others. */
const text = fc.oneof(
  fc.constantFrom(
    'error',
    'usage',
    '[DONE]',
    '\n\n',
    '"',
    '\\',
    '\\"',
    '"usage":{"completion_tokens":9}',
    'é🙂',
    'response.failed',
  ),
  fc.constantFrom('data: [DONE]', '"finish_reason":"stop"', 'event: error\n', '"}}],"error":{"message":"x"}', ' ', ''),
  fc.string({ maxLength: 12, unit: 'binary' }),
  fc.string({ minLength: 60, maxLength: 90 }),
);

const EVENT: Readonly<Record<'chat' | 'completion' | 'message', (content: string, end: string | null) => string>> = {
  chat: (content, end) =>
    `data: ${JSON.stringify({ id: 'c-1', choices: [{ index: 0, delta: { content }, finish_reason: end }] })}`,
  completion: (content, end) =>
    `data: ${JSON.stringify({ id: 'c-1', choices: [{ index: 0, text: content, logprobs: null, finish_reason: end }] })}`,
  message: (content) =>
    `event: content_block_delta\ndata: ${JSON.stringify({ type: 'content_block_delta', delta: { type: 'text_delta', text: content } })}`,
};

const other = fc.constantFrom(
  'data: [DONE]',
  ': alive',
  'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}',
  'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
  'data: {"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","top_logprobs":[]},{"token":"b","top_logprobs":[]}]}}]}',
  'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}',
  'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}',
  'data: {"error":{"message":"out of memory","type":"server_error"}}',
  'data: {"choices":[{"index":0,"delta":{"content":"a"',
  'data: {"choices":[{"index":0,"delta":{"content":"raw\ttab"},"finish_reason":null}]}',
);

describe.each(['chat', 'completion', 'message'] as const)('events of %s', (shape) => {
  const plain = fc
    .tuple(text, fc.constantFrom(null, null, null, 'length'))
    .map(([content, end]) => EVENT[shape](content, end));
  const stream = fc
    .array(fc.oneof({ weight: 5, arbitrary: plain }, { weight: 1, arbitrary: other }), { minLength: 1, maxLength: 30 })
    .chain((events) =>
      fc.record({
        events: fc
          .constantFrom('\n\n', '\n\n', '\r\n\r\n')
          .map((end) => events.map((event) => Buffer.from(event + end))),
        perChunk: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 30, maxLength: 30 }),
        cuts: fc.array(fc.nat(4000)),
        removal: fc.constantFrom(...REMOVALS),
      }),
    );

  it('mean the same whether they come one by one, together, or cut anywhere, and their bytes pass alike', () => {
    fc.assert(
      fc.property(stream, ({ events, perChunk, cuts, removal }) => {
        const bytes = Buffer.concat(events);
        const singles = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
        const expected = observe(singles, shape, removal);
        const together: Buffer[] = [];
        for (let index = 0, chunk = 0; index < events.length; chunk += 1) {
          const count = perChunk[chunk] ?? 1;
          together.push(Buffer.concat(events.slice(index, index + count)));
          index += count;
        }
        const edges = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].sort(
          (a, b) => a - b,
        );
        const anyhow = edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
        for (const chunks of [events, together, [bytes], anyhow])
          expect(observe(chunks, shape, removal)).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });
});

describe('event-template', () => {
  const event = (content: string) => Buffer.from(`data: {"content":"${content}"}\n\n`);
  const learned = (): EventTemplate => {
    const template = new EventTemplate();
    const bytes = event('first');
    template.learn(bytes, { start: 0, end: bytes.length - 1, textStart: 18, textEnd: 23 });
    return template;
  };

  it('a chunk of events like one that was read is counted without reading them again', () => {
    const template = learned();
    expect(template.matches(Buffer.concat([event('one'), event('t\\"wo'), event('é')]))).toBe(true);
    expect([template.events, template.textBytes]).toEqual([3, 3 + 5 + 2]);
  });

  it.each([
    ['nothing learned', new EventTemplate(), event('one')],
    ['no text', learned(), event('')],
    ['a name more', learned(), Buffer.from('data: {"content":"one","usage":{}}\n\n')],
    ['half an event', learned(), event('one').subarray(0, -1)],
    ['an event and a half', learned(), Buffer.concat([event('one'), event('two').subarray(0, 9)])],
    ['a line end in its text', learned(), Buffer.from('data: {"content":"o\ndata: [DONE]\n\n"}\n\n')],
    ['a line end after a backslash', learned(), Buffer.from('data: {"content":"o\\\n\n"}\n\n')],
  ])('what has anything else in it is to be read: %s', (_what, template, chunk) => {
    expect(template.matches(chunk)).toBe(false);
  });

  it('a text that stands where a name could is not learned', () => {
    const template = new EventTemplate();
    const bytes = Buffer.from('data: {"a":"content":"b" : 1}\n\n');
    template.learn(bytes, { start: 0, end: bytes.length - 1, textStart: 22, textEnd: 23 });
    expect(template.matches(bytes)).toBe(false);
  });

  it('a text ends at the first quote that no backslash stands before', () => {
    const end = (content: string): number => findTextEnd(Buffer.from(content), 0, content.length);
    expect(['', 'a"b', '\\"a"', '\\\\"a', '\\\\\\"a"', 'a', 'a\\', 'a\n"'].map(end)).toEqual([
      -1, 1, 3, 2, 5, -1, -1, -1,
    ]);
  });
});
