// Every protocol that streams × every stage of its stream × every way a request can end there: one record with the right outcome and tokens,
// the engine let go, and a client that knows whether what it has is whole. Endings before any stream stand in client- and engine-endings.
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRaw, type RawExchange } from '#test/support/raw-http.ts';
import { post, startEndingHarness, watchEngine } from './ending-kinds.ts';
import { type Harness, send } from './harness.ts';
import { CHAT, COMPLETIONS, MESSAGES, RESPONSES, type RouteShapeCase, type SaidUsage } from './route-shapes.ts';

const USAGE: SaidUsage = { prompt: 9, cached: 4, completion: 7, reasoning: 2 };

/** How far a stream came: what the engine sends next, and what is known from then on. */
interface Stage {
  readonly name: string;
  readonly sends: string;
  /** Content-bearing events so far. */
  readonly output: number;
  /** What the engine has said of its tokens. */
  readonly reported?: object;
  /** A clean end here is believed. */
  readonly isWhole?: boolean;
  /** Nothing can come any more. */
  readonly isLast?: boolean;
}

const openai = (route: RouteShapeCase): readonly Stage[] => {
  const [finish = '', usage = '', done = ''] = route.closing(USAGE);
  const reported = { input: 5, cachedInput: 4, output: 5, reasoning: 2 };
  return [
    { name: 'after its headers', sends: '', output: 0 },
    { name: 'after some words', sends: route.content('Hel') + route.content('lo'), output: 2 },
    { name: 'after the finish', sends: finish, output: 2, isWhole: true },
    { name: 'between usage and [DONE]', sends: usage, output: 5, reported, isWhole: true },
    { name: 'after [DONE]', sends: done, output: 5, reported, isWhole: true, isLast: true },
  ];
};

const [textDone = '', responseCompleted = ''] = RESPONSES.closing(USAGE);
const [blockStop = '', messageDelta = '', messageStop = ''] = MESSAGES.closing(USAGE);
const said = { input: 5, cachedInput: 4, output: 7, reasoning: null };

const PROTOCOLS: readonly [string, string, readonly Stage[]][] = [
  ['chat', post(CHAT.path, { ...CHAT.body, stream: true, stream_options: { include_usage: true } }), openai(CHAT)],
  [
    'completions',
    post(COMPLETIONS.path, { ...COMPLETIONS.body, stream: true, stream_options: { include_usage: true } }),
    openai(COMPLETIONS),
  ],
  [
    'responses',
    post(RESPONSES.path, { ...RESPONSES.body, stream: true }),
    [
      { name: 'after its headers', sends: '', output: 0 },
      { name: 'after its opening', sends: RESPONSES.opening(USAGE).join(''), output: 0 },
      { name: 'after some words', sends: RESPONSES.content('Hel') + RESPONSES.content('lo'), output: 2 },
      { name: 'after its text', sends: textDone, output: 2 },
      {
        name: 'after response.completed',
        sends: responseCompleted,
        output: 5,
        reported: { input: 5, cachedInput: 4, output: 5, reasoning: 2 },
        isWhole: true,
        isLast: true,
      },
    ],
  ],
  [
    'messages',
    post(MESSAGES.path, { ...MESSAGES.body, stream: true }),
    [
      { name: 'after its headers', sends: '', output: 0 },
      { name: 'after its opening', sends: MESSAGES.opening(USAGE).join(''), output: 0 },
      { name: 'after some words', sends: MESSAGES.content('Hel') + MESSAGES.content('lo'), output: 2 },
      { name: 'after its text', sends: blockStop, output: 2 },
      { name: 'between usage and message_stop', sends: messageDelta, output: 7, reported: said, isWhole: true },
      { name: 'after message_stop', sends: messageStop, output: 7, reported: said, isWhole: true, isLast: true },
    ],
  ],
  [
    "Triton's generate_stream",
    post('/v2/models/ranker/generate_stream', { text_input: 'x', stream: true }),
    [
      { name: 'after its headers', sends: '', output: 0, isWhole: true },
      { name: 'after some words', sends: 'data: {"text_output":"Hel"}\n\n', output: 0, isWhole: true },
    ],
  ],
];

interface Ending {
  readonly how: string;
  readonly outcome: string;
  /** Brings the end about; the client has everything that was sent by then. */
  strike(engine: ServerResponse, client: RawExchange): unknown;
}

