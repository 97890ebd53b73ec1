// Elements in the raw contents of KServe tensors, over HTTP and gRPC alike: integers, truths, texts.

/** Bytes per element of the integer types that counts come in. */
const INTEGER_BYTES: Readonly<Record<string, number>> = {
  INT8: 1,
  UINT8: 1,
  INT16: 2,
  UINT16: 2,
  INT32: 4,
  UINT32: 4,
  INT64: 8,
  UINT64: 8,
};

/** Little-endian elements without padding, as KServe's raw contents are; none for another datatype or a broken length. */
export function readRawIntegers(raw: Buffer, datatype: string): number[] {
  const size = INTEGER_BYTES[datatype];
  if (size === undefined || raw.length % size !== 0) return [];
  const numbers: number[] = [];
  for (let at = 0; at < raw.length; at += size) {
    numbers.push(size === 8 ? Number(raw.readBigUInt64LE(at)) : raw.readUIntLE(at, size));
  }
  return numbers;
}

/** One byte each. */
export function readRawBools(raw: Buffer): boolean[] {
  return [...raw].map((byte) => byte !== 0);
}

/** The first text, which follows its length in four bytes; none where it is cut off. */
export function readRawText(raw: Buffer): string[] {
  if (raw.length < 4) return [];
  const end = 4 + raw.readUInt32LE(0);
  return end > raw.length ? [] : [raw.toString('utf8', 4, end)];
}
