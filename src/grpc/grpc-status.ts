// Between gRPC's status codes, the gateway's own errors and the HTTP statuses that records hold.
import { Metadata, status as Status, type StatusObject } from '@grpc/grpc-js';
import type { GatewayError } from '#domain/errors.ts';

/** Codes of the gateway's refusals by their HTTP status (gRPC's "HTTP to gRPC Status Code Mapping", but telling our 429 from our 503). */
const CODES: Readonly<Record<number, Status>> = {
  400: Status.INVALID_ARGUMENT,
  401: Status.UNAUTHENTICATED,
  403: Status.PERMISSION_DENIED,
  404: Status.NOT_FOUND,
  408: Status.DEADLINE_EXCEEDED,
  413: Status.RESOURCE_EXHAUSTED,
  429: Status.RESOURCE_EXHAUSTED,
  500: Status.INTERNAL,
  502: Status.UNAVAILABLE,
  503: Status.UNAVAILABLE,
  504: Status.DEADLINE_EXCEEDED,
};

/** The HTTP statuses that stand for an engine's codes in records (google.rpc.Code, "HTTP Mapping"). */
const HTTP_STATUSES: Readonly<Record<number, number>> = {
  [Status.OK]: 200,
  [Status.CANCELLED]: 499,
  [Status.INVALID_ARGUMENT]: 400,
  [Status.FAILED_PRECONDITION]: 400,
  [Status.OUT_OF_RANGE]: 400,
  [Status.UNAUTHENTICATED]: 401,
  [Status.PERMISSION_DENIED]: 403,
  [Status.NOT_FOUND]: 404,
  [Status.ALREADY_EXISTS]: 409,
  [Status.ABORTED]: 409,
  [Status.RESOURCE_EXHAUSTED]: 429,
  [Status.UNIMPLEMENTED]: 501,
  [Status.UNAVAILABLE]: 503,
  [Status.DEADLINE_EXCEEDED]: 504,
};

/** The HTTP status of a gRPC code; 500 for codes that say no more than that something failed. */
export function toHttpStatus(code: Status): number {
  return HTTP_STATUSES[code] ?? 500;
}

/** How grpc-js's client begins what it says itself; an engine's address follows. */
const OWN_DETAILS = /^(?:Deadline exceeded after |No connection established|Waiting for LB pick)|remote_addr=/;

/** The text of a status for the client: an engine's own, but nothing that names an engine's address. */
export function describeStatus({ code, details }: Pick<StatusObject, 'code' | 'details'>): string {
  if (!OWN_DETAILS.test(details)) return details;
  return code === Status.DEADLINE_EXCEEDED
    ? "The call's deadline passed before the engine's answer was complete."
    : 'The engine could not be reached.';
}

/** What ends a call otherwise than with OK. */
export type Refusal = Error & StatusObject;

/** A refusal as gRPC tells it: code and text, the error's own code and its headers as trailers. */
export function toServerError(error: GatewayError, ids: Readonly<Record<string, string>>): Refusal {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries({ ...ids, ...error.headers })) {
    if (name !== 'connection') metadata.set(name, value);
  }
  metadata.set('x-inferometer-error-code', error.code);
  const code = CODES[error.status] ?? Status.UNKNOWN;
  return Object.assign(new Error(error.message), { code, details: error.message, metadata });
}
