// One chunk of HTTP/1.1's chunked coding as one piece of memory. node's `res.write` makes four writes of it (size, line end, bytes, line end) and
// one system call with a list of them: for the small events of a stream that is a twelfth of what passing one on costs (`npm run bench`, 25,000/s).
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { writeHex } from '#domain/write-hex.ts';

/** Longer chunks leave through node: copying them costs more than it saves. */
export const FRAMED_BYTES_MAX = 4096;

const CR = 0x0d;
const LF = 0x0a;

/**
 * Writes `bytes` (1 … FRAMED_BYTES_MAX of them) as a chunk where that can be done beside node, and says whether the socket has room for
 * more; null where node must write them: another answer of the connection comes first, the client reads no chunks, the answer has no body, or
 * node still holds something of this turn; what a closed half would answer with an error is dropped by node. Only after a first `res.write` or `flushHeaders`: before it the headers are not out.
 */
export function writeFramed(res: ServerResponse, bytes: Buffer): boolean | null {
  const { socket } = res;
  if (socket === null || !socket.writable) return null;
  if (!res.chunkedEncoding || res.writableCorked > 0 || res.req.method === 'HEAD') return null;
  return socket.write(frameChunk(bytes));
}

/** Has node write each chunk of this turn by itself, as it came: those that it collects while nothing holds its socket become one. */
export function keepChunksApart({ socket }: ServerResponse): void {
  if (socket === null || socket.writableCorked > 0) return;
  socket.cork();
  process.nextTick(uncork, socket);
}

function uncork(socket: Socket): void {
  socket.uncork();
}

/** `bytes` (1 … FRAMED_BYTES_MAX of them) as a chunk: size in hexadecimal, CRLF, bytes, CRLF. Source: RFC 9112 §7.1. */
export function frameChunk(bytes: Buffer): Buffer {
  const { length } = bytes;
  if (length === 0 || length > FRAMED_BYTES_MAX) throw new RangeError(`a chunk of ${length} bytes is not framed here`);
  // Four bits each.
  const digits = (35 - Math.clz32(length)) >> 2;
  const frame = Buffer.allocUnsafe(digits + length + 4);
  writeHex(frame, 0, digits, length);
  frame[digits] = CR;
  frame[digits + 1] = LF;
  bytes.copy(frame, digits + 2);
  frame[digits + 2 + length] = CR;
  frame[digits + 3 + length] = LF;
  return frame;
}
