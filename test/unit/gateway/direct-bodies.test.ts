import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Dispatcher } from 'undici';
import { type BodyReceiver, claimBody, readDirectly } from '#gateway/direct-reads.ts';
import { Pool } from '#gateway/undici-parts.ts';

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';

/** A connection that brings exactly the pieces that `push` is given, and tells of each request that is written to it. */
function createWire(): { readonly wire: Socket; readonly whenAsked: () => Promise<void> } {
  let asked = Promise.withResolvers<void>();
  const duplex = new Duplex({
    read() {},
    write(_bytes, _encoding, done) {
      asked.resolve();
      done();
    },
  });
  const wire = Object.assign(duplex as unknown as Socket, { ref: () => wire, unref: () => wire });
  const whenAsked = async (): Promise<void> => {
    await asked.promise;
    asked = Promise.withResolvers();
  };
  return { wire, whenAsked };
}

interface Seen {
  readonly data: Buffer[];
  /** Of them, those that undici has not seen. */
  direct: number;
  /** Of them, those that came to a receiver that had paused. */
  whilePaused: number;
  ended: boolean;
  error: string | null;
}

class Handler implements Dispatcher.DispatchHandler, BodyReceiver {
  readonly seen: Seen = { data: [], direct: 0, whilePaused: 0, ended: false, error: null };
  readonly over = Promise.withResolvers<void>();
  readonly #pausesAt: ReadonlySet<number>;
  readonly #claims: boolean;
  controller: Dispatcher.DispatchController | undefined;

  constructor(claims: boolean, pausesAt: readonly number[]) {
    this.#claims = claims;
    this.#pausesAt = new Set(pausesAt);
  }

  get takesData(): boolean {
    return this.controller?.paused === false;
  }

  takeData(data: Buffer): void {
    this.seen.direct += 1;
    this.onResponseData(this.controller as Dispatcher.DispatchController, data);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
  }

