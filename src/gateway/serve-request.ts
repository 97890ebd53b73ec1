// What every request goes through whatever it wants: its ids, who asks, and the one place where a failure becomes an answer and a record.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { GatewayError } from '#domain/errors.ts';
import { createCorsHeaders } from './cors.ts';
import type { DataPlane } from './data-plane.ts';
import { protocolOf } from './metered-routes.ts';
import type { Interruptible, OpenRequest } from './in-flight.ts';
import { createDrainingError, cutUnsent, sendError } from './openai-error.ts';
import { ClientGoneError } from './read-body.ts';
import { parseTags } from './read-tags.ts';
import { readClientRequestId } from './request-id.ts';
import { readClientRetry, RequestMeter } from './request-meter.ts';
import { createIdHeaders } from './response-headers.ts';
import { UNSEATED } from './seats.ts';
import { readWireRefusal } from './wire-refusals.ts';

/** An authenticated request. */
export interface Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** Path without the query. */
  readonly path: string;
  readonly meter: RequestMeter;
  /** The headers that every answer carries: ids, and what lets a browser's page read it. */
  readonly idHeaders: Readonly<Record<string, string>>;
  /** What to cut when the gateway cannot wait for the request; set as soon as there is an attempt at an engine. */
  attempt: Interruptible | undefined;
}

export interface RouteHandler {
  /** Route template of the record, `other` for what is no route. */
  readonly route: string;
  /** Throws a GatewayError to refuse; resolves when the answer is complete. */
  serve(exchange: Exchange): Promise<void> | void;
}

/** Runs one request through authentication into its handler. Never rejects. */
export async function serveRequest(
  plane: DataPlane,
  handler: RouteHandler,
  { req, res, path }: Pick<Exchange, 'req' | 'res' | 'path'>,
): Promise<void> {
  const receivedAtMs = plane.clock.monotonicMs();
  const requestId = plane.createRequestId();
  const clientRequestId = readClientRequestId(req.headers['x-request-id']);
  const idHeaders = Object.assign(
    createIdHeaders(requestId, clientRequestId),
    createCorsHeaders(plane.view.config.server.cors, req.headers.origin),
  );
  let meter: RequestMeter | undefined;
  try {
    const { route } = handler;
    const caller = plane.view.authenticate(req);
    const clientRetry = readClientRetry(req);
    meter = new RequestMeter(plane, { requestId, clientRequestId, caller, route, receivedAtMs, clientRetry });
    if (plane.isRefusing()) throw createDrainingError();
    meter.tags = parseTags(req.headers['x-inferometer-tags']);
    const exchange = new OpenExchange({ req, res, path, meter, idHeaders });
    plane.inFlight.add(exchange);
    try {
      await handler.serve(exchange);
    } finally {
      plane.inFlight.delete(exchange);
    }
  } catch (error) {
    refuse(plane, error, { req, res, path, meter, idHeaders });
  }
}

/** Counted as in flight from its identity to its end, so that draining waits for uploads too. */
class OpenExchange implements Exchange, OpenRequest {
  seat = UNSEATED;
  attempt: Interruptible | undefined;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly path: string;
  readonly meter: RequestMeter;
  readonly idHeaders: Readonly<Record<string, string>>;
  #isCut = false;

  constructor({ req, res, path, meter, idHeaders }: Omit<Exchange, 'attempt'>) {
    this.req = req;
    this.res = res;
    this.path = path;
    this.meter = meter;
    this.idHeaders = idHeaders;
  }

  interrupt(): void {
    // What its client was told the first time may still be on its way.
    if (this.#isCut) return;
    this.#isCut = true;
    if (this.attempt !== undefined) {
      this.attempt.interrupt();
      return;
    }
    this.meter.endUnsent({ outcome: 'interrupted', status: 503 });
    cutUnsent(this.res, { protocol: protocolOf(this.path), headers: this.idHeaders });
  }
}

function refuse(
  plane: DataPlane,
  error: unknown,
  request: Omit<Exchange, 'meter' | 'attempt'> & { readonly meter: RequestMeter | undefined },
): void {
  const { req, res, path, meter, idHeaders } = request;
  if (error instanceof ClientGoneError || res.destroyed) {
    // Its client did not leave where the edge has answered bytes that are no HTTP, and has counted them.
    const refused = readWireRefusal(req);
    if (refused === null) meter?.endUnsent({ outcome: 'client_aborted', status: 499 });
    else meter?.endUnsent({ outcome: 'rejected', status: refused });
    return;
  }
  const known = error instanceof GatewayError ? error : new GatewayError('internal_error', { cause: error });
  if (known.code === 'internal_error') {
    plane.log.error(
      { err: describe(error), requestId: idHeaders['x-inferometer-request-id'] },
      'a request failed inside the gateway',
    );
  }
  plane.onRejection(meter?.caller.team ?? null, known.code);
  meter?.endUnsent({ outcome: 'rejected', status: known.status });
  const { deployment = null, upstream = null } = meter ?? {};
  const headers = {
    ...idHeaders,
    ...(deployment === null ? {} : { 'x-inferometer-deployment': deployment }),
    ...(upstream === null || !plane.view.config.server.exposeUpstream ? {} : { 'x-inferometer-upstream': upstream }),
  };
  sendError(res, known, { protocol: protocolOf(path), headers });
  if (!req.complete) discardRest(req, plane.view.config.server.maxBodyBytes);
}

/** Name, message and place of a fault in our own code; never the request. */
function describe(error: unknown): unknown {
  return error instanceof Error
    ? { name: error.name, message: error.message, stack: error.stack }
    : { name: typeof error };
}

/**
 * Reads on so that a client still sending gets to see its answer instead of a reset; one that will not stop loses its connection.
 */
function discardRest(req: IncomingMessage, maxBytes: number): void {
  let left = maxBytes;
  const timer = setTimeout(() => req.destroy(), 10_000).unref();
  req.on('error', () => {});
  req.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) req.destroy();
  });
  req.once('close', () => clearTimeout(timer));
}
