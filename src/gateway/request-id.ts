// Ids of requests: our own UUIDv7 and the client's, as far as it may be echoed.
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/**
 * Returns a function that makes UUIDs of version 7 (RFC 9562 §5.7) which ascend strictly within the process: the 12 bits
 * `rand_a` are a counter (§6.2 method 1) started at random per millisecond; when they run out the timestamp runs ahead.
 * `epochMs` gives the time in milliseconds; it may stand still or step back without an id being repeated.
 */
export function createRequestIds(epochMs: () => number): () => string {
  const pool = Buffer.allocUnsafe(POOL_BYTES);
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
    const time = lastMs.toString(16).padStart(12, '0');
    const a = (0x7000 | counter).toString(16);
    const random = (offset: number): string => HEX[pool[used + offset] ?? 0] ?? '00';
    const variant = HEX[0x80 | ((pool[used + 2] ?? 0) & 0x3f)] ?? '80';
    const tail = random(4) + random(5) + random(6) + random(7) + random(8) + random(9);
    const id = `${time.slice(0, 8)}-${time.slice(8)}-${a}-${variant}${random(3)}-${tail}`;
    used += 10;
    return id;
  };
}

/** The client's `x-request-id` where it may be echoed and stored (contract §4 "Ids"), else null. */
export function readClientRequestId(header: string | string[] | undefined): string | null {
  return typeof header === 'string' && /^[A-Za-z0-9._:-]{1,128}$/.test(header) ? header : null;
}
