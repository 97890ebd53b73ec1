// How the admin plane says no (contract §5): one envelope, one place that knows which failure is which status.
import { StoreUnavailableError } from '#domain/settlement-store.ts';
import { ReportParameterError } from '#reports/report-error.ts';
import type { ErrorRequestHandler, Response } from 'express';

/** A refusal with its status and code; `message` is public. */
export class AdminError extends Error {
  override name = 'AdminError';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Writes `{"error":{"message","code"}}`. */
export function sendError(
  res: Response,
  { status, code, message }: Pick<AdminError, 'status' | 'code' | 'message'>,
): void {
  res.status(status).json({ error: { message, code } });
}

/** Renders everything thrown in a route; tells `onUnexpected` of what nobody foresaw, and the client nothing of it. */
export function createErrorHandler(onUnexpected: (error: unknown) => void): ErrorRequestHandler {
  return (error, _req, res, next) => {
    if (res.headersSent) {
      next(error);
      return;
    }
    sendError(res, toAdminError(error, onUnexpected));
  };
}

function toAdminError(error: unknown, onUnexpected: (error: unknown) => void): AdminError {
  if (error instanceof AdminError) return error;
  if (error instanceof ReportParameterError) return new AdminError(400, 'invalid_parameter', error.message);
  if (error instanceof StoreUnavailableError) {
    return new AdminError(503, 'store_unavailable', 'The store does not answer; figures come back when it does.');
  }
  // Express throws these for addresses that cannot be decoded.
  if (error instanceof URIError) return new AdminError(400, 'invalid_request', 'The address cannot be decoded.');
  onUnexpected(error);
  return new AdminError(500, 'internal_error', 'The admin plane failed on this request; the log says why.');
}
