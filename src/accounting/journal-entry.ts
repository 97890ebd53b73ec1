// What stands in the journal, and the form of one line: CRC32 of the JSON, a blank, the JSON. Not here: files (journal.ts).
// No entry holds prompt or completion text: identities and counts only.
import { crc32 } from 'node:zlib';
import type { FactBook } from '#domain/pool-facts.ts';
import type { FreezeCommit, SyncMessage } from '#domain/settlement.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import { writeHex } from '#domain/write-hex.ts';
import type { ProgressFacts, WireFacts } from './attempt-features.ts';
import type { SliceLine } from './sealed-slices.ts';
import type { SlicedWork } from './sliced-work.ts';
import type { AttemptIdentity, RecordEnding } from './tracked-attempt.ts';
import type { FinalFacts } from './work-timeline.ts';

/** Where the journal's numbering stands; opens every segment, so that older ones can be deleted. */
export interface JournalHead {
  /** UUID under which the numbers are counted. */
  readonly journal: string;
  /** Last message written, and its hash; 0 and '' before the first. */
  readonly seq: number;
  readonly hash: string;
  /** Null before the journal joined a store. */
  readonly sealedThrough: number | null;
  readonly epoch: string | null;
}

export type JournalEntry =
  | {
      readonly t: 'head';
      readonly atMs: number;
      readonly head: JournalHead;
      /** Oldest segment still needed when this line was written. */
      readonly replayFrom?: number;
    }
  | { readonly t: 'dispatch'; readonly start: AttemptIdentity }
  | {
      readonly t: 'progress';
      readonly atMs: number;
      readonly attempts: readonly (readonly [recordId: string, facts: ProgressFacts])[];
    }
  /** What the dispatch line does not say yet. */
  | {
      readonly t: 'end';
      readonly recordId: string;
      readonly ending: RecordEnding;
      readonly final: FinalFacts;
      readonly wire: WireFacts;
    }
  | { readonly t: 'unsent'; readonly record: UsageRecord }
  | {
      readonly t: 'message';
      readonly message: SyncMessage;
      readonly slices: readonly SliceLine[];
      /** Prices of the claim's lines: `hourPool` → nanodollars per GPU hour. */
      readonly prices: readonly (readonly [hourPool: string, nanoUsdPerGpuHour: string])[];
    }
  | {
      readonly t: 'ack';
      readonly atMs: number;
      readonly seq: number;
      readonly claimApplied: boolean | null;
      /** Publications of it that came too late; null or absent (older journals): not known. */
      readonly lateCount?: number | null;
    }
  /** The store lost what it had acknowledged after `seq`. */
  | { readonly t: 'rollback'; readonly atMs: number; readonly seq: number }
  /** Only for a rebuild (freeze-witness.ts): facts in force, a freeze about to be committed, and that it was. */
  | { readonly t: 'facts'; readonly atMs: number; readonly epoch: string; readonly book: FactBook }
  | { readonly t: 'freeze'; readonly epoch: string; readonly previousHash: string; readonly commit: FreezeCommit }
  | { readonly t: 'frozen'; readonly atMs: number; readonly k: number; readonly hash: string };

const CRC_DIGITS = 8;
const BLANK = 0x20;
const NEWLINE = 0x0a;
/** Longer lines, those of large messages, get a buffer of their own. */
const LINE_BYTES = 64 * 1024;
/** Checksum, blank and newline. */
const AROUND = CRC_DIGITS + 2;

/** Encodes lines one after another into one buffer: on the hot path a line costs no buffer of its own. */
export class LineEncoder {
  readonly #buffer = Buffer.allocUnsafeSlow(LINE_BYTES);

  /** The bytes of the line of this JSON, newline included; valid until the next call. */
  encode(json: string): Buffer {
    const into = this.#holds(json, 0) ? this.#buffer : Buffer.allocUnsafeSlow(Buffer.byteLength(json) + AROUND);
    return into.subarray(0, encodeInto(into, 0, json));
  }

  /** The same for lines one after another, as many at a time as the buffer holds; each piece is valid until the next is asked for. */
  *encodeMany(lines: readonly string[]): Generator<{ readonly bytes: Buffer; readonly count: number }> {
    let end = 0;
    let count = 0;
    for (const json of lines) {
      if (count > 0 && !this.#holds(json, end)) {
        yield { bytes: this.#buffer.subarray(0, end), count };
        end = count = 0;
      }
      if (this.#holds(json, end)) {
        end = encodeInto(this.#buffer, end, json);
        count += 1;
      } else {
        yield { bytes: this.encode(json), count: 1 };
      }
    }
    if (count > 0) yield { bytes: this.#buffer.subarray(0, end), count };
  }

  /** One UTF-16 unit is three bytes of UTF-8 at most. What may be longer is measured: it may be megabytes. */
  #holds(json: string, from: number): boolean {
    return from + json.length * 3 + AROUND <= LINE_BYTES;
  }
}

/** The bytes of one line, in pieces: those of a large message are never put together in memory. */
export interface EncodedLine {
  /** Newline included. */
  readonly pieces: readonly Uint8Array[];
  readonly length: number;
}

/** Encodes a line whose JSON is at hand in bytes. */
export function* encodePieces(json: readonly Uint8Array[]): SlicedWork<EncodedLine> {
  let sum = 0;
  let length = AROUND;
  for (const piece of json) {
    sum = crc32(piece, sum);
    length += piece.length;
    yield;
  }
  const head = Buffer.alloc(CRC_DIGITS + 1, BLANK);
  writeHex(head, 0, CRC_DIGITS, sum);
  return { pieces: [head, ...json, Buffer.of(NEWLINE)], length };
}

/** The JSON of an encoded line. */
export function readEncoded({ pieces }: EncodedLine): string {
  return Buffer.concat(pieces.slice(1, -1)).toString();
}

/** Writes one line at `from`; returns where it ends. */
function encodeInto(into: Buffer, from: number, json: string): number {
  const start = from + CRC_DIGITS + 1;
  const end = start + into.write(json, start, 'utf8');
  writeHex(into, from, CRC_DIGITS, crc32(into.subarray(start, end)));
  into[start - 1] = BLANK;
  into[end] = NEWLINE;
  return end + 1;
}

/** The entry of one line without its newline, or null when the line is torn or damaged. */
export function decodeEntry(line: string): JournalEntry | null {
  const json = line.slice(CRC_DIGITS + 1);
  if (line[CRC_DIGITS] !== ' ' || checksum(json) !== line.slice(0, CRC_DIGITS)) return null;
  // What carries a valid checksum was written by this program.
  return JSON.parse(json) as JournalEntry;
}

function checksum(json: string): string {
  return crc32(json).toString(16).padStart(CRC_DIGITS, '0');
}
