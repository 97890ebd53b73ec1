// An applied claim as it is kept: exactly the bytes that stringifying all of it again would give.
import * as fc from 'fast-check';
import { inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { hashMessage } from '#accounting/message-log.ts';
import { writeMessage, writeRecords } from '#domain/message-text.ts';
import type { Claim, SyncMessage } from '#domain/settlement.ts';
import {
  formatLink,
  leavesEntry,
  packEntry,
  packEntryInTurns,
  parseLink,
  readEntryBody,
  restoreEntry,
} from '#store/claim-entries.ts';
import { packRecords, type PackedRecords } from '#store/record-batches.ts';
import { recordAt } from '#test/contract/settlement-messages.ts';
import { claimOfRecords, messageOf, recordLists } from '#test/support/generated-claims.ts';

const BASE_MS = 1_800_000_000_000;

/** The definition of an entry's body. */
function defineBody(message: SyncMessage, claim: Claim, packed: PackedRecords, closedThrough: number): string {
  return JSON.stringify({
    message: { ...message, claim: { ...claim, records: [] } },
    batches: packed.batches.map(({ firstEndedMs, lastEndedMs }) => ({
      day: Math.floor(lastEndedMs / 86_400_000) * 86_400,
      firstEndedMs,
    })),
    records: packed.places.map(({ part, digest }) => [part, digest]),
    ...(closedThrough === 0 ? {} : { closedThrough }),
  });
}

function pack(message: SyncMessage, closedThrough = 0) {
  const { shell, records } = writeMessage(message);
  const packed = packRecords(records);
  const source = { sealedThrough: message.sealedThrough, shell };
  return { source, packed, entry: packEntry(source, packed, closedThrough) };
}

describe('claim entries', () => {
  test('an entry is byte for byte what its definition says, packed at once or in turns', async () => {
    const closings = fc.constantFrom(0, 1_798_761_600);
    await fc.assert(
      fc.asyncProperty(recordLists, closings, async (records, closedThrough) => {
        const claim = claimOfRecords(records);
        const message = messageOf(claim);
        const { source, packed, entry } = pack(message, closedThrough);
        const defined = defineBody(message, claim, packed, closedThrough);
        expect(inflateRawSync(entry.body).toString()).toBe(defined);
        const inTurns = await packEntryInTurns(source, packed, closedThrough);
        expect(inflateRawSync(inTurns.body).toString()).toBe(defined);
        expect(inTurns.day).toBe(entry.day);
      }),
      { numRuns: 50 },
    );
  });

  test('thousands of places are written like a few', async () => {
    const record = recordAt(BASE_MS);
    const claim = claimOfRecords(Array.from({ length: 2_100 }, () => record));
    const { packed, entry } = pack(messageOf(claim));
    expect(inflateRawSync(entry.body).toString()).toBe(defineBody(messageOf(claim), claim, packed, 0));
  });

  test('a message put together from its entry and batches has the hash it was sent with, in whatever order its records ended', () => {
    fc.assert(
      fc.property(recordLists, (drawn) => {
        const claim = claimOfRecords(drawn);
        const message = messageOf(claim);
        const { packed, entry: packedEntry } = pack(message);
        const entry = restoreEntry(
          readEntryBody(packedEntry.body),
          null,
          packed.batches.map((batch) => batch.body),
        );
        expect(entry.records.every(({ digest, digestNow }) => digest === digestNow)).toBe(true);
        const records = entry.records.flatMap(({ record }) => (record === null ? [] : [record]));
        const restored = { ...entry.message, claim: { ...claim, records } };
        expect(JSON.stringify(records)).toBe(JSON.stringify(drawn));
        expect(hashMessage(restored)).toBe(message.hash);
      }),
      { numRuns: 50 },
    );
  });

  test('a batch that is missing or cannot be read leaves its records unknown, not the others', () => {
    const claim = claimOfRecords([recordAt(BASE_MS), recordAt(BASE_MS + 1_200_000)]);
    const { packed, entry: packedEntry } = pack(messageOf(claim));
    for (const broken of [undefined, Buffer.from('rubbish')]) {
      const entry = restoreEntry(readEntryBody(packedEntry.body), null, [broken, packed.batches[1]?.body]);
      expect(entry.records.map(({ record }) => record?.recordId ?? null)).toEqual([null, claim.records[1]?.recordId]);
    }
  });

  test('a claim that moves nothing leaves no entry', () => {
    const claim = claimOfRecords([]);
    expect(leavesEntry(claim, packRecords(writeRecords([])))).toBe(false);
    expect(leavesEntry(claim, packRecords(writeRecords([recordAt(BASE_MS)])))).toBe(true);
  });

  test('a link comes back as it was written, and anything else is none', () => {
    const link = { day: 86_400, seq: 7, hash: 'a|b' };
    expect(parseLink(formatLink(link))).toEqual(link);
    expect(formatLink(null)).toBe('');
    expect(parseLink('')).toBeNull();
    expect(parseLink('x|1|h')).toBeNull();
  });
});