/** What the one error event says of each outcome. */
const TOLD: Readonly<Record<string, string>> = {
  upstream_error: 'The engine broke off its answer.',
  timed_out: 'The engine did not answer in time.',
  interrupted: 'This gateway is shutting down.',
};

let harness: Harness;

const ENDINGS: readonly Ending[] = [
  { how: 'the client hangs up', outcome: 'client_aborted', strike: (_engine, client) => client.hangUp() },
  { how: 'the client half-closes', outcome: 'client_aborted', strike: (_engine, client) => client.halfClose() },
  { how: 'the engine resets', outcome: 'upstream_error', strike: (engine) => engine.socket?.resetAndDestroy() },
  {
    how: 'the engine breaks off half a chunk',
    outcome: 'upstream_error',
    strike: (engine) => engine.socket?.end('fff\r\nda'),
  },
  { how: 'the engine ends cleanly', outcome: 'upstream_error', strike: (engine) => engine.end() },
  { how: 'the engine ends inside an event', outcome: 'upstream_error', strike: (engine) => engine.end('data: {"ha') },
  { how: 'the engine falls silent', outcome: 'timed_out', strike: () => harness.clock.advance(60_500) },
  { how: 'the request takes too long', outcome: 'timed_out', strike: () => harness.clock.advance(600_500) },
  { how: 'the gateway must end', outcome: 'interrupted', strike: () => harness.gateway.drain(1) },
];

beforeEach(async () => {
  harness = await startEndingHarness();
});
afterEach(async () => {
  expect(harness.gateway.upstreamStatus().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  // Nothing late may add a second record.
  await send(harness.port, { method: 'GET', path: '/healthz' }).catch(() => {});
  expect(harness.metering.records).toHaveLength(1);
  await harness.close();
});

const cases = PROTOCOLS.flatMap(([protocol, request, stages]) =>
  stages.flatMap((stage, index) => {
    const sent = stages.slice(0, index + 1).map(({ sends }) => sends);
    return ENDINGS.map((ending) => ({
      protocol,
      stage: stage.name,
      how: ending.how,
      request,
      sent,
      at: stage,
      ending,
    }));
  }),
);

describe('a stream', () => {
  it.each(cases)('of $protocol $stage, when $how', async ({ protocol, request, sent, at, ending }) => {
    let engine: ServerResponse | undefined;
    const { closedAtMs } = watchEngine(harness, (res) => {
      engine = res;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.flushHeaders();
      if (sent.join('') !== '') res.write(sent.join(''));
    });
    const client = openRaw(harness.port, request);
    await client.until(sent.at(-1)?.trim() || '\r\n\r\n');
    if (engine === undefined) throw new Error('the engine was not asked');
    await ending.strike(engine, client);
    await harness.metering.whenRecorded(1);
    // A clean end is one where it is whole; after the last event nothing matters any more.
    const endsCleanly = ending.how === 'the engine ends cleanly' && at.isWhole === true;
    const outcome = at.isLast === true || endsCleanly ? 'completed' : ending.outcome;
    const reads = protocol !== "Triton's generate_stream";
    expect(harness.metering.records).toMatchObject([
      {
        outcome,
        status: 200,
        lastAttempt: true,
        tokenSource: !reads ? 'unknown' : at.reported === undefined ? 'counted' : 'reported',
        tokens: reads ? (at.reported ?? { output: at.output }) : {},
      },
    ]);
    if (ending.how !== 'the engine ends cleanly' && ending.how !== 'the engine ends inside an event') await closedAtMs;
    if (ending.outcome === 'client_aborted') return;
    const text = at.isLast === true || endsCleanly ? await settled(client) : await client.closed;
    const [, body = ''] = text.split(/\r\n\r\n(.*)/s);
    const told = Object.values(TOLD).flatMap((words) => (body.includes(words) ? [words] : []));
    expect(told).toEqual(outcome === 'completed' ? [] : [TOLD[outcome]]);
    expect(text.endsWith('\r\n0\r\n\r\n')).toBe(outcome === 'completed');
    if (at.isLast !== true) expect(body).not.toContain('[DONE]');
  });
});

/** What a client has once its answer ended; its connection may stay. */
async function settled(client: RawExchange): Promise<string> {
  await client.until('\r\n0\r\n\r\n');
  client.hangUp();
  return client.text();
}
