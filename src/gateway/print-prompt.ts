// Takes the print of a prompt from a body: keyed hashes of its beginnings, so that accounting can tell what an engine's prefix cache has seen.
// Not here: remembering prints (accounting/prefix-memory.ts), choosing engines by a prefix (prompt-prefix.ts).
import { randomBytes } from 'node:crypto';
import { printEdges, type PromptPrint } from '#domain/prompt-print.ts';
import { listValues, PROMPT_MEMBERS } from './prompt-prefix.ts';

/** Prints of one process cannot be compared with anything outside it, nor guessed from known texts. */
const KEY = randomBytes(8);
const KEY_LOW = KEY.readInt32LE(0);
const KEY_HIGH = KEY.readInt32LE(4);

/** What stands before a prompt without being in it, or keeps the prefixes of different callers apart; then the prompt, Triton's last. */
const PRINTED_MEMBERS = ['cache_salt', 'conversation', 'previous_response_id', ...PROMPT_MEMBERS, 'text_input'];
const HASHED_MAX = printEdges.at(-1) ?? 0;
/** Of a longer body a sixteenth at most could be known, and finding its members takes up to 10 ms per MB. */
const PRINTED_BODY_MAX = 16 * HASHED_MAX;

/**
 * The print of a JSON body's prompt as the client wrote it, in the order in which an engine's template puts its parts; null where there is
 * none. Nor of a very long one. The body must be a JSON object that JSON.parse took. About 1 µs for 2 kB.
 */
export function printPrompt(body: Buffer): PromptPrint | null {
  if (body.length > PRINTED_BODY_MAX) return null;
  const values = listValues(body, PRINTED_MEMBERS);
  const bytes = values.reduce((sum, value) => sum + value.length, 0);
  if (bytes === 0) return null;
  const text = values.length === 1 ? (values[0] as Buffer) : Buffer.concat(values, Math.min(bytes, HASHED_MAX));
  return { marks: markBeginnings(text), bytes };
}

/** Two chained 32-bit lanes over words of four bytes (Murmur3's mixing), read as one number of 53 bits at each block's end. */
function markBeginnings(text: Buffer): readonly number[] {
  const view = new DataView(text.buffer, text.byteOffset, text.length);
  const marks: number[] = [];
  let low = KEY_LOW;
  let high = KEY_HIGH;
  let at = 0;
  for (const edge of printEdges) {
    if (edge > text.length) break;
    for (; at < edge; at += 4) {
      const word = view.getInt32(at, true);
      low ^= Math.imul(word, 0xcc9e2d51);
      low = (Math.imul((low << 13) | (low >>> 19), 5) + 0x1b873593) | 0;
      high = Math.imul(high ^ word, 0x85ebca6b);
      high = (((high << 13) | (high >>> 19)) + low) | 0;
    }
    marks.push((mix(low) >>> 0) * 0x20_0000 + (mix(high ^ low) & 0x1f_ffff));
  }
  return marks;
}

function mix(value: number): number {
  let mixed = value;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
