// The gateway's own errors as clients see them: one envelope per protocol. The last event of a broken
// stream is error-event's.
import type { ServerResponse } from 'node:http';
import { GatewayError } from '#domain/errors.ts';
import type { Protocol } from './metered-routes.ts';

/** Anthropic's error types by status; its SDK picks the exception class by status, people read the type. */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
};

/** What an error says, whoever says it. */
export interface ErrorContent {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | number | null;
  readonly status: number;
}

/** JSON in the envelope of the protocol: OpenAI's, Anthropic's (whose types follow the status) or KServe's. */
export function renderEnvelope(error: ErrorContent, protocol: Protocol): string {
  if (protocol === 'anthropic') {
    const type = ANTHROPIC_TYPES[error.status] ?? 'api_error';
    return JSON.stringify({ type: 'error', error: { type, message: error.message, code: error.code } });
  }
  if (protocol === 'kserve') return JSON.stringify({ error: error.message });
  return JSON.stringify({
    error: { message: error.message, type: error.type, param: error.param, code: error.code },
  });
}

/** The gateway's own error in the envelope of the protocol (contract §4 "Own errors"). */
export function renderErrorBody(error: GatewayError, protocol: Protocol): string {
  return renderEnvelope(error, protocol);
}

/** For a request that no engine was sent: the client may ask another gateway, or this one's successor, at once. */
export function createDrainingError(): GatewayError {
  return new GatewayError('draining', { headers: { connection: 'close', 'retry-after': '1' } });
}

/** Sends an error as the whole answer. Does nothing once headers went out or the client has gone. */
export function sendError(
  res: ServerResponse,
  error: GatewayError,
  options: { readonly protocol: Protocol; readonly headers?: Readonly<Record<string, string>> },
): void {
  if (res.headersSent || res.destroyed) return;
  const body = renderErrorBody(error, options.protocol);
  res.writeHead(error.status, {
    ...options.headers,
    ...error.headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  });
  res.end(body);
}

/** The end of the gateway finds a request that no engine was sent: its client is told so, and nothing goes on with it. */
export function cutUnsent(res: ServerResponse, options: Parameters<typeof sendError>[2]): void {
  sendError(res, createDrainingError(), options);
  res.destroy();
}
