// Ids of requests: our own UUIDv7 and the client's, as far as it may be echoed.
import { randomFillSync } from 'node:crypto';
import { writeHex } from '#domain/write-hex.ts';

const POOL_BYTES = 4096;

/**
 * Returns a function that makes UUIDs of version 7 (RFC 9562 §5.7) which ascend strictly within the process: the 12 bits
 * `rand_a` are a counter (§6.2 method 1) started at random per millisecond; when they run out the timestamp runs ahead.
 * `epochMs` gives the time in milliseconds; it may stand still or step back without an id being repeated.
 */
export function createRequestIds(epochMs: () => number): () => string {
  const pool = Buffer.allocUnsafe(POOL_BYTES);
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
    writeHex(text, 0, 8, Math.floor(lastMs / 0x10000));
    writeHex(text, 9, 4, lastMs % 0x10000);
    writeHex(text, 14, 4, 0x7000 | counter);
    writeHex(text, 19, 4, 0x8000 | (pool.readUInt16BE(used + 2) & 0x3fff));
    writeHex(text, 24, 8, pool.readUInt32BE(used + 4));
    writeHex(text, 32, 4, pool.readUInt16BE(used + 8));
    used += 10;
    return text.toString('latin1');
  };
}

/** The client's `x-request-id` where it may be echoed and stored (contract §4 "Ids"), else null. */
export function readClientRequestId(header: string | string[] | undefined): string | null {
  return typeof header === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(header) ? header : null;
}
