// The body of a request on its way to an engine: read within the plane's limits, and the wait for it kept apart from the gateway's own time.
import type { DataPlane } from './data-plane.ts';
import { readBody } from './read-body.ts';
import type { Exchange } from './serve-request.ts';

/** The whole body. Rejects like `readBody`; the time since the request came counts as waited for, not as overhead. */
export async function receiveBody(plane: DataPlane, { req, meter }: Exchange): Promise<Buffer> {
  const body = await readBody(req, {
    maxBytes: plane.view.config.server.maxBodyBytes,
    graceMs: plane.bodyGraceMs,
    deadlines: plane.deadlines,
    nowMs: meter.receivedAtMs,
  });
  meter.waitedMs = plane.clock.monotonicMs() - meter.receivedAtMs;
  return body;
}
