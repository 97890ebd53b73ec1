// Small parts of one message in one piece of memory. node hands several parts to the system as a list, for which it allocates twice: for a chat
// request of 1 kB and its answer that is a tenth of what passing them on costs (`npm run bench`, saturation).
import type { Socket } from 'node:net';

/** Longer messages leave as they are: copying them costs more than it saves. */
export const JOINED_BYTES_MAX = 16 * 1024;

export type Parts = Parameters<NonNullable<Socket['_writev']>>[0];

/** The parts as one, order and bytes unchanged; null where they are long or in an encoding other than Latin-1. */
export function joinParts(parts: Parts): Buffer | null {
  let length = 0;
  for (const { chunk, encoding } of parts) {
    if (typeof chunk === 'string' && encoding !== 'latin1') return null;
    length += (chunk as string | Buffer).length;
    if (length > JOINED_BYTES_MAX) return null;
  }
  const joined = Buffer.allocUnsafe(length);
  let at = 0;
  for (const { chunk } of parts) {
    if (typeof chunk === 'string') joined.write(chunk, at, 'latin1');
    else (chunk as Buffer).copy(joined, at);
    at += (chunk as string | Buffer).length;
  }
  return joined;
}
