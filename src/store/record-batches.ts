// Settled records as a store keeps them: deflated batches, one per claim and ten minutes of endings. No paging (read-record-page.ts).
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { SettledRecordJson } from '#domain/settlement.ts';

/** Batches span at most this, so that a page in the middle of a day need not look at the whole day. */
export const BATCH_SPAN_MS = 600_000;

export interface RecordBatch {
  /** Earliest and latest `endedAtMs` inside. */
  readonly firstEndedMs: number;
  readonly lastEndedMs: number;
  /** Deflated JSON of the records. */
  readonly body: Buffer;
}

/** Records that ended in the same ten minutes together; order inside a batch is not kept. */
export function packRecords(records: readonly SettledRecordJson[]): RecordBatch[] {
  const groups = new Map<number, SettledRecordJson[]>();
  for (const record of records) {
    const slot = Math.floor(record.endedAtMs / BATCH_SPAN_MS);
    const group = groups.get(slot) ?? [];
    groups.set(slot, group);
    group.push(record);
  }
  return [...groups.values()].map((group) => {
    const endings = group.map((record) => record.endedAtMs);
    return {
      firstEndedMs: endings.reduce((least, ended) => Math.min(least, ended)),
      lastEndedMs: endings.reduce((most, ended) => Math.max(most, ended)),
      body: deflateRawSync(JSON.stringify(group)),
    };
  });
}

/** Inverse of one batch's body. */
export function unpackRecords(body: Uint8Array): SettledRecordJson[] {
  return JSON.parse(inflateRawSync(body).toString()) as SettledRecordJson[];
}
