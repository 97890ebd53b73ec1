// The beginning of a prompt as a number, for sending equal beginnings to the same engine (its KV cache has them already).
import { hashBytes } from './choose-replica.ts';
import { listMembers, skipSpace } from './json-members.ts';

/** Members that hold a prompt, in the order in which an engine's chat template puts them. */
const PROMPT_MEMBERS = ['system', 'instructions', 'tools', 'messages', 'prompt', 'input', 'query'] as const;

/**
 * Hash of the first `maxBytes` bytes of a JSON body's prompt as the client wrote it, whatever else stands before or between; null where
 * there is none. The body must be a JSON object that JSON.parse took.
 */
export function hashPromptPrefix(body: Buffer, maxBytes: number): number | null {
  const members = listMembers(body, skipSpace(body, 0));
  const pieces: Buffer[] = [];
  let left = maxBytes;
  for (const name of PROMPT_MEMBERS) {
    // Parsers keep the last of members with one name.
    const member = members.findLast((candidate) => candidate.name === name);
    if (member === undefined || left === 0) continue;
    const piece = body.subarray(member.valueStart, Math.min(member.valueEnd, member.valueStart + left));
    pieces.push(piece);
    left -= piece.length;
  }
  if (pieces.length === 0) return null;
  return hashBytes(pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
}
