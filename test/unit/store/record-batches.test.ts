// Records of a claim in batches: exactly the bytes that stringifying each again would give.
import * as fc from 'fast-check';
import { crc32, inflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { writeRecords } from '#domain/message-text.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { BATCH_SPAN_MS, packRecords, packRecordsInTurns, type PackedRecords } from '#store/record-batches.ts';
import { recordAt } from '#test/contract/settlement-messages.ts';
import { recordLists } from '#test/support/generated-claims.ts';

interface PlainBatch {
  firstEndedMs: number;
  lastEndedMs: number;
  text: string;
}

/** The definition of what packing gives. */
function definePacked(records: readonly SettledRecordJson[]): { batches: PlainBatch[]; places: unknown[] } {
  const slots = new Map<number, SettledRecordJson[]>();
  const places: unknown[] = [];
  for (const record of records) {
    const slot = Math.floor(record.endedAtMs / BATCH_SPAN_MS);
    const batch = slots.get(slot) ?? [];
    slots.set(slot, batch);
    batch.push(record);
    const digest = crc32(JSON.stringify(record)).toString(16).padStart(8, '0');
    places.push({ part: [...slots.keys()].indexOf(slot), digest });
  }
  const batches = [...slots.values()].map((batch) => {
    const endings = batch.map(({ endedAtMs }) => endedAtMs);
    return { firstEndedMs: Math.min(...endings), lastEndedMs: Math.max(...endings), text: JSON.stringify(batch) };
  });
  return { batches, places };
}

function inflate({ batches, places }: PackedRecords): { batches: PlainBatch[]; places: readonly unknown[] } {
  return {
    batches: batches.map(({ body, ...range }) => ({ ...range, text: inflateRawSync(body).toString() })),
    places,
  };
}

describe('record batches', () => {
  test('batches and places are byte for byte what their definition says, packed at once or in turns', async () => {
    await fc.assert(
      fc.asyncProperty(recordLists, async (records) => {
        const defined = definePacked(records);
        expect(inflate(packRecords(writeRecords(records)))).toEqual(defined);
        expect(inflate(await packRecordsInTurns(writeRecords(records)))).toEqual(defined);
      }),
      { numRuns: 50 },
    );
  });

  test('in turns, no two pieces of records are looked at without a turn of the event loop in between', async () => {
    let turn = 0;
    const count = (): void => {
      turn += 1;
      immediate = setImmediate(count);
    };
    let immediate = setImmediate(count);
    const seenIn: number[] = [];
    class WatchedPieces extends Array<Uint8Array> {
      override *[Symbol.iterator]() {
        for (let at = 0; at < this.length; at += 1) {
          seenIn.push(turn);
          yield this[at] as Uint8Array;
        }
        return undefined;
      }
    }
    const records = writeRecords(Array.from({ length: 1_000 }, (_, i) => recordAt(1_800_000_000_000 + i)));
    await packRecordsInTurns({ ...records, pieces: WatchedPieces.from(records.pieces) as WatchedPieces });
    clearImmediate(immediate);
    expect(seenIn).toHaveLength(16);
    expect(new Set(seenIn).size).toBe(16);
  });
});
