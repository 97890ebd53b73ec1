// Deflates text that comes in parts: at once in a worker thread, in turns on the gateway's own event loop. Not here: what is packed.
import { Readable } from 'node:stream';
import { createDeflateRaw, deflateRawSync } from 'node:zlib';

/** Records repeat each other: the quickest level takes a fifth of the default's time for an eighth more bytes. */
const QUICK = { level: 1 };

/** Characters or bytes that are handed to zlib between two turns of the event loop. */
const LENGTH_AT_ONCE = 65_536;

/** Text, or its UTF-8. */
type Part = string | Uint8Array;

export function deflateQuickly(parts: Iterable<Part>): Buffer {
  return deflateRawSync(Buffer.concat(Array.from(parts, toBytes)), QUICK);
}

/** Text that inflates to the same. zlib works in its own threads; here, each turn encodes a few kilobytes at most. */
export async function deflateInTurns(parts: Iterable<Part>): Promise<Buffer> {
  return Buffer.concat(await Readable.from(cut(parts)).pipe(createDeflateRaw(QUICK)).toArray());
}

/** The same text in short parts, none of which ends between two halves of a character. */
function* cut(parts: Iterable<Part>): Generator<Uint8Array, void, undefined> {
  for (const part of parts) {
    for (let from = 0; from < part.length;) {
      let to = Math.min(part.length, from + LENGTH_AT_ONCE);
      if (typeof part === 'string' && to < part.length && isHighSurrogate(part.charCodeAt(to - 1))) to -= 1;
      yield typeof part === 'string' ? Buffer.from(part.slice(from, to)) : part.subarray(from, to);
      from = to;
    }
  }
}

function toBytes(part: Part): Uint8Array {
  return typeof part === 'string' ? Buffer.from(part) : part;
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdbff;
}
