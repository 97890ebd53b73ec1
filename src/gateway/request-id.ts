// Ids of requests: our own UUIDv7 and the client's, as far as it may be echoed.
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;
const DIGITS = Buffer.from('0123456789abcdef');
/** Where the two digits of each byte of an id stand among its characters. */
const PLACES = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/**
 * Returns a function that makes UUIDs of version 7 (RFC 9562 §5.7) which ascend strictly within the process: the 12 bits
 * `rand_a` are a counter (§6.2 method 1) started at random per millisecond; when they run out the timestamp runs ahead.
 * `epochMs` gives the time in milliseconds; it may stand still or step back without an id being repeated.
 */
export function createRequestIds(epochMs: () => number): () => string {
  const pool = Buffer.allocUnsafe(POOL_BYTES);
  const id = Buffer.alloc(16);
  // Each id is written over the one before: put together of strings it would be eight times its size.
  const text = Buffer.alloc(36, '-');
  let used = POOL_BYTES;
  let lastMs = 0;
  let counter = 0;
  return () => {
    if (used + 10 > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const nowMs = Math.floor(epochMs());
    if (nowMs > lastMs) {
      lastMs = nowMs;
      counter = pool.readUInt16BE(used) & 0x7ff;
    } else if (++counter > 0xfff) {
      lastMs += 1;
      counter = 0;
    }
    id.writeUIntBE(lastMs, 0, 6);
    id.writeUInt16BE(0x7000 | counter, 6);
    for (let at = 8; at < 16; at += 1) id[at] = pool[used + at - 6] ?? 0;
    id[8] = 0x80 | ((id[8] ?? 0) & 0x3f);
    used += 10;
    for (let at = 0; at < 16; at += 1) {
      const byte = id[at] ?? 0;
      const place = PLACES[at] ?? 0;
      text[place] = DIGITS[byte >> 4] ?? 0;
      text[place + 1] = DIGITS[byte & 0xf] ?? 0;
    }
    return text.toString('latin1');
  };
}

/** The client's `x-request-id` where it may be echoed and stored (contract §4 "Ids"), else null. */
export function readClientRequestId(header: string | string[] | undefined): string | null {
  return typeof header === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(header) ? header : null;
}
