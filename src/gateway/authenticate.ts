// Who is asking: static keys, a team header from trusted proxies, or the anonymous team. Whether they may is admit's question.
import type { IncomingHttpHeaders } from 'node:http';
import ipaddr from 'ipaddr.js';
import type { Config } from '#config/config.ts';
import type { Caller } from '#domain/caller.ts';
import { GatewayError } from '#domain/errors.ts';
import { createKeyLookup, createTeamCaller } from '#tenancy/static-keys.ts';

/** The part of a request that tells who asks, whichever protocol it came by. */
export interface CredentialSource {
  readonly headers: IncomingHttpHeaders;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/** Returns the caller or throws 401 `invalid_api_key` / `unknown_team`. Reads headers and the socket's address only. */
export type Authenticate = (req: CredentialSource) => Caller;

/** Builds authentication from a config. The team header counts only from `trustedProxies`; a wrong key is refused even where anonymous is allowed. */
export function createAuthenticate(config: Config): Authenticate {
  const { tenancy, teams } = config;
  const lookUpKey = createKeyLookup(teams);
  const teamCallers = new Map(teams.map((team) => [team.name, createTeamCaller(team)]));
  const isTrusted = createAddressFilter(tenancy.header.trustedProxies);
  const readHeaderTeam = (req: CredentialSource): Caller | undefined => {
    const name = req.headers[tenancy.header.name];
    if (name === undefined || !isTrusted(req.socket.remoteAddress)) return undefined;
    const caller = typeof name === 'string' ? (teamCallers.get(name) ?? teamCallers.get(readUtf8(name))) : undefined;
    if (caller === undefined) throw new GatewayError('unknown_team');
    return caller;
  };
  const anonymous = tenancy.anonymous === '' ? undefined : teamCallers.get(tenancy.anonymous);
  const hasKeys = tenancy.authentication.includes('keys');
  return (req) => {
    for (const method of tenancy.authentication) {
      const caller =
        method === 'keys' ? readKeyCaller(req, lookUpKey) : method === 'header' ? readHeaderTeam(req) : undefined;
      if (caller !== undefined) return caller;
    }
    if (anonymous !== undefined) return anonymous;
    throw new GatewayError(hasKeys ? 'invalid_api_key' : 'unknown_team');
  };
}

/** Node reads header bytes as Latin-1; proxies write the names of teams in UTF-8. */
function readUtf8(value: string): string {
  return Buffer.from(value, 'latin1').toString('utf8');
}

function readKeyCaller(req: CredentialSource, lookUpKey: (key: string) => Caller | undefined): Caller | undefined {
  const presented = readPresentedKey(req);
  if (presented === undefined) return undefined;
  const caller = lookUpKey(presented);
  if (caller === undefined) throw new GatewayError('invalid_api_key');
  return caller;
}

/** The key of the request: `Authorization: Bearer` first, then `x-api-key`; another scheme counts as a wrong key. */
function readPresentedKey(req: CredentialSource): string | undefined {
  const { authorization } = req.headers;
  if (authorization !== undefined) {
    return /^bearer /i.test(authorization) ? authorization.slice(7).trim() : authorization;
  }
  const apiKey = req.headers['x-api-key'];
  return Array.isArray(apiKey) ? apiKey[0] : apiKey;
}

/** Matches socket addresses against addresses and CIDR blocks; IPv4 in IPv6 clothes counts as IPv4. */
export function createAddressFilter(blocks: readonly string[]): (address: string | undefined) => boolean {
  const ranges = blocks.map((block) => parseRange(block));
  return (text) => {
    if (text === undefined || !ipaddr.isValid(text)) return false;
    const address = ipaddr.process(text);
    return ranges.some(([base, bits]) => base.kind() === address.kind() && address.match(base, bits));
  };
}

function parseRange(block: string): readonly [base: ipaddr.IPv4 | ipaddr.IPv6, bits: number] {
  const [address, bits = address.kind() === 'ipv4' ? 32 : 128] = block.includes('/')
    ? ipaddr.parseCIDR(block)
    : [ipaddr.parse(block)];
  // Of the mapped addresses all lie in ::ffff:0:0/96.
  const isMapped = address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && bits >= 96;
  return isMapped ? [address.toIPv4Address(), bits - 96] : [address, bits];
}
