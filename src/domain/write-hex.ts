// Numbers as lower-case hexadecimal digits in bytes that are there already: on the hot path a string for each would be garbage.

const DIGITS = new TextEncoder().encode('0123456789abcdef');

/** Writes the last `count` digits of `value` (a whole number from 0 to 2^32 − 1) from `at` on. */
export function writeHex(into: Uint8Array, at: number, count: number, value: number): void {
  let rest = value;
  for (let place = at + count - 1; place >= at; place -= 1) {
    into[place] = DIGITS[rest & 15] as number;
    rest >>>= 4;
  }
}
