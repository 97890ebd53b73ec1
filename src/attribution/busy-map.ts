// The 1000-bit maps that say in which milliseconds of a window an attempt was in flight. Bits only; what they cost is freeze-window.ts.

/** Bytes of one map: 1000 bits, bit i LSB first in each byte. */
export const BUSY_MAP_BYTES = 125;

const BASE64_LENGTH = 168;

/** Bytes of a published map (base64), or null when the text is no map of exactly 1000 bits. */
export function parseBusyMap(text: string): Uint8Array | null {
  if (text.length !== BASE64_LENGTH || !/^[A-Za-z0-9+/]{167}=$/.test(text)) return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === BUSY_MAP_BYTES ? bytes : null;
}

/** Base64 text of a map's 125 bytes, as a publication carries it. */
export function renderBusyMap(map: Uint8Array): string {
  return Buffer.from(map.buffer, map.byteOffset, map.byteLength).toString('base64');
}

/** Sets the bits of milliseconds `from` (inclusive) to `to` (exclusive) of the window, both clamped to 0 … 1000. */
export function markBusy(map: Uint8Array, fromMs: number, toMs: number): void {
  const end = Math.min(1000, Math.ceil(toMs));
  for (let ms = Math.max(0, Math.floor(fromMs)); ms < end; ms += 1)
    map[ms >> 3] = (map[ms >> 3] ?? 0) | (1 << (ms & 7));
}

/** Adds the bits of `other` to `map` in place. */
export function mergeBusy(map: Uint8Array, other: Uint8Array): void {
  for (let index = 0; index < BUSY_MAP_BYTES; index += 1) map[index] = (map[index] ?? 0) | (other[index] ?? 0);
}

/** B: milliseconds (0 … 1000) whose bit is set. */
export function countBusyMs(map: Uint8Array): number {
  let count = 0;
  for (let byte of map) {
    for (; byte !== 0; byte &= byte - 1) count += 1;
  }
  return count;
}
