// Settled records as a store keeps them: deflated batches, one per claim and ten minutes of endings. No paging (read-record-page.ts).
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import type { SettledRecordJson } from '#domain/settlement.ts';

/** Batches span at most this, so that a page in the middle of a day need not look at the whole day. */
export const BATCH_SPAN_MS = 600_000;

/** Records repeat each other: the quickest level takes a fifth of the default's time for an eighth more bytes. */
export const QUICK = { level: 1 };

export interface RecordBatch {
  /** Earliest and latest `endedAtMs` inside. */
  readonly firstEndedMs: number;
  readonly lastEndedMs: number;
  /** Deflated JSON of the records. */
  readonly body: Buffer;
}

/** Where a record of a claim went. */
export interface RecordPlace {
  /** Number of its batch. */
  readonly part: number;
  /** See `digestRecord`. */
  readonly digest: string;
}

export interface PackedRecords {
  readonly batches: readonly RecordBatch[];
  /** In the order of the records. */
  readonly places: readonly RecordPlace[];
}

/**
 * CRC-32 of a record's JSON in 8 hex digits: tells a changed record from its neighbours. The message's SHA-256 is the proof.
 */
export function digestRecord(json: string): string {
  return crc32(json).toString(16).padStart(8, '0');
}

interface BatchDraft {
  firstEndedMs: number;
  lastEndedMs: number;
  readonly part: number;
  readonly texts: string[];
}

/** Records that ended in the same ten minutes together, in their order. Each is made into JSON once. */
export function packRecords(records: readonly SettledRecordJson[]): PackedRecords {
  const drafts = new Map<number, BatchDraft>();
  const places: RecordPlace[] = [];
  for (const record of records) {
    const ended = record.endedAtMs;
    const slot = Math.floor(ended / BATCH_SPAN_MS);
    let draft = drafts.get(slot);
    if (draft === undefined) {
      draft = { firstEndedMs: ended, lastEndedMs: ended, part: drafts.size, texts: [] };
      drafts.set(slot, draft);
    }
    draft.firstEndedMs = Math.min(draft.firstEndedMs, ended);
    draft.lastEndedMs = Math.max(draft.lastEndedMs, ended);
    const json = JSON.stringify(record);
    draft.texts.push(json);
    places.push({ part: draft.part, digest: digestRecord(json) });
  }
  const batches = [...drafts.values()].map(({ firstEndedMs, lastEndedMs, texts }) => ({
    firstEndedMs,
    lastEndedMs,
    body: deflateRawSync(`[${texts.join(',')}]`, QUICK),
  }));
  return { batches, places };
}

/** Inverse of one batch's body. */
export function unpackRecords(body: Uint8Array): SettledRecordJson[] {
  return JSON.parse(inflateRawSync(body).toString()) as SettledRecordJson[];
}
