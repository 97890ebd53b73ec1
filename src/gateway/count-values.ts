// How many values a JSON body holds, seen in its bytes before anything is made of them: 64 MB of empty objects are 6 kB on the wire, 2 GB in
// memory and half a minute in which nobody else is served.
import { GatewayError } from '#domain/errors.ts';
import { skipString } from './json-members.ts';

/** Texts, lists and objects of one body, names included: a hundred times what conversations have, twice a batch of 100,000 texts. */
export const VALUES_MAX = 200_000;
/** Elements and members of any kind, which numbers alone are many of: a batch of 2,000 prompts of 2,000 tokens. */
export const ELEMENTS_MAX = 4_000_000;

const COMMA = 0x2c;
const QUOTE = 0x22;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;

/** Whether a body holds more of either. Of what is no JSON it says anything. One pass, about 1 ms per MB. */
export function holdsTooMany(body: Buffer): boolean {
  // No value is shorter than two bytes.
  if (body.length <= 2 * VALUES_MAX) return false;
  let values = 0;
  let elements = 0;
  for (let at = 0; at < body.length && values <= VALUES_MAX && elements <= ELEMENTS_MAX;) {
    const byte = body[at];
    if (byte === COMMA) elements += 1;
    else if (byte === QUOTE || byte === OPEN_BRACE || byte === OPEN_BRACKET) values += 1;
    at = byte === QUOTE ? skipString(body, at) : at + 1;
  }
  return values > VALUES_MAX || elements > ELEMENTS_MAX;
}

/** What is told of such a body. */
export function createTooMany(): GatewayError {
  return new GatewayError('request_too_large', {
    text: `The request body holds more than ${VALUES_MAX} texts, lists and objects, or ${ELEMENTS_MAX} numbers.`,
  });
}
