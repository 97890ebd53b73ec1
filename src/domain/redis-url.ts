// Reads the Redis forms of store.url: one server, sentinels or a cluster, with or without TLS.

export interface RedisAddress {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  readonly tls: boolean;
  readonly username: string | null;
  readonly password: string | null;
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Name of the master the sentinels watch; null for the other kinds. */
  readonly master: string | null;
  readonly db: number;
}

const FORM =
  /^redis(?<tls>s?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?:(?<user>[^@/]*)@)?(?<hosts>[^/?#]+)(?:\/(?<path>[^?#]*))?$/;
const DEFAULT_PORT = { server: 6379, sentinel: 26_379, cluster: 6379 } as const;

/**
 * `redis[s]://user:pass@host:port/db`, `redis[s]+sentinel://h1:p,h2:p/master/db`, `redis[s]+cluster://h1:p,h2:p`.
 * User and password are percent-decoded. Null for anything else; never throws, never repeats the URL.
 */
export function parseRedisUrl(url: string): RedisAddress | null {
  const groups = FORM.exec(url)?.groups;
  if (groups === undefined) return null;
  const kind = groups['kind'] === 'sentinel' || groups['kind'] === 'cluster' ? groups['kind'] : 'server';
  const hosts = (groups['hosts'] ?? '').split(',').map((text) => parseHost(text, DEFAULT_PORT[kind]));
  const path = (groups['path'] ?? '').split('/').filter((part) => part !== '');
  const master = kind === 'sentinel' ? (path.shift() ?? null) : null;
  const db = path[0] === undefined ? 0 : Number(path[0]);
  const isSound =
    !hosts.includes(null) &&
    (kind !== 'server' || hosts.length === 1) &&
    (kind !== 'sentinel' || master !== null) &&
    (kind !== 'cluster' || db === 0) &&
    path.length <= 1 &&
    Number.isInteger(db) &&
    db >= 0;
  const credentials = parseCredentials(groups['user']);
  if (!isSound || credentials === null) return null;
  return { kind, tls: groups['tls'] === 's', ...credentials, hosts: hosts.filter((host) => host !== null), master, db };
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } | null {
  const match = /^(?:\[(?<v6>[0-9a-f:.]+)\]|(?<name>[^:[\]@\s]+))(?::(?<port>\d{1,5}))?$/i.exec(text.trim());
  const host = match?.groups?.['v6'] ?? match?.groups?.['name'];
  const port = Number(match?.groups?.['port'] ?? defaultPort);
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port };
}

function parseCredentials(text: string | undefined): { username: string | null; password: string | null } | null {
  if (text === undefined || text === '') return { username: null, password: null };
  const colon = text.indexOf(':');
  try {
    const username = decodeURIComponent(colon === -1 ? text : text.slice(0, colon));
    const password = colon === -1 ? null : decodeURIComponent(text.slice(colon + 1));
    return { username: username === '' ? null : username, password };
  } catch {
    return null;
  }
}

/** The address without user and password, for logs. */
export function describeRedisUrl(address: RedisAddress): string {
  const scheme = `redis${address.tls ? 's' : ''}${address.kind === 'server' ? '' : `+${address.kind}`}`;
  const hosts = address.hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',');
  const master = address.master === null ? '' : `/${address.master}`;
  return `${scheme}://${hosts}${master}${address.kind === 'cluster' ? '' : `/${address.db}`}`;
}
