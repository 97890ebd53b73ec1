// A message in parts: together they say what the message says, in texts of bounded length.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type MessageText, writeMessage } from '#domain/message-text.ts';
import type { SyncMessage } from '#domain/settlement.ts';
import { claimOfRecords, messageOf, recordLists } from '#test/support/generated-claims.ts';

function joinParts({ shell, records }: MessageText): SyncMessage {
  const message = JSON.parse(shell.join('')) as SyncMessage;
  const read = JSON.parse(`[${records.pieces.map((piece) => Buffer.from(piece).toString()).join(',')}]`) as NonNullable<
    SyncMessage['claim']
  >['records'];
  return message.claim === null ? message : { ...message, claim: { ...message.claim, records: read } };
}

describe('message text', () => {
  test('the parts together are the JSON of the message', () => {
    fc.assert(
      fc.property(recordLists, (records) => {
        const message = messageOf(claimOfRecords(records));
        const text = writeMessage(message);
        expect(JSON.stringify(joinParts(text))).toBe(JSON.stringify(message));
        expect([...text.records.endedAtMs]).toEqual(records.map(({ endedAtMs }) => endedAtMs));
        expect([...text.records.lengths]).toEqual(records.map((record) => Buffer.byteLength(JSON.stringify(record))));
      }),
      { numRuns: 50 },
    );
  });

  test('records of any length stand in their order, those too long for a piece in one of their own', () => {
    const [record] = fc.sample(recordLists, 50).find((list) => list.length > 0) ?? [];
    if (record === undefined) throw new Error('no record was drawn');
    const lengths = [1, 20_000, 1, 1, 50_000, 30_000, 30_000, 30_000, 1];
    const records = lengths.map((length) => ({ ...record, user: 'ü'.repeat(length) }));
    const message = messageOf(claimOfRecords(records));
    const text = writeMessage(message);
    expect(JSON.stringify(joinParts(text))).toBe(JSON.stringify(message));
    expect([...text.records.lengths]).toEqual(records.map((one) => Buffer.byteLength(JSON.stringify(one))));
  });

  test('a message without a claim is all shell', () => {
    const message = messageOf(null);
    const { shell, records } = writeMessage(message);
    expect(shell.join('')).toBe(JSON.stringify(message));
    expect(records.pieces).toEqual([]);
  });

  test('no piece holds more than 64 records', () => {
    const [record] = fc.sample(recordLists, 50).find((list) => list.length > 0) ?? [];
    if (record === undefined) throw new Error('no record was drawn');
    const { pieces } = writeMessage(messageOf(claimOfRecords(Array.from({ length: 200 }, () => record)))).records;
    const counts = pieces.map((piece) => (JSON.parse(`[${Buffer.from(piece).toString()}]`) as unknown[]).length);
    expect(counts).toEqual([64, 64, 64, 8]);
    // What crosses to a thread takes all of its memory along.
    expect(pieces.map(({ buffer }) => buffer.byteLength)).toEqual(pieces.map(({ length }) => length));
  });
});
