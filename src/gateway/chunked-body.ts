// Where a body in HTTP/1.1's chunked coding stands while another parser, undici's, reads it, so that pieces which hold nothing but whole chunks, as the
// events of a stream come, need not go through that parser: it stands after them where it stood before. Source of the coding: RFC 9112 §7.1.

/** Of a size and of the data. */
export const LINE_END_BYTES = 2;

const CR = 0x0d;
const LF = 0x0a;
/** States: what the next byte belongs to. */
const CHUNK_START = 0;
const SIZE = 1;
const EXTENSION = 2;
const DATA = 3;
/** Nothing that is followed here: what comes after the last chunk's size, or after what is no chunk. */
const OVER = 4;

/** A size of more digits is nothing that one piece holds. */
const DIGITS_MAX = 6;

/** Follows one body from its first byte on. */
export class ChunkedBody {
  #state = CHUNK_START;
  #size = 0;
  /** Bytes of data and of the line end behind them that are still to come. */
  #left = 0;

  /** The next byte is the first of a chunk, or of the end. */
  get isBetweenChunks(): boolean {
    return this.#state === CHUNK_START;
  }

  /** The last chunk's size was read, or what is no chunk. */
  get isOver(): boolean {
    return this.#state === OVER;
  }

  /** Goes on by bytes, from `start`, that the other parser reads. After the last chunk, or what is no chunk, it is nowhere. */
  advance(bytes: Buffer, start = 0): void {
    let at = start;
    while (at < bytes.length && this.#state !== OVER) {
      if (this.#state === DATA) {
        const taken = Math.min(this.#left, bytes.length - at);
        this.#left -= taken;
        at += taken;
        if (this.#left === 0) this.#state = CHUNK_START;
      } else {
        this.#readSize(bytes[at] as number);
        at += 1;
      }
    }
  }

  #readSize(byte: number): void {
    if (this.#state === CHUNK_START) {
      this.#size = 0;
      this.#state = SIZE;
    }
    const digit = this.#state === SIZE ? toDigit(byte) : -1;
    if (digit >= 0) {
      this.#size = this.#size * 16 + digit;
      if (!Number.isSafeInteger(this.#size)) this.#state = OVER;
    } else if (byte === LF) {
      this.#left = this.#size + LINE_END_BYTES;
      this.#state = this.#size === 0 ? OVER : DATA;
    } else this.#state = EXTENSION;
  }
}

/** The first byte of the data of the chunk that begins at `at`; -1 where no size alone stands there: it has extensions, or is cut. */
export function findDataStart(bytes: Buffer, at: number): number {
  let index = at;
  while (index < bytes.length && toDigit(bytes[index] as number) >= 0) index += 1;
  const digits = index - at;
  if (digits === 0 || digits > DIGITS_MAX) return -1;
  return bytes[index] === CR && bytes[index + 1] === LF ? index + LINE_END_BYTES : -1;
}

/** The end of the data that begins at `start`, of the chunk that begins at `at`; -1 where it is the last chunk or not whole. A line end follows. */
export function findDataEnd(bytes: Buffer, at: number, start: number): number {
  let size = 0;
  for (let index = at; index < start - LINE_END_BYTES; index += 1) size = size * 16 + toDigit(bytes[index] as number);
  const end = start + size;
  return size > 0 && bytes[end] === CR && bytes[end + 1] === LF ? end : -1;
}

/** Of a hexadecimal digit; -1 for another byte. */
function toDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
