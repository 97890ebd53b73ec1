// Malformed requests from a seed: case number n of a seed is the same bytes on every machine. Some are valid requests that were spoiled, some
// are put together from pieces that HTTP servers are known to stumble over, some are sound HTTP around a body and headers that are not.
import { ODD_BODIES, ODD_HEADERS, PATHS, TOKENS } from './fuzz-pieces.ts';
import { createSeededRandom, mixSeed, type SeededRandom } from '#simulator/seeded-random.ts';

export interface FuzzCase {
  readonly seed: number;
  readonly number: number;
  /** Written one after the other, each in a packet of its own where the network lets it be. */
  readonly pieces: readonly Buffer[];
}

interface Dice {
  readonly random: SeededRandom;
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number;
  pick<Item>(items: readonly Item[]): Item;
}

/** `key` is a valid API key, `model` a name that exists. */
export interface FuzzTarget {
  readonly key: string;
  readonly model: string;
}

/** The bytes of one case. */
export function createFuzzCase(target: FuzzTarget, seed: number, number: number): FuzzCase {
  const random = createSeededRandom(mixSeed(seed, number));
  const dice: Dice = {
    random,
    below: (limit) => Math.floor(random.uniform() * limit),
    pick: (items) => items[Math.floor(random.uniform() * items.length)] as (typeof items)[number],
  };
  const makers = [
    () => renderOdd(dice, target),
    () => renderOdd(dice, target),
    () => spoil(dice, renderValid(dice, target), 1),
    () => spoil(dice, renderValid(dice, target), 6),
    () => renderNasty(dice, target),
  ];
  const bytes = dice.pick(makers)();
  return { seed, number, pieces: cut(dice, bytes) };
}

function renderValid(dice: Dice, target: FuzzTarget): Buffer {
  const { below, pick } = dice;
  const requests = Array.from({ length: 1 + (below(4) === 0 ? below(3) : 0) }, () => {
    const path = pick(PATHS);
    const method =
      /models$|models\/|health|ready|inferometer/.test(path) && !path.endsWith('infer')
        ? pick(['GET', 'HEAD'])
        : 'POST';
    const head = `${method} ${path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${target.key}\r\n${pick(['', 'x-request-id: mine\r\n', 'x-inferometer-tags: a=b\r\n', 'accept-encoding: gzip\r\n', 'content-type: application/json\r\n'])}`;
    if (method !== 'POST') return `${head}\r\n`;
    const body = JSON.stringify({
      model: target.model,
      stream: below(2) === 0,
      messages: [{ role: 'user', content: 'hi' }],
      input: 'x',
      prompt: 'x',
    });
    if (below(3) > 0) return `${head}content-length: ${body.length}\r\n\r\n${body}`;
    const half = below(body.length - 1) + 1;
    const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
    return `${head}transfer-encoding: chunked\r\n\r\n${chunk(body.slice(0, half))}${half < body.length ? chunk(body.slice(half)) : ''}0\r\n\r\n`;
  });
  return Buffer.from(requests.join(''), 'latin1');
}

/** One to six changes anywhere: bytes flipped, dropped, doubled or moved, pieces put in, the end cut off. */
function spoil(dice: Dice, valid: Buffer, changes: number): Buffer {
  const { below, pick } = dice;
  let bytes = valid;
  for (let change = below(changes); change >= 0; change -= 1) {
    const at = below(bytes.length + 1);
    const to = Math.min(bytes.length, at + 1 + below(16));
    const [before, part, after] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
    const spoilers: (() => Buffer)[] = [
      () => Buffer.concat([before, Buffer.from(part.map((byte) => byte ^ (1 << below(8)))), after]),
      () => Buffer.concat([before, after]),
      () => Buffer.concat([before, part, part, after]),
      () => Buffer.concat([after, before, part]),
      () => Buffer.concat([before, Buffer.from(pick(TOKENS), 'latin1'), part, after]),
      () => Buffer.concat([before, Buffer.from(pick(TOKENS), 'latin1'), part, after]),
      () => insertHeader(bytes, pick(TOKENS), below(3)),
      () => (below(3) === 0 ? before : bytes),
      () => Buffer.concat([before, Buffer.from(Array.from({ length: 1 + below(40) }, () => below(256))), after]),
    ];
    bytes = pick(spoilers)();
  }
  return bytes;
}

/** Puts a piece behind one of the first lines. */
function insertHeader(bytes: Buffer, token: string, line: number): Buffer {
  let at = 0;
  for (let seen = 0; seen <= line; seen += 1) {
    const next = bytes.indexOf('\r\n', at);
    if (next === -1) break;
    at = next + 2;
  }
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(token, 'latin1'), bytes.subarray(at)]);
}

