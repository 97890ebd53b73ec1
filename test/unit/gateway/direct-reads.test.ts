import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readDirectly } from '#gateway/direct-reads.ts';

/** A connection that brings what `push` is given, and a reader as undici's: told by `readable`, it asks until there is nothing more or it pauses. */
function connect(options: { readonly highWaterMark?: number } = {}) {
  const socket = new Duplex({ ...options, read() {}, write: (_chunk, _encoding, done) => done() });
  readDirectly(socket as unknown as Socket);
  const pieces: string[] = [];
  const reader = { isPaused: false, pausesAfter: Number.POSITIVE_INFINITY, asked: 0, ended: false };
  const readMore = (): void => {
    while (!reader.isPaused) {
      reader.asked += 1;
      const piece = socket.read() as Buffer | null;
      if (piece === null) break;
      pieces.push(String(piece));
      if (pieces.length >= reader.pausesAfter) reader.isPaused = true;
    }
  };
  socket.on('readable', readMore);
  socket.on('end', () => (reader.ended = true));
  const resume = (): void => {
    reader.isPaused = false;
    reader.pausesAfter = Number.POSITIVE_INFINITY;
    readMore();
  };
  return { socket, pieces, reader, resume };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('direct-reads', () => {
  it('a piece is with its reader before what brought it returns', () => {
    const { socket, pieces } = connect();
    expect(socket.push(Buffer.from('one'))).toBe(true);
    expect(socket.push(Buffer.from('two'))).toBe(true);
    expect([pieces, socket.readableLength]).toEqual([['one', 'two'], 0]);
  });

  it('what a reader that paused leaves is kept in order, up to the mark at which the source is told to stop', async () => {
    const { socket, pieces, reader, resume } = connect({ highWaterMark: 6 });
    reader.pausesAfter = 1;
    const goesOn = ['one', 'two', 'six'].map((text) => socket.push(Buffer.from(text)));
    await settled();
    expect([pieces, socket.readableLength, goesOn]).toEqual([['one'], 6, [true, true, false]]);
    resume();
    await settled();
    socket.push(Buffer.from('ten'));
    await settled();
    expect(pieces.join('')).toBe('onetwosixten');
  });

  it('what a reader gives back comes first again', async () => {
    const { socket, pieces, reader, resume } = connect();
    reader.pausesAfter = 1;
    socket.on('readable', () => {
      if (pieces.at(-1) === 'onetwo') socket.unshift(Buffer.from(pieces.pop()?.slice(3) ?? ''));
    });
    socket.push(Buffer.from('onetwo'));
    socket.push(Buffer.from('six'));
    await settled();
    resume();
    await settled();
    expect(pieces.join('')).toBe('twosix');
  });

  it('what comes before anybody listens is kept', () => {
    const socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    readDirectly(socket as unknown as Socket);
    socket.push(Buffer.from('early'));
    expect(String(socket.read())).toBe('early');
  });

  it('the end is told after everything that came before it, and not before a reader has taken that', async () => {
    const { socket, pieces, reader, resume } = connect();
    reader.pausesAfter = 1;
    for (const piece of ['one', 'two', null]) socket.push(piece === null ? null : Buffer.from(piece));
    await settled();
    expect([pieces, reader.ended]).toEqual([['one'], false]);
    resume();
    await settled();
    expect([pieces, reader.ended]).toEqual([['one', 'two'], true]);
  });

  it('a reader that closes the connection in the middle of a piece is told nothing more', async () => {
    const { socket, pieces } = connect();
    socket.on('readable', () => socket.destroy());
    expect(socket.push(Buffer.from('one'))).toBe(false);
    socket.push(Buffer.from('two'));
    await settled();
    expect(pieces).toEqual(['one']);
  });

  it('whatever comes and whenever the reader pauses, it gets every byte once and in order', async () => {
    const step = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 5 }).map((bytes) => Buffer.from(bytes)),
      fc.constantFrom('pause', 'resume', 'wait'),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.boolean(), async (steps, ends) => {
        const { socket, reader, resume } = connect({ highWaterMark: 8 });
        const got: Buffer[] = [];
        const read = socket.read.bind(socket);
        socket.read = (size?: number): unknown => {
          const piece = read(size) as Buffer | null;
          if (piece !== null) got.push(piece);
          return piece;
        };
        for (const one of steps) {
          if (one === 'pause') reader.isPaused = true;
          else if (one === 'resume') resume();
          else if (one === 'wait') await settled();
          else socket.push(one);
        }
        if (ends) socket.push(null);
        resume();
        await settled();
        resume();
        await settled();
        expect(Buffer.concat(got)).toEqual(Buffer.concat(steps.filter((one) => typeof one !== 'string')));
        expect(reader.ended).toBe(ends);
      }),
    );
  });
});
