// The protobuf wire format (protobuf.dev, "Encoding"), as much of it as a proxy needs: walk the fields of a message in its bytes,
// replace or add one, leave all others as they are. Which field means what is kserve-messages' concern.

/** Wire types that proto3 uses. */
export const VARINT = 0;
const FIXED64 = 1;
export const BYTES = 2;
const FIXED32 = 5;

/** One field as it stands in a message; offsets into the message, `end` exclusive. */
export interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** First byte of the field's tag. */
  readonly start: number;
  /** First byte of the value, after the length of length-delimited ones. */
  readonly valueStart: number;
  readonly end: number;
}

/** The bytes are no protobuf message, or one of more fields than are read; the message tells a client which. */
export class MalformedMessageError extends Error {
  constructor(text = 'The message is not valid protobuf.') {
    super(text);
    this.name = 'MalformedMessageError';
  }
}

/** Fields of one message with all that is nested in it: the shortest have two bytes, and 64 MB of them took gigabytes and half a minute to walk. */
export const FIELDS_MAX = 200_000;
/** Integers read of one repeated field; of longer ones the first. No prompt has as many tokens. */
const INTEGERS_MAX = 4_000_000;

/** How many fields may still be read of a message and what is nested in it. */
export class FieldBudget {
  #left = FIELDS_MAX;

  /** Throws MalformedMessageError where there are none left. */
  take(): void {
    this.#left -= 1;
    if (this.#left < 0) throw new MalformedMessageError(`The message has more than ${FIELDS_MAX} fields.`);
  }
}

/** A varint as a number, exact up to 2^53, and the offset after it. Throws MalformedMessageError. */
export function readVarint(bytes: Buffer, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  let factor = 1;
  for (let next = at; next < at + 10; next += 1) {
    const byte = bytes[next];
    if (byte === undefined) break;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return { value, next: next + 1 };
    factor *= 128;
  }
  throw new MalformedMessageError();
}

/**
 * The fields of a message in the order in which they stand; groups, which proto3 does not have, are malformed. Nested messages share the budget
 * of the one that holds them.
 */
export function* readFields(bytes: Buffer, budget: FieldBudget = new FieldBudget()): Generator<WireField> {
  let at = 0;
  while (at < bytes.length) {
    const tag = readVarint(bytes, at);
    const wireType = tag.value % 8;
    const number = Math.floor(tag.value / 8);
    const { valueStart, end } = measureValue(bytes, { wireType, at: tag.next });
    if (number === 0 || end > bytes.length) throw new MalformedMessageError();
    budget.take();
    yield { number, wireType, start: at, valueStart, end };
    at = end;
  }
}

function measureValue(
  bytes: Buffer,
  { wireType, at }: { readonly wireType: number; readonly at: number },
): { readonly valueStart: number; readonly end: number } {
  switch (wireType) {
    case VARINT:
      return { valueStart: at, end: readVarint(bytes, at).next };
    case FIXED64:
      return { valueStart: at, end: at + 8 };
    case BYTES: {
      const length = readVarint(bytes, at);
      return { valueStart: length.next, end: length.next + length.value };
    }
    case FIXED32:
      return { valueStart: at, end: at + 4 };
    default:
      throw new MalformedMessageError();
  }
}

/** The value of a length-delimited field, without a copy. */
export function sliceValue(bytes: Buffer, field: WireField): Buffer {
  return bytes.subarray(field.valueStart, field.end);
}

/** The value of a length-delimited field as UTF-8 text. */
export function readText(bytes: Buffer, field: WireField): string {
  return bytes.toString('utf8', field.valueStart, field.end);
}

/** The value of a varint field; `int64` and `int32` below zero come out above 2^63 and are no counts. */
export function readNumber(bytes: Buffer, field: WireField): number {
  return readVarint(bytes, field.valueStart).value;
}

/** The varints of a repeated integer field, packed or not; the first INTEGERS_MAX of very many. */
export function readNumbers(bytes: Buffer, field: WireField): number[] {
  if (field.wireType === VARINT) return [readNumber(bytes, field)];
  const numbers: number[] = [];
  for (let at = field.valueStart; at < field.end && numbers.length < INTEGERS_MAX;) {
    const { value, next } = readVarint(bytes, at);
    numbers.push(value);
    at = next;
  }
  return numbers;
}

/** A varint field. */
export function encodeVarintField(number: number, value: number): Buffer {
  return Buffer.concat([encodeVarint(number * 8 + VARINT), encodeVarint(value)]);
}

/** A length-delimited field: text, bytes or a message. */
export function encodeBytesField(number: number, value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([encodeVarint(number * 8 + BYTES), encodeVarint(bytes.length), bytes]);
}

/** The message with one text field set: every occurrence is replaced, all other bytes stay; added in front where there is none. */
export function replaceTextField(message: Buffer, number: number, text: string): Buffer {
  const replacement = encodeBytesField(number, text);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const field of readFields(message)) {
    if (field.number !== number) continue;
    pieces.push(message.subarray(from, field.start));
    if (from === 0) pieces.push(replacement);
    from = field.end;
  }
  if (from === 0) return Buffer.concat([replacement, message]);
  pieces.push(message.subarray(from));
  return Buffer.concat(pieces);
}

function encodeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