/** Sound framing around what is not: this gets through authentication and deep into the request path. */
function renderOdd(dice: Dice, target: FuzzTarget): Buffer {
  const { below, pick } = dice;
  const isRead = below(6) === 0;
  const headers = Array.from({ length: below(4) }, () => pick(ODD_HEADERS));
  const method = isRead ? pick(['GET', 'HEAD', 'OPTIONS', 'DELETE']) : pick(['POST', 'POST', 'POST', 'PUT', 'PATCH']);
  const head = [
    `${method} ${pick(PATHS)} HTTP/1.${below(8) === 0 ? 0 : 1}`,
    'host: gateway',
    `authorization: Bearer ${target.key}`,
    ...headers,
  ];
  if (isRead && below(2) === 0) return Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1');
  const odd = Buffer.from(pick(ODD_BODIES), 'latin1');
  const body = below(3) === 0 ? spoil(dice, odd, 2) : odd;
  // Some end before their body does.
  const sent = below(8) === 0 ? body.subarray(0, below(body.length + 1)) : body;
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\ncontent-length: ${body.length}\r\n\r\n`, 'latin1'), sent]);
}

function renderNasty(dice: Dice, target: FuzzTarget): Buffer {
  const { below, pick } = dice;
  if (below(12) === 0) return Buffer.from(Array.from({ length: 1 + below(2000) }, () => below(256)));
  const method = pick([
    'POST',
    'POST',
    'POST',
    'GET',
    'HEAD',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'TRACE',
    'CONNECT',
    'PRI',
    'get',
    'POST\t',
    '',
  ]);
  const path = pick([
    ...PATHS,
    '*',
    'http://evil.example/v1/models',
    'evil.example:443',
    '/v1/audio/../../x',
    '/v1/audio/%2e%2e/x',
    '//evil/v1/audio/x',
    '/\\evil',
    '/v1/models/%',
    `/${'a'.repeat(below(20_000))}`,
    '/v1/chat/completions?api_key=x',
    '/v1/models#x',
    '',
  ]);
  const version = pick([
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.1',
    'HTTP/1.0',
    'HTTP/0.9',
    'HTTP/2.0',
    'HTTP/1.',
    'http/1.1',
    '',
  ]);
  const eol = below(8) === 0 ? pick(['\n', '\r', '\r\r\n', '\n\r']) : '\r\n';
  const key = pick([
    `authorization: Bearer ${target.key}`,
    `authorization: Bearer ${target.key}`,
    `x-api-key: ${target.key}`,
    'authorization: Basic x',
    'authorization:',
    `authorization: bearer  ${target.key} `,
    'x-nothing: 1',
  ]);
  const headers = ['host: gateway', key];
  for (let count = below(5); count > 0; count -= 1) headers.push(pick(TOKENS).replace(/\r\n$/, ''));
  if (below(10) === 0) headers.push(...Array.from({ length: below(1500) }, (_, index) => `x${index}: y`));
  if (below(20) === 0) headers.push(`x-long: ${'v'.repeat(below(40_000))}`);
  const body = pick([
    '',
    '{}',
    'null',
    '[',
    '"',
    '{"model":7}',
    `{"model":"${target.model}"}`,
    `{"model":"${target.model}","stream":true,"stream_options":[]}`,
    '[[[['.repeat(below(3000)),
    '\0\0',
    'x'.repeat(below(5000)),
  ]);
  const framing = pick([
    [`content-length: ${body.length}`, body],
    [`content-length: ${body.length}`, body],
    [`content-length: ${body.length + 1 + below(50)}`, body],
    [`content-length: ${Math.max(0, body.length - 1)}`, body],
    [
      pick([
        'content-length: -1',
        'content-length: 1e3',
        'content-length: 0x5',
        'content-length:',
        'content-length: 5, 5',
        'content-length : 5',
      ]),
      body,
    ],
    ['transfer-encoding: chunked', `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
    [
      'transfer-encoding: chunked',
      `${pick(['zz', '-1', '+5', '0x5', '5 ', 'fffffffffffffffff', '', '5\n'])}\r\n${body}\r\n0\r\n\r\n`,
    ],
    [
      `transfer-encoding: ${pick(['chunked, chunked', 'identity', 'gzip', 'xchunked', 'chunked;q=1', ' chunked\u000b'])}`,
      body,
    ],
    [`transfer-encoding: chunked${eol}content-length: ${body.length}`, body],
  ] as const);
  return Buffer.from(
    `${[`${method} ${path} ${version}`, ...headers, framing[0]].join(eol)}${eol}${eol}${framing[1]}`,
    'latin1',
  );
}

/** One piece, or up to four cut anywhere. */
function cut({ below }: Dice, bytes: Buffer): Buffer[] {
  if (below(3) > 0 || bytes.length < 2) return [bytes];
  const marks = Array.from({ length: 1 + below(3) }, () => below(bytes.length)).toSorted((left, right) => left - right);
  return [
    ...marks.map((mark, index) => bytes.subarray(marks[index - 1] ?? 0, mark)),
    bytes.subarray(marks.at(-1) ?? 0),
  ];
}
