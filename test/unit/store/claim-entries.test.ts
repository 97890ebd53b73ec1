import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hashMessage } from '#accounting/message-log.ts';
import type { SettledRecordJson, SyncMessage } from '#domain/settlement.ts';
import { formatLink, leavesEntry, packEntry, parseLink, readEntryBody, restoreEntry } from '#store/claim-entries.ts';
import { packRecords } from '#store/record-batches.ts';
import { recordAt } from '#test/contract/settlement-messages.ts';

const BASE_MS = 1_800_000_000_000;

function messageOf(records: readonly SettledRecordJson[]): SyncMessage {
  const body = {
    journal: 'j',
    epoch: 'e',
    seq: 3,
    prevHash: 'p',
    sealedThrough: BASE_MS / 1000,
    publications: [],
    healthChanges: [],
    blind: [],
    claim: { k0: 1, k: 2, hash: 'h', totalNanoUsd: '0', lines: [], increments: [], pools: [], records },
    leave: false,
  };
  return { ...body, incarnation: 4, hash: hashMessage(body) };
}

describe('claim entries', () => {
  test('a message put together from its entry and batches has the hash it was sent with, in whatever order its records ended', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3_000_000 }), { maxLength: 12 }), (endings) => {
        const message = messageOf(endings.map((ending) => recordAt(BASE_MS + ending)));
        const claim = message.claim as NonNullable<SyncMessage['claim']>;
        const packed = packRecords(claim.records);
        const { body } = packEntry(message, claim, packed, 0);
        const entry = restoreEntry(
          readEntryBody(body),
          null,
          packed.batches.map((batch) => batch.body),
        );
        expect(entry.records.every(({ digest, digestNow }) => digest === digestNow)).toBe(true);
        const records = entry.records.flatMap(({ record }) => (record === null ? [] : [record]));
        const restored = { ...entry.message, claim: { ...claim, records } };
        expect(records).toEqual(claim.records);
        expect(hashMessage(restored)).toBe(message.hash);
      }),
      { numRuns: 50 },
    );
  });

  test('a batch that is missing or cannot be read leaves its records unknown, not the others', () => {
    const message = messageOf([recordAt(BASE_MS), recordAt(BASE_MS + 1_200_000)]);
    const claim = message.claim as NonNullable<SyncMessage['claim']>;
    const packed = packRecords(claim.records);
    const { body } = packEntry(message, claim, packed, 0);
    for (const broken of [undefined, Buffer.from('rubbish')]) {
      const entry = restoreEntry(readEntryBody(body), null, [broken, packed.batches[1]?.body]);
      expect(entry.records.map(({ record }) => record?.recordId ?? null)).toEqual([null, claim.records[1]?.recordId]);
    }
  });

  test('a claim that moves nothing leaves no entry', () => {
    const claim = messageOf([]).claim as NonNullable<SyncMessage['claim']>;
    expect(leavesEntry(claim)).toBe(false);
    expect(leavesEntry({ ...claim, records: [recordAt(BASE_MS)] })).toBe(true);
  });

  test('a link comes back as it was written, and anything else is none', () => {
    const link = { day: 86_400, seq: 7, hash: 'a|b' };
    expect(parseLink(formatLink(link))).toEqual(link);
    expect(formatLink(null)).toBe('');
    expect(parseLink('')).toBeNull();
    expect(parseLink('x|1|h')).toBeNull();
  });
});
