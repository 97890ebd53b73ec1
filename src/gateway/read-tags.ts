// The header x-inferometer-tags: what a client wants kept with its record (contract §4 "Tags").
import { GatewayError } from '#domain/errors.ts';

const NO_TAGS: Readonly<Record<string, string>> = Object.freeze({});
const MAX_TAGS = 5;
const MAX_VALUE_BYTES = 128;

/** Parses `k=v,…` with percent-encoded values. Throws 400 `invalid_tags` for more than 5, bad keys, long or malformed values, repeats. */
export function parseTags(header: string | string[] | undefined): Readonly<Record<string, string>> {
  if (header === undefined || header === '') return NO_TAGS;
  const pairs = String(header).split(',');
  if (pairs.length > MAX_TAGS) throw invalidTags(`at most ${MAX_TAGS} tags are allowed`);
  const tags = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    const key = pair.slice(0, Math.max(equals, 0)).trim();
    if (!/^[a-z0-9_.-]{1,32}$/.test(key)) throw invalidTags('a key must match [a-z0-9_.-]{1,32}');
    if (tags.has(key)) throw invalidTags('a key stands twice');
    tags.set(key, decodeValue(pair.slice(equals + 1).trim()));
  }
  return Object.fromEntries(tags);
}

function decodeValue(encoded: string): string {
  let value: string;
  try {
    // Node reads header bytes as Latin-1: text that its sender left unencoded would be kept as other text.
    if (/[^\t\x20-\x7e]/.test(encoded)) throw new URIError('not encoded');
    value = decodeURIComponent(encoded);
  } catch (error) {
    throw invalidTags('a value is not percent-encoded UTF-8', error);
  }
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) throw invalidTags(`a value is longer than ${MAX_VALUE_BYTES} bytes`);
  return value;
}

function invalidTags(reason: string, cause?: unknown): GatewayError {
  return new GatewayError('invalid_tags', {
    text: `The header x-inferometer-tags is not valid: ${reason}.`,
    param: 'x-inferometer-tags',
    cause,
  });
}
