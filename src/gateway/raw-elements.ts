// Elements of KServe tensors, in raw contents over HTTP and gRPC alike: integers, truths, texts; and in parsed JSON, where a value may be anything.

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

/** Elements read of one tensor; of longer ones the first. No prompt has as many tokens. */
const ELEMENTS_MAX = 4_000_000;

/** Little-endian elements without padding, as KServe's raw contents are; none for another datatype or a broken length. */
export function readRawIntegers(raw: Buffer, datatype: string): number[] {
  const size = INTEGER_BYTES[datatype];
  if (size === undefined || raw.length % size !== 0) return [];
  const numbers: number[] = [];
  const end = Math.min(raw.length, ELEMENTS_MAX * size);
  for (let at = 0; at < end; at += size) {
    if (datatype.startsWith('U')) numbers.push(size === 8 ? Number(raw.readBigUInt64LE(at)) : raw.readUIntLE(at, size));
    else numbers.push(size === 8 ? Number(raw.readBigInt64LE(at)) : raw.readIntLE(at, size));
  }
  return numbers;
}

/** One byte each. */
export function readRawBools(raw: Buffer): boolean[] {
  return Array.from(raw.subarray(0, ELEMENTS_MAX), (byte) => byte !== 0);
}

/** The first text, which follows its length in four bytes; none where it is cut off. */
export function readRawText(raw: Buffer): string[] {
  if (raw.length < 4) return [];
  const end = 4 + raw.readUInt32LE(0);
  return end > raw.length ? [] : [raw.toString('utf8', 4, end)];
}

/** A number of a JSON tensor, which LLM-API models write as text too; NaN for everything else. */
export function readElementNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^-?\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
}

/** The text of a field that must be one; '' for everything else. */
export function readText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
