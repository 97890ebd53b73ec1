// Settled records as a store keeps them: deflated batches, one per claim and ten minutes of endings. No paging (read-record-page.ts).
import { setImmediate as nextTurn } from 'node:timers/promises';
import { crc32, inflateRawSync } from 'node:zlib';
import { type RecordTexts, separatePieces } from '#domain/message-text.ts';
import type { SettledRecordJson } from '#domain/settlement.ts';
import { deflateInTurns, deflateQuickly } from './deflate-text.ts';

/** Batches span at most this, so that a page in the middle of a day need not look at the whole day. */
export const BATCH_SPAN_MS = 600_000;

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
export function digestRecord(json: string | Uint8Array): string {
  return crc32(json).toString(16).padStart(8, '0');
}

const [OPENING, CLOSING] = [Buffer.from('['), Buffer.from(']')] as const;

interface BatchDraft {
  firstEndedMs: number;
  lastEndedMs: number;
  readonly part: number;
  /** Records joined by commas. */
  readonly runs: Uint8Array[];
}

/** Records that ended in the same ten minutes together, in their order. */
class BatchDrafts {
  readonly #records: RecordTexts;
  readonly #drafts = new Map<number, BatchDraft>();
  readonly #places: RecordPlace[] = [];

  constructor(records: RecordTexts) {
    this.#records = records;
  }

  /** Divides the records of the next piece. */
  add(piece: Uint8Array): void {
    const { lengths } = this.#records;
    let runFrom = 0;
    let run: BatchDraft | null = null;
    for (let from = 0; from < piece.length;) {
      const index = this.#places.length;
      const to = from + (lengths[index] ?? piece.length);
      const draft = this.#draftOf(this.#records.endedAtMs[index] ?? 0);
      if (draft !== run) {
        run?.runs.push(piece.subarray(runFrom, from - 1));
        run = draft;
        runFrom = from;
      }
      this.#places.push({ part: draft.part, digest: digestRecord(piece.subarray(from, to)) });
      from = to + 1;
    }
    run?.runs.push(piece.subarray(runFrom));
  }

  #draftOf(endedMs: number): BatchDraft {
    const slot = Math.floor(endedMs / BATCH_SPAN_MS);
    const known = this.#drafts.get(slot);
    if (known === undefined) {
      const draft = { firstEndedMs: endedMs, lastEndedMs: endedMs, part: this.#drafts.size, runs: [] };
      this.#drafts.set(slot, draft);
      return draft;
    }
    known.firstEndedMs = Math.min(known.firstEndedMs, endedMs);
    known.lastEndedMs = Math.max(known.lastEndedMs, endedMs);
    return known;
  }

  get places(): readonly RecordPlace[] {
    return this.#places;
  }

  /** What each batch holds, by its number. */
  read(): (Omit<RecordBatch, 'body'> & { readonly parts: readonly Uint8Array[] })[] {
    return [...this.#drafts.values()].map(({ firstEndedMs, lastEndedMs, runs }) => {
      const parts = [OPENING, ...separatePieces(runs), CLOSING];
      return { firstEndedMs, lastEndedMs, parts };
    });
  }
}

/** The records as they are kept. */
export function packRecords(records: RecordTexts): PackedRecords {
  const drafts = new BatchDrafts(records);
  for (const piece of records.pieces) drafts.add(piece);
  const batches = drafts.read().map(({ parts, ...range }) => ({ ...range, body: deflateQuickly(parts) }));
  return { batches, places: drafts.places };
}

/** The same, while the event loop turns. */
export async function packRecordsInTurns(records: RecordTexts): Promise<PackedRecords> {
  const drafts = new BatchDrafts(records);
  for (const piece of records.pieces) {
    drafts.add(piece);
    await nextTurn();
  }
  const batches: RecordBatch[] = [];
  for (const { parts, ...range } of drafts.read()) batches.push({ ...range, body: await deflateInTurns(parts) });
  return { batches, places: drafts.places };
}

/** Inverse of one batch's body. */
export function unpackRecords(body: Uint8Array): SettledRecordJson[] {
  return JSON.parse(inflateRawSync(body).toString()) as SettledRecordJson[];
}
