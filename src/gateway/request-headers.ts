// Which of the client's headers reach an engine, and what the gateway adds. Headers of answers: response-headers.
import type { IncomingHttpHeaders } from 'node:http';
import type { UpstreamConfig } from '#config/config.ts';

/**
 * Never forwarded: what belongs to one connection (RFC 9110 §7.6.1), credentials, what the gateway sets itself, and what would
 * let a client steer an engine's routing (upstreams.md §1.11, §5.5; a per-request x-correlation-id pollutes affinity). What a
 * client says of proxies before us is believed by nobody here and sent to nobody: an engine could only be misled by it.
 */
const STRIPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'host',
  'expect',
  'content-length',
  'authorization',
  'x-api-key',
  'api-key',
  'cookie',
  'accept-encoding',
  'x-request-id',
  'x-correlation-id',
  'x-worker-instance-id',
  'x-dp-rank',
  'x-data-parallel-rank',
  'x-trtllm-msgpack',
  'forwarded',
  'x-real-ip',
  'via',
]);

export interface ForwardOptions {
  readonly requestId: string;
  readonly upstream: UpstreamConfig;
  /** The team header of `tenancy.header.name`, lower case. */
  readonly teamHeader: string;
}

/**
 * The headers sent to an engine as a flat list of names and values, as undici takes them. Host and content-length are the sender's
 * to add. The upstream's configured headers replace the client's of the same name.
 */
export function createRequestHeaders(headers: IncomingHttpHeaders, options: ForwardOptions): string[] {
  const { upstream } = options;
  const named = headers.connection === undefined ? undefined : parseNames(headers.connection);
  const list: string[] = [];
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || isStripped(name, options.teamHeader)) continue;
    if (named?.has(name) === true || upstream.headers[name] !== undefined) continue;
    if (typeof value === 'string') list.push(name, value);
    else for (const one of value) list.push(name, one);
  }
  list.push('accept-encoding', 'identity', 'x-request-id', options.requestId);
  if (upstream.apiKey !== '' && upstream.headers['authorization'] === undefined) {
    list.push('authorization', `Bearer ${upstream.apiKey}`);
  }
  for (const name in upstream.headers) list.push(name, upstream.headers[name] ?? '');
  return list;
}

function isStripped(name: string, teamHeader: string): boolean {
  if (STRIPPED.has(name) || name === teamHeader) return true;
  return name.startsWith('x-inferometer-') || name.startsWith('x-dynamo-') || name.startsWith('x-forwarded-');
}

/** Lower-case names listed in a Connection header. */
export function parseNames(connection: string | string[]): ReadonlySet<string> | undefined {
  const text = String(connection).toLowerCase();
  if (text === 'keep-alive' || text === 'close') return undefined;
  return new Set(text.split(',').map((name) => name.trim()));
}
