// Finds the members of a JSON object in its bytes, so that a body can be changed by splicing. Parsing values is JSON.parse's job.

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** One member of an object: byte offsets into the scanned buffer, `valueEnd` exclusive and without white space. */
export interface JsonMember {
  readonly name: string;
  readonly nameStart: number;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/**
 * Lists the members of the object whose `{` stands at `objectStart`, in order, repeated names included. The bytes must be valid
 * JSON (JSON.parse took them): nothing is checked again. Works in one pass without recursion; strings are skipped natively.
 */
export function listMembers(bytes: Buffer, objectStart: number): JsonMember[] {
  const members: JsonMember[] = [];
  let at = skipSpace(bytes, objectStart + 1);
  while (at < bytes.length && bytes[at] !== CLOSE_BRACE) {
    const nameStart = at;
    const nameEnd = skipString(bytes, at);
    const name = readName(bytes, nameStart, nameEnd);
    at = skipSpace(bytes, nameEnd);
    if (bytes[at] !== COLON) break;
    const valueStart = skipSpace(bytes, at + 1);
    const valueEnd = skipValue(bytes, valueStart);
    members.push({ name, nameStart, valueStart, valueEnd });
    at = skipSpace(bytes, valueEnd);
    if (bytes[at] === COMMA) at = skipSpace(bytes, at + 1);
  }
  return members;
}

/** Offset of the first byte at or after `at` that is not JSON white space. */
export function skipSpace(bytes: Buffer, at: number): number {
  let next = at;
  for (;;) {
    const byte = bytes[next];
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return next;
    next += 1;
  }
}

function readName(bytes: Buffer, start: number, end: number): string {
  const raw = bytes.toString('utf8', start + 1, end - 1);
  return raw.includes('\\') ? String(JSON.parse(`"${raw}"`)) : raw;
}

/** Offset after the string whose opening quote stands at `at`; searched natively up to its first escaped quote, since a search for each is slow. */
export function skipString(bytes: Buffer, at: number): number {
  const quote = bytes.indexOf(QUOTE, at + 1);
  if (quote === -1) return bytes.length;
  if (bytes[quote - 1] !== BACKSLASH) return quote + 1;
  for (let next = at + 1; next < bytes.length; next += 1) {
    if (bytes[next] === BACKSLASH) next += 1;
    else if (bytes[next] === QUOTE) return next + 1;
  }
  return bytes.length;
}

function skipValue(bytes: Buffer, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return skipString(bytes, start);
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return skipScalar(bytes, start);
  let depth = 0;
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at);
      continue;
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    at += 1;
    if (depth === 0) break;
  }
  return at;
}

function skipScalar(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const byte = bytes[at];
    if (byte === undefined || byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || byte <= 0x20)
      return at;
    at += 1;
  }
}
