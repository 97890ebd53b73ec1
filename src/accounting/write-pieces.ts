// Bytes in pieces written to a file as if they were one, without being put together in memory first.
import { writevSync } from 'node:fs';

/** Of one writev(2): the system takes 1,024. */
const PIECES_AT_ONCE = 1000;

/** Writes all of them at the end of an append-only file; throws the system's error, with some of them written. */
export function writePieces(fd: number, pieces: readonly Uint8Array[]): void {
  let left = pieces;
  while (left.length > 0) left = leaveOut(left, writevSync(fd, left.slice(0, PIECES_AT_ONCE)));
}

/** The pieces without their first `bytes`. */
function leaveOut(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let left = bytes;
  let index = 0;
  for (; index < pieces.length; index += 1) {
    const length = pieces[index]?.length ?? 0;
    if (length > left) break;
    left -= length;
  }
  const [cut, ...others] = pieces.slice(index);
  return cut === undefined ? [] : [cut.subarray(left), ...others];
}
