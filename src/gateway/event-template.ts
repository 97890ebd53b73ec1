// Events of a stream that differ from one read before in their text alone, as nearly all do: told by comparing bytes, of whole chunks at once,
// without finding lines or names in them again. What an event means is observe-answer's; where events begin and end is the scanner's.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;
const LF = 0x0a;
const SPACE = 0x20;

/** A stream whose events have more in common with none before is not compared for ever. */
const LEARNED_MAX = 8;
/** Longer events are read: what a template keeps of each stream is bounded. */
const EVENT_BYTES_MAX = 4096;

const NOTHING = Buffer.alloc(0);

/**
 * Where the JSON text that begins at `from` ends: the offset of its closing quote, below `end`; -1 where there is none, or where the bytes before
 * it are no JSON text.
 */
export function findTextEnd(bytes: Buffer, from: number, end: number): number {
  for (let at = from; at < end; at += 1) {
    const byte = bytes[at] as number;
    if (byte === QUOTE) return at;
    if (byte === BACKSLASH) at += 1;
    if ((bytes[at] as number) < SPACE) return -1;
  }
  return -1;
}

/** The events of one stream. */
export class EventTemplate {
  #before = NOTHING;
  #after = NOTHING;
  #learned = 0;
  /** Of the chunk that matched last. */
  events = 0;
  /** Of the same: bytes of text, escapes as they are written. */
  textBytes = 0;

  /**
   * Takes an event `bytes[start, end)`, its blank line behind it, whose text is `bytes[textStart, textEnd)`. It must hold nothing that is said once:
   * no usage, error, end or list of tokens. Since those are names in quotes, or lines of their own, no text can say them.
   */
  learn(bytes: Buffer, event: { start: number; end: number; textStart: number; textEnd: number }): void {
    const { start, end, textStart, textEnd } = event;
    if (this.#learned === LEARNED_MAX || end - start > EVENT_BYTES_MAX || bytes[end] !== LF) return;
    // A value, not a name: what follows its quote can make nothing else of the text.
    const next = bytes[textEnd + 1];
    if (next !== COMMA && next !== CLOSE_BRACE) return;
    this.#learned += 1;
    this.#before = Buffer.from(bytes.subarray(start, textStart));
    this.#after = Buffer.from(bytes.subarray(textEnd, end + 1));
  }

  /** Whether a chunk that begins between two events is nothing but such events, with a text each; then they are counted. */
  matches(chunk: Buffer): boolean {
    const [before, after] = [this.#before, this.#after];
    const { length } = chunk;
    if (before.length === 0) return false;
    let events = 0;
    let textBytes = 0;
    for (let at = 0; at < length; events += 1) {
      const textStart = at + before.length;
      if (textStart + after.length >= length || !holds(chunk, at, before)) return false;
      const textEnd = findTextEnd(chunk, textStart, length);
      if (textEnd <= textStart || !holds(chunk, textEnd, after)) return false;
      textBytes += textEnd - textStart;
      at = textEnd + after.length;
    }
    this.events = events;
    this.textBytes = textBytes;
    return true;
  }
}

function holds(chunk: Buffer, from: number, part: Buffer): boolean {
  const { length } = part;
  if (from + length > chunk.length) return false;
  for (let index = 0; index < length; index += 1) if (chunk[from + index] !== part[index]) return false;
  return true;
}
