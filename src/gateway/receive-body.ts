// The body of a request on its way to an engine: read within the plane's limits, and the wait for it kept apart from the gateway's own time.
import type { DataPlane } from './data-plane.ts';
import { decodeBody, readCoding } from './decode-body.ts';
import { readBody } from './read-body.ts';
import type { Exchange } from './serve-request.ts';

/**
 * The whole body, decoded: from here on the request has no content-encoding. `maxBytes` bounds it as it comes and as it is; default
 * `server.maxBodyBytes`. Throws like `readCoding`, rejects like `readBody` and `decodeBody`. The time since the request came counts as waited for, not as overhead.
 */
export function receiveBody(
  plane: DataPlane,
  { req, meter }: Exchange,
  maxBytes: number = plane.view.config.server.maxBodyBytes,
): Promise<Buffer> {
  const coding = readCoding(req);
  const limits = { maxBytes, graceMs: plane.bodyGraceMs, deadlines: plane.deadlines, nowMs: meter.receivedAtMs };
  return readBody(req, limits).then((body) => {
    meter.waitedMs = plane.clock.monotonicMs() - meter.receivedAtMs;
    if (coding === null) return body;
    delete req.headers['content-encoding'];
    return decodeBody(body, coding, maxBytes);
  });
}