  onResponseStart(): void {
    if (this.#claims) claimBody(this);
  }

  onResponseData(controller: Dispatcher.DispatchController, data: Buffer): void {
    if (controller.paused) this.seen.whilePaused += 1;
    if (this.#pausesAt.has(this.seen.data.push(Buffer.from(data)))) controller.pause();
  }

  onResponseEnd(): void {
    this.seen.ended = true;
    this.over.resolve();
  }

  onResponseError(_controller: unknown, error: Error): void {
    this.seen.error = error.message;
    this.over.resolve();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Two requests one after the other on one connection, the first answered by `pieces`; what the first one saw. */
async function play(pieces: readonly Buffer[], options: { readonly claims: boolean; readonly pausesAt?: number[] }) {
  const { wire, whenAsked } = createWire();
  readDirectly(wire);
  const pool = new Pool('http://engine.test', {
    connections: 1,
    pipelining: 1,
    bodyTimeout: 0,
    connect: (_options, callback) => void setImmediate(() => callback(null, wire as never)),
  });
  const ask = (handler: Handler): void => void pool.dispatch({ method: 'POST', path: '/', body: '{}' }, handler);
  const handler = new Handler(options.claims, options.pausesAt ?? []);
  ask(handler);
  await whenAsked();
  await turn();
  for (const piece of pieces) {
    wire.push(piece);
    await turn();
    if (handler.controller?.paused === true) {
      await turn();
      handler.controller.resume();
      await turn();
    }
  }
  await turn();
  if (handler.controller?.paused === true) handler.controller.resume();
  await turn();
  const next = new Handler(options.claims, []);
  if (handler.seen.ended) {
    ask(next);
    await whenAsked();
    await turn();
    wire.push(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext'));
    await next.over.promise;
  }
  await pool.destroy();
  await handler.over.promise;
  return { seen: handler.seen, next: Buffer.concat(next.seen.data).toString() };
}

function chunk(bytes: Buffer, extension = ''): Buffer {
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}${extension}\r\n`), bytes, Buffer.from('\r\n')]);
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % bytes.length)), bytes.length].toSorted((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end)).filter(({ length }) => length > 0);
}

const END = Buffer.from('0\r\n\r\n');

describe('bodies whose whole chunks pass undici by', () => {
  it('events that come one by one reach their receiver alone, and the connection serves the next request', async () => {
    const events = ['data: {"a":1}\n\n', 'data: {"b":2}\n\n', 'data: [DONE]\n\n'].map((text) => Buffer.from(text));
    const pieces = [Buffer.from(HEAD), ...events.map((event) => chunk(event)), END];
    const { seen, next } = await play(pieces, { claims: true });
    expect(seen).toEqual({ data: events, direct: 3, whilePaused: 0, ended: true, error: null });
    expect(next).toBe('next');
  });

  it('several chunks in one piece are several pieces of data, as undici tells them', async () => {
    const events = ['one', 'two', 'three'].map((text) => Buffer.from(text));
    const pieces = [Buffer.from(HEAD), Buffer.concat(events.map((event) => chunk(event))), END];
    const { seen } = await play(pieces, { claims: true });
    expect(seen).toEqual({ data: events, direct: 3, whilePaused: 0, ended: true, error: null });
  });

  it('after a chunk that came in two pieces the next ones pass undici by again', async () => {
    const [first, second] = cut(chunk(Buffer.from('one')), [5]) as [Buffer, Buffer];
    const pieces = [Buffer.from(HEAD), first, second, chunk(Buffer.from('two')), chunk(Buffer.from('six')), END];
    const { seen } = await play(pieces, { claims: true });
    expect([Buffer.concat(seen.data).toString(), seen.direct, seen.ended]).toEqual(['onetwosix', 2, true]);
  });

  it('a receiver that pauses in the middle of a piece gets the rest when it goes on', async () => {
    const events = ['one', 'two', 'three', 'four'].map((text) => Buffer.from(text));
    const pieces = [Buffer.from(HEAD), Buffer.concat(events.map((event) => chunk(event))), END];
    const { seen, next } = await play(pieces, { claims: true, pausesAt: [2] });
    expect(Buffer.concat(seen.data).toString()).toBe('onetwothreefour');
    expect([seen.ended, next]).toEqual([true, 'next']);
    // undici sees that it is to pause when it has passed one on.
    expect(seen.whilePaused).toBeLessThanOrEqual(1);
  });

  it('data that looks like chunks is data, wherever a piece begins', async () => {
    const data = Buffer.from('1\r\na\r\n2\r\nbc\r\n');
    const body = Buffer.concat([chunk(data), chunk(data), END]);
    for (let first = 0; first < body.length; first += 1) {
      for (let second = first + 1; second < body.length; second += 1) {
        const pieces = [body.subarray(0, first), body.subarray(first, second), body.subarray(second)];
        const head =
          first % 2 === 0 ? [Buffer.from(HEAD)] : [Buffer.concat([Buffer.from(HEAD), pieces.shift() as Buffer])];
        const { seen, next } = await play([...head, ...pieces.filter(({ length }) => length > 0)], { claims: true });
        expect([Buffer.concat(seen.data), seen.ended, next]).toEqual([Buffer.concat([data, data]), true, 'next']);
      }
    }
  });

  it('a head in two pieces leaves the whole body to undici', async () => {
    const [first, second] = cut(Buffer.from(HEAD), [20]) as [Buffer, Buffer];
    const { seen } = await play([first, second, chunk(Buffer.from('one')), END], { claims: true });
    expect(seen).toEqual({ data: [Buffer.from('one')], direct: 0, whilePaused: 0, ended: true, error: null });
  });

  it('what is no chunk is an error, whatever came before it', async () => {
    const pieces = [Buffer.from(HEAD), chunk(Buffer.from('one')), Buffer.from('no chunk\r\n')];
    const { seen } = await play(pieces, { claims: true });
    expect(Buffer.concat(seen.data).toString()).toBe('one');
    expect([seen.ended, seen.error]).toEqual([false, expect.stringMatching(/chunk size/i)]);
  });

  it('whatever the chunks, however they are cut and whenever the receiver pauses, it gets what undici would give it', async () => {
    const chunks = fc.array(
      fc.record({
        bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
        extension: fc.constantFrom('', '', '', ';a=b'),
      }),
      { maxLength: 8 },
    );
    const ending = fc.constantFrom('0\r\n\r\n', '00\r\n\r\n', '0\r\nx-trailer: 1\r\n\r\n', '', 'zz\r\n', '5\r\nabc');
    const cuts = fc.array(fc.nat(), { maxLength: 12 });
    const pausesAt = fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(chunks, ending, cuts, pausesAt, fc.boolean(), async (list, end, places, pauses, byChunk) => {
        const parts = list.map(({ bytes, extension }) => chunk(bytes, extension));
        const pieces = byChunk
          ? [Buffer.from(HEAD), ...parts, Buffer.from(end)]
          : cut(Buffer.concat([Buffer.from(HEAD), ...parts, Buffer.from(end)]), places);
        const all = pieces.filter(({ length }) => length > 0);
        const claimed = await play(all, { claims: true, pausesAt: pauses });
        const plain = await play(all, { claims: false, pausesAt: pauses });
        expect(Buffer.concat(claimed.seen.data)).toEqual(Buffer.concat(plain.seen.data));
        expect([claimed.seen.ended, claimed.next]).toEqual([plain.seen.ended, plain.next]);
      }),
      { numRuns: 300 },
    );
  });
});
