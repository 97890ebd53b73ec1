// A sync message as text in parts: its records are made into JSON once, by who makes the message, and stores keep that text.
// Not here: what is hashed and journaled, which is the parts in one (accounting/message-log.ts).
import type { SettledRecordJson, SyncMessage } from './settlement.ts';

/** Bounds a step of work on the records, such as their checksums, to a part of a millisecond. */
const RECORDS_PER_PIECE = 64;
/** Holds as many of them as are no longer than twice the usual. */
const PIECE_BYTES = 96 * 1024;
/** One UTF-16 unit is three bytes of UTF-8 at most. */
const BYTES_PER_UNIT = 3;
const COMMA = Buffer.of(0x2c);

/** The JSON of a claim's records, in their order. In bytes: as strings they would live with what the collector looks through. */
export interface RecordTexts {
  /** UTF-8 of up to RECORDS_PER_PIECE records each, joined by commas: a few long pieces cross to a thread cheaply. */
  readonly pieces: readonly Uint8Array[];
  /** By record: bytes of its JSON. */
  readonly lengths: Uint32Array;
  /** By record. */
  readonly endedAtMs: Float64Array;
}

/** What a store is told of a message. */
export interface MessageText {
  /** JSON of the message with an empty list in place of its claim's records, in parts: as one it would be megabytes at saturation. */
  readonly shell: readonly string[];
  /** Without any where there is no claim. */
  readonly records: RecordTexts;
}

/** Makes records into text one by one, for callers that do so in steps. */
export class RecordTextWriter {
  readonly #pieces: Uint8Array[] = [];
  readonly #lengths: number[] = [];
  readonly #endedAtMs: number[] = [];
  #open: Buffer | null = null;
  #end = 0;
  #count = 0;

  add(record: SettledRecordJson): void {
    const json = JSON.stringify(record);
    const bytesMax = json.length * BYTES_PER_UNIT + 1;
    if (this.#end + bytesMax > PIECE_BYTES) this.#close();
    this.#endedAtMs.push(record.endedAtMs);
    if (bytesMax > PIECE_BYTES) {
      const own = Buffer.from(json);
      this.#lengths.push(own.length);
      this.#pieces.push(own);
      return;
    }
    const open = (this.#open ??= Buffer.allocUnsafeSlow(PIECE_BYTES));
    if (this.#count > 0) {
      this.#end += COMMA.copy(open, this.#end);
    }
    const length = open.write(json, this.#end);
    this.#lengths.push(length);
    this.#end += length;
    this.#count += 1;
    if (this.#count === RECORDS_PER_PIECE) this.#close();
  }

  /** Call once, after the last record. */
  finish(): RecordTexts {
    this.#close();
    return {
      pieces: this.#pieces,
      lengths: Uint32Array.from(this.#lengths),
      endedAtMs: Float64Array.from(this.#endedAtMs),
    };
  }

  /** Each piece has memory of its own: what crosses to a thread takes all of it along. */
  #close(): void {
    if (this.#open === null || this.#count === 0) return;
    this.#pieces.push(Uint8Array.prototype.slice.call(this.#open, 0, this.#end));
    this.#end = this.#count = 0;
  }
}

/** Pieces as they stand in a list: with a comma between any two. */
export function separatePieces(pieces: readonly Uint8Array[]): readonly Uint8Array[] {
  return pieces.flatMap((piece, index) => (index === 0 ? [piece] : [COMMA, piece]));
}

/** The records of a claim that was read again, or restored. */
export function writeRecords(records: readonly SettledRecordJson[]): RecordTexts {
  const writer = new RecordTextWriter();
  for (const record of records) writer.add(record);
  return writer.finish();
}

/** The JSON of a message without its claim's records. */
export function writeShell(message: SyncMessage): readonly string[] {
  const { claim } = message;
  return [JSON.stringify(claim === null ? message : { ...message, claim: { ...claim, records: [] } })];
}

/** The text of a message that has none of its own: read again from a journal, or made by hand. */
export function writeMessage(message: SyncMessage): MessageText {
  return { shell: writeShell(message), records: writeRecords(message.claim?.records ?? []) };
}
