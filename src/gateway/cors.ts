// Cross-origin requests of browsers: preflights answered, answers marked, where `server.cors` allows their origin. Off without it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CorsConfig } from '#config/config.ts';

/** What scripts may send; a forwarded path may take any of them. */
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';

/** Names of headers as a browser lists them. */
const HEADER_LIST = /^[\w!#$%&'*+.^`|~-]+(?:\s*,\s*[\w!#$%&'*+.^`|~-]+)*$/;

const NO_HEADERS = Object.freeze({});

/** Headers that let a page of an allowed origin read the answer; none for others. Credentials of the browser (cookies) are never allowed. */
export function createCorsHeaders(
  cors: CorsConfig | undefined,
  origin: string | undefined,
): Readonly<Record<string, string>> {
  if (cors === undefined || origin === undefined) return NO_HEADERS;
  if (cors.origins.includes('*')) return { 'access-control-allow-origin': '*', 'access-control-expose-headers': '*' };
  // The answer depends on who asks even where the answer is no: caches must know.
  if (!cors.origins.includes(origin)) return { vary: 'Origin' };
  return { 'access-control-allow-origin': origin, 'access-control-expose-headers': '*', vary: 'Origin' };
}

/** Answers a preflight of an allowed origin with 204 and returns true; every other request is left alone. */
export function answerPreflight(cors: CorsConfig | undefined, req: IncomingMessage, res: ServerResponse): boolean {
  if (cors === undefined || req.method !== 'OPTIONS') return false;
  const asked = req.headers['access-control-request-method'];
  const headers = createCorsHeaders(cors, req.headers.origin);
  if (asked === undefined || headers['access-control-allow-origin'] === undefined) return false;
  const wanted = req.headers['access-control-request-headers'];
  const allowed = cors.headers.includes('*')
    ? wanted !== undefined && HEADER_LIST.test(wanted)
      ? wanted
      : ''
    : cors.headers.join(', ');
  res.writeHead(204, {
    ...headers,
    'access-control-allow-methods': METHODS,
    ...(allowed === '' ? {} : { 'access-control-allow-headers': allowed }),
    'access-control-max-age': String(Math.floor(cors.maxAgeMs / 1000)),
  });
  res.end();
  req.resume();
  return true;
}
