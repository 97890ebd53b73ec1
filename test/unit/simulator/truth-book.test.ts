// The book of truth: what it keeps, for how long, and what it answers.
import { describe, expect, it } from 'vitest';
import { TruthBook } from '#simulator/truth-book.ts';

const open = (book: TruthBook, id: string) => book.open({ id, requestId: null, promptTokens: 5, arrivedAtMs: 1 });

describe('TruthBook', () => {
  it('keeps the newest requests when it is full, oldest first, and all that still run', () => {
    const book = new TruthBook(3);
    const running = open(book, 'running');
    for (const [index, id] of ['a', 'b', 'c', 'd', 'e'].entries()) {
      book.end(open(book, id), { atMs: index, aborted: false });
    }
    expect(book.list().map((request) => request.id)).toEqual(['c', 'd', 'e', 'running']);
    expect(book.list(4).map((request) => request.id)).toEqual(['e', 'running']);
    expect(running.finishedAtMs).toBeNull();
  });

  it('GPU time is the sum of its phases, also of a share that comes after the end', () => {
    const book = new TruthBook();
    const entry = open(book, 'a');
    entry.account.prefillMs = 3;
    book.end(entry, { atMs: 10, aborted: true });
    entry.account.decodeMs = 4;
    expect(book.list()[0]).toMatchObject({ gpuTimeMs: 7, prefillMs: 3, decodeMs: 4, aborted: true, finishedAtMs: 10 });
  });

  it('only the first end of a request counts', () => {
    const book = new TruthBook();
    const entry = open(book, 'a');
    book.end(entry, { atMs: 10, aborted: false });
    book.end(entry, { atMs: 20, aborted: true });
    expect(book.list()).toHaveLength(1);
    expect(book.list()[0]).toMatchObject({ finishedAtMs: 10, aborted: false });
  });
});
