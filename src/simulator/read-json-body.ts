// Lives here: reading a request's body, bounded. Not here: what stands in it (inference-request.ts).
import type { IncomingMessage } from 'node:http';
import { isJsonObject } from './inference-request.ts';
import type { JsonObject } from './inference-request.ts';

const bodyBytesMax = 64 * 1024 * 1024;

/** A body that is too large (413) or no JSON object (400). */
export class UnreadableBodyError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'UnreadableBodyError';
    this.status = status;
  }
}

/** Reads a JSON object of at most 64 MiB; throws UnreadableBodyError, or the stream's error if the client leaves. */
export async function readJsonBody(req: IncomingMessage): Promise<JsonObject> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of req) {
    if (!Buffer.isBuffer(piece)) continue;
    bytes += piece.length;
    if (bytes > bodyBytesMax) throw new UnreadableBodyError(413, `the body exceeds ${bodyBytesMax} bytes`);
    pieces.push(piece);
  }
  let body: unknown;
  try {
    body = JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch (error) {
    throw new UnreadableBodyError(400, `JSON decode error: ${error instanceof Error ? error.message : 'unreadable'}`);
  }
  if (!isJsonObject(body)) throw new UnreadableBodyError(400, 'Input should be a valid dictionary');
  return body;
}
