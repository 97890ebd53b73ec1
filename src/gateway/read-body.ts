// Reads the bytes of a request body whole, bounded in number and time. Decoding them is decode-body's, what stands in them parse-request's.
import type { IncomingMessage } from 'node:http';
import { GatewayError } from '#domain/errors.ts';
import type { DeadlineSweep } from './deadline-sweep.ts';
import { askForBody } from './expect-continue.ts';
import { Pieces } from './pieces.ts';
import { UNSEATED } from './seats.ts';

/** A body must come at this pace once the grace is over: a slow line may, a slow-loris may not. */
const MIN_BYTES_PER_MS = 1;

export interface BodyLimits {
  readonly maxBytes: number;
  /** Time a body may take before its pace matters. */
  readonly graceMs: number;
  readonly deadlines: DeadlineSweep;
  /** Monotonic. */
  readonly nowMs: number;
}

/** The client went away before its body was complete. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client left before its request was complete');
    this.name = 'ClientGoneError';
  }
}

/**
 * Resolves with the whole body. Rejects with 413 `request_too_large` (by content-length before anything is read, else as soon as
 * it grows too long), 408 `request_timeout`, or ClientGoneError.
 */
export function readBody(req: IncomingMessage, limits: BodyLimits): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > limits.maxBytes) return Promise.reject(createTooLarge(limits));
  askForBody(req);
  return new Promise((resolve, reject) => {
    const pieces = new Pieces();
    const settle = (error?: Error): void => {
      limits.deadlines.delete(deadline);
      req.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
      // A client that sends on after the refusal would otherwise crash the process with its reset.
      req.on('error', ignore);
      if (error !== undefined) reject(error);
      else resolve(pieces.join());
    };
    const onData = (chunk: Buffer): void => {
      if (pieces.length + chunk.length > limits.maxBytes) settle(createTooLarge(limits));
      else pieces.add(chunk);
    };
    const onEnd = (): void => settle();
    const onClose = (): void => settle(new ClientGoneError());
    const deadline = {
      seat: UNSEATED,
      isDue: (nowMs: number) => nowMs > limits.nowMs + limits.graceMs + pieces.length / MIN_BYTES_PER_MS,
      expire: () => settle(new GatewayError('request_timeout')),
    };
    limits.deadlines.add(deadline);
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  });
}

function createTooLarge(limits: BodyLimits): GatewayError {
  return new GatewayError('request_too_large', { text: `The request body is larger than ${limits.maxBytes} bytes.` });
}

function ignore(): void {}
