// A sync message as text in parts: its records are made into JSON once, by who makes the message, and stores keep that text.
// Not here: what is hashed and journaled, which is the parts in one (accounting/message-log.ts).
import type { SettledRecordJson, SyncMessage } from './settlement.ts';

/** Bounds a step of work on the records, such as their checksums, to a part of a millisecond. */
const RECORDS_PER_TEXT = 64;

/** The JSON of a claim's records, in their order. */
export interface RecordTexts {
  /** The JSON of up to RECORDS_PER_TEXT records each, joined by commas: a few long strings cross to a thread cheaply. */
  readonly texts: readonly string[];
  /** By record: characters of its JSON. */
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
  readonly #texts: string[] = [];
  readonly #lengths: number[] = [];
  readonly #endedAtMs: number[] = [];
  #open: string[] = [];

  add(record: SettledRecordJson): void {
    const json = JSON.stringify(record);
    this.#lengths.push(json.length);
    this.#endedAtMs.push(record.endedAtMs);
    if (this.#open.push(json) === RECORDS_PER_TEXT) this.#close();
  }

  /** Call once, after the last record. */
  finish(): RecordTexts {
    if (this.#open.length > 0) this.#close();
    return {
      texts: this.#texts,
      lengths: Uint32Array.from(this.#lengths),
      endedAtMs: Float64Array.from(this.#endedAtMs),
    };
  }

  #close(): void {
    this.#texts.push(this.#open.join(','));
    this.#open = [];
  }
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
