import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { writeRecords } from '#domain/message-text.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { readRecordPage, type BatchHead, type BatchSource } from '#store/read-record-page.ts';
import { BATCH_SPAN_MS, packRecords, unpackRecords } from '#store/record-batches.ts';
import { recordAt } from '#test/contract/settlement-messages.ts';

const BASE_MS = 1_800_000_000_000;

/** Batches as a store would hold them, one claim each. */
function sourceOf(claims: readonly (readonly SettledRecordJson[])[]): BatchSource & { bodiesRead: number } {
  const bodies = new Map<string, Buffer>();
  const heads: BatchHead[] = [];
  for (const [claim, records] of claims.entries()) {
    for (const [part, { body, ...range }] of packRecords(writeRecords(records)).batches.entries()) {
      const id = `${claim}.${part}`;
      bodies.set(id, body);
      heads.push({ id, ...range });
    }
  }
  heads.sort((left, right) => right.lastEndedMs - left.lastEndedMs || (left.id > right.id ? -1 : 1));
  const source = {
    bodiesRead: 0,
    listBatches: async ({ fromMs, toMs, skip, limit }: Parameters<BatchSource['listBatches']>[0]) =>
      heads.filter(({ lastEndedMs }) => lastEndedMs >= fromMs && lastEndedMs <= toMs).slice(skip, skip + limit),
    readBodies: async (ids: readonly string[]) => {
      source.bodiesRead += ids.length;
      return ids.map((id) => bodies.get(id));
    },
  };
  return source;
}

describe('readRecordPage', () => {
  test('pages of any size list every record once, newest first, however claims overlap', async () => {
    const offsets = fc.array(fc.array(fc.integer({ min: 0, max: 5 * BATCH_SPAN_MS }), { maxLength: 12 }), {
      maxLength: 120,
    });
    await fc.assert(
      fc.asyncProperty(offsets, fc.integer({ min: 1, max: 40 }), async (claims, limit) => {
        const records = claims.map((claim) => claim.map((offset) => recordAt(BASE_MS + offset)));
        const source = sourceOf(records);
        const seen: SettledRecordJson[] = [];
        let cursor: string | null = null;
        do {
          const page = await readRecordPage({ limit, ...(cursor === null ? {} : { cursor }) }, source);
          if (page.next !== null) expect(page.records).toHaveLength(limit);
          seen.push(...page.records);
          cursor = page.next;
        } while (cursor !== null);
        const expected = records
          .flat()
          .sort((left, right) => right.endedAtMs - left.endedAtMs || (left.recordId > right.recordId ? -1 : 1));
        expect(seen.map(({ recordId }) => recordId)).toEqual(expected.map(({ recordId }) => recordId));
      }),
      { numRuns: 60 },
    );
  });

  test('an old record of a new batch does not go before newer ones of batches not opened yet', async () => {
    const claims = Array.from({ length: 70 }, (_, i) => [recordAt(BASE_MS + 500_000 - i)]);
    claims[0]?.push(recordAt(BASE_MS), recordAt(BASE_MS + 1));
    const { records } = await readRecordPage({ limit: 65 }, sourceOf(claims));
    expect(records.map(({ endedAtMs }) => BASE_MS + 500_000 - endedAtMs)).toEqual(
      Array.from({ length: 65 }, (_, i) => i),
    );
  });

  test('a request id says when it began, so that only the batches of two hours are opened', async () => {
    const records = Array.from({ length: 400 }, (_, i) => recordAt(BASE_MS + i * BATCH_SPAN_MS));
    const source = sourceOf(records.map((record) => [record]));
    const wanted = records[200];
    const page = await readRecordPage({ limit: 5, requestId: wanted?.requestId ?? '' }, source);
    expect(page).toEqual({ records: [wanted], next: null });
    expect(source.bodiesRead).toBeLessThan(20);
  });

  test('a record is found by the id its caller gave it, also where that is a UUIDv7 made days before', async () => {
    const clientRequestId = recordAt(BASE_MS - 3 * 86_400_000).requestId;
    const wanted = recordAt(BASE_MS, { clientRequestId });
    const source = sourceOf([[recordAt(BASE_MS - 1)], [wanted], [recordAt(BASE_MS + 1)]]);
    const query = { limit: 5, requestId: clientRequestId };
    expect(await readRecordPage(query, source)).toEqual({ records: [wanted], next: null });
  });

  test('the first page opens only the newest batches', async () => {
    const source = sourceOf(Array.from({ length: 1000 }, (_, i) => [recordAt(BASE_MS + i * BATCH_SPAN_MS)]));
    await readRecordPage({ limit: 10 }, source);
    expect(source.bodiesRead).toBeLessThanOrEqual(64);
  });

  test('a batch that expired between two looks is left out', async () => {
    const source = sourceOf([[recordAt(BASE_MS)], [recordAt(BASE_MS + 1)]]);
    const page = await readRecordPage(
      { limit: 10 },
      { ...source, readBodies: async (ids) => ids.map(() => undefined) },
    );
    expect(page).toEqual({ records: [], next: null });
  });
});

describe('record batches', () => {
  test('records come back as they went in', () => {
    const records = [recordAt(BASE_MS), recordAt(BASE_MS + 1)];
    const [batch, ...others] = packRecords(writeRecords(records)).batches;
    expect(others).toEqual([]);
    expect(unpackRecords(batch?.body ?? new Uint8Array())).toEqual(records);
    expect(batch).toMatchObject({ firstEndedMs: BASE_MS, lastEndedMs: BASE_MS + 1 });
  });
});
