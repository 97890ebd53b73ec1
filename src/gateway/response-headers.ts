// Which headers of an engine's answer reach the client, and what the gateway adds to every answer.
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { parseNames } from './request-headers.ts';

/** Belong to one connection (RFC 9110 §7.6.1), or are the gateway's own to say. */
const STRIPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-request-id',
]);

/** Which pages may read an answer is `server.cors` to say: engines allow every one of them, vLLM with its cookies. */
function isOwn(name: string): boolean {
  return name.startsWith('x-inferometer-') || name.startsWith('access-control-');
}

/** Headers that name the request in every answer, errors included: the client's id echoed, and ours (contract §4 "Ids"). */
export function createIdHeaders(requestId: string, clientRequestId: string | null): Record<string, string> {
  return { 'x-request-id': clientRequestId ?? requestId, 'x-inferometer-request-id': requestId };
}

/** Trailers that would change how the answer is framed, read or trusted (RFC 9110 §6.5.1). */
const NO_TRAILERS = new Set([
  ...STRIPPED,
  'content-length',
  'content-encoding',
  'content-type',
  'content-range',
  'set-cookie',
  'host',
  'cache-control',
  'authorization',
  'www-authenticate',
]);

/** The trailers of an engine's answer that reach the client; null for none. */
export function selectTrailers(trailers: IncomingHttpHeaders | undefined): OutgoingHttpHeaders | null {
  let selected: OutgoingHttpHeaders | null = null;
  for (const name in trailers) {
    if (NO_TRAILERS.has(name) || isOwn(name)) continue;
    selected ??= {};
    selected[name] = trailers[name];
  }
  return selected;
}

export interface AnswerHeaderOptions {
  /** Added last; they win over the engine's. */
  readonly own: Readonly<Record<string, string>>;
  /** True where bytes may be taken out or added, so that the engine's length would be wrong. */
  readonly lengthUnknown: boolean;
  /** Milliseconds the request spent in the gateway so far. */
  readonly gatewayMs: number;
}

/** The headers of an engine's answer as the client gets them. `server-timing` of the engine is kept beside ours. */
export function createAnswerHeaders(headers: IncomingHttpHeaders, options: AnswerHeaderOptions): OutgoingHttpHeaders {
  const named = headers.connection === undefined ? undefined : parseNames(headers.connection);
  const answer: OutgoingHttpHeaders = {};
  for (const name in headers) {
    if (STRIPPED.has(name) || isOwn(name) || named?.has(name) === true) continue;
    if (name === 'content-length' && options.lengthUnknown) continue;
    answer[name] = headers[name];
  }
  for (const name in options.own) answer[name] = options.own[name];
  const timing = `gateway;dur=${options.gatewayMs.toFixed(3)}`;
  if (options.own['vary'] !== undefined && headers.vary !== undefined) {
    answer['vary'] = `${headers.vary}, ${options.own['vary']}`;
  }
  const theirs = headers['server-timing'];
  answer['server-timing'] = theirs === undefined ? timing : `${String(theirs)}, ${timing}`;
  return answer;
}
