// The beginning of a prompt as a number, for sending equal beginnings to the same engine (its KV cache has them already).
import { hashBytes } from './choose-replica.ts';
import { type JsonMember, listMembers, skipSpace } from './json-members.ts';

/** Members that hold a prompt, in the order in which an engine's chat template puts them. */
export const PROMPT_MEMBERS = ['system', 'instructions', 'tools', 'messages', 'prompt', 'input', 'query'] as const;

/**
 * Hash of the first `maxBytes` bytes of a JSON body's prompt as the client wrote it, whatever else stands before or between; null where
 * there is none. The body must be a JSON object that JSON.parse took.
 */
export function hashPromptPrefix(body: Buffer, maxBytes: number): number | null {
  const pieces: Buffer[] = [];
  let left = maxBytes;
  for (const value of listValues(body, PROMPT_MEMBERS)) {
    if (left === 0) break;
    const piece = value.subarray(0, left);
    pieces.push(piece);
    left -= piece.length;
  }
  if (pieces.length === 0) return null;
  return hashBytes(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
}

/** Values of the named members of a JSON body, in the order of the names, as views of its bytes; absent ones are left out. */
export function listValues(body: Buffer, names: readonly string[]): readonly Buffer[] {
  const members = listMembers(body, skipSpace(body, 0));
  const values: Buffer[] = [];
  for (const name of names) {
    const member = findLastNamed(members, name);
    if (member !== undefined) values.push(body.subarray(member.valueStart, member.valueEnd));
  }
  return values;
}

/** Parsers keep the last of members with one name. A loop: asked for a dozen names of each request, a function for each was a kilobyte. */
function findLastNamed(members: readonly JsonMember[], name: string): JsonMember | undefined {
  for (let index = members.length - 1; index >= 0; index -= 1) {
    if (members[index]?.name === name) return members[index];
  }
  return undefined;
}
