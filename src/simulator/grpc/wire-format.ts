// Lives here: protobuf's wire format (protobuf.dev, "Encoding") as far as the simulated Triton reads and writes it. Written apart from the
// gateway's own reader, so that neither can share the other's mistake. Not here: what the fields mean (kserve-messages.ts).

/** A field of a message: a varint, or the bytes of everything else. */
export interface DecodedField {
  readonly number: number;
  readonly value: bigint | Buffer;
}

/** The bytes are no message. */
export class WireFormatError extends Error {
  constructor(reason: string) {
    super(`not a protobuf message: ${reason}`);
    this.name = 'WireFormatError';
  }
}

class Cursor {
  at = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.at];
      if (byte === undefined) throw new WireFormatError('a number is cut off');
      this.at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new WireFormatError('a number is too long');
  }

  take(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw new WireFormatError('a field is cut off');
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }
}

/** The fields of a message in their order. Throws WireFormatError. */
export function decodeFields(message: Buffer): DecodedField[] {
  const cursor = new Cursor(message);
  const fields: DecodedField[] = [];
  while (!cursor.isAtEnd) {
    const tag = cursor.varint();
    const number = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case 0:
        fields.push({ number, value: cursor.varint() });
        break;
      case 1:
        fields.push({ number, value: cursor.take(8) });
        break;
      case 2:
        fields.push({ number, value: cursor.take(Number(cursor.varint())) });
        break;
      case 5:
        fields.push({ number, value: cursor.take(4) });
        break;
      default:
        throw new WireFormatError('a group');
    }
  }
  return fields;
}

/** All varints of a packed field. Throws WireFormatError. */
export function decodePacked(bytes: Buffer): bigint[] {
  const cursor = new Cursor(bytes);
  const values: bigint[] = [];
  while (!cursor.isAtEnd) values.push(cursor.varint());
  return values;
}

function encodeVarint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    const more = rest > 0x7fn;
    bytes.push(Number(rest & 0x7fn) | (more ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** A field that is a number or a truth; as proto3 has it, zero and false are left out. */
export function encodeNumber(number: number, value: number | boolean): Buffer {
  const integer = BigInt(Number(value));
  if (integer === 0n) return Buffer.alloc(0);
  return Buffer.concat([encodeVarint(BigInt(number) << 3n), encodeVarint(integer)]);
}

/** A field that is text, bytes or a message. */
export function encodeBytes(number: number, value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([encodeVarint((BigInt(number) << 3n) | 2n), encodeVarint(BigInt(bytes.length)), bytes]);
}

/** A repeated field of numbers, packed. */
export function encodePacked(number: number, values: readonly number[]): Buffer {
  return encodeBytes(number, Buffer.concat(values.map((value) => encodeVarint(BigInt(value)))));
}
