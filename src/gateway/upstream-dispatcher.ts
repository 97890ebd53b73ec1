// The connections to one engine: keep-alive, TLS, a fixed address where its name has several, a proxy only where the config names one.
import type { Agent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { isIP, isIPv6, type LookupFunction } from 'node:net';
import type { UpstreamConfig } from '#config/config.ts';
import type { buildConnector, Dispatcher } from 'undici';
import { readDirectly } from './direct-reads.ts';
import { Agent as HttpAgent } from './node-http.ts';
import type { TurnSends } from './turn-sends.ts';
import { createConnector, Pool, ProxyAgent } from './undici-parts.ts';

/** Time limits are the exchange's own; only connecting is limited here. */
const CONNECTION_OPTIONS = {
  connections: null,
  pipelining: 1,
  allowH2: false,
  headersTimeout: 0,
  bodyTimeout: 0,
  maxHeaderSize: 64 * 1024,
} as const;

/**
 * What requests are dispatched through; no connection is made before the first. `connectMs` bounds connecting, a TLS handshake
 * included. With `sends` what is written leaves by it; what goes through a proxy cannot. The environment's proxies are
 * never looked at.
 */
export function createDispatcher(config: UpstreamConfig, connectMs: number, sends?: TurnSends): Dispatcher {
  const { origin } = new URL(config.url);
  if (config.proxy === undefined) {
    const connector = createConnector({ allowH2: false, timeout: connectMs, ...createConnectOptions(config) });
    const connect: buildConnector.connector = (options, callback) =>
      connector(options, (...result) => {
        if (result[0] === null) {
          sends?.attach(result[1]);
          readDirectly(result[1]);
        }
        callback(...result);
      });
    return new Pool(origin, { ...CONNECTION_OPTIONS, connect });
  }
  const proxy = new ProxyAgent({
    ...CONNECTION_OPTIONS,
    uri: config.proxy,
    connectTimeout: connectMs,
    requestTls: { ...nameOf(config), ...readTls(config), timeout: connectMs },
    factory: (to, options) => new Pool(to, { ...CONNECTION_OPTIONS, ...options }),
  });
  // A proxy agent serves any origin; ours has one.
  return proxy.compose((dispatch) => (options, handler) => dispatch({ ...options, origin }, handler));
}

/** The same for node's own client. Idle sockets close before uvicorn's five seconds are over, so that a request seldom meets a closing one. */
export function createAgent(config: UpstreamConfig): Agent {
  const { proxy } = config;
  const options = {
    keepAlive: true,
    maxFreeSockets: 64,
    timeout: 4000,
    ...createConnectOptions(config),
    ...(proxy === undefined ? {} : { proxyEnv: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy } }),
  };
  return config.url.startsWith('https:') ? new HttpsAgent(options) : new HttpAgent(options);
}

interface ConnectOptions {
  ca?: string;
  cert?: string;
  key?: string;
  servername?: string;
  lookup?: LookupFunction;
}

function createConnectOptions(config: UpstreamConfig): ConnectOptions {
  return { ...readTls(config), ...(config.address === undefined ? {} : { lookup: pinAddress(config.address) }) };
}

/** The server name to ask for through a proxy's tunnel; an address is none (RFC 6066 §3). */
function nameOf({ url }: UpstreamConfig): Pick<ConnectOptions, 'servername'> {
  const { hostname } = new URL(url);
  return isIP(hostname.replace(/^\[|\]$/g, '')) === 0 ? { servername: hostname } : {};
}

/** As node's tls.connect takes them; nothing for the platform's defaults. */
function readTls({ tls }: UpstreamConfig): ConnectOptions {
  if (tls === undefined) return {};
  return {
    ...(tls.ca === '' ? {} : { ca: tls.ca }),
    ...(tls.cert === '' ? {} : { cert: tls.cert }),
    ...(tls.key === '' ? {} : { key: tls.key }),
    ...(tls.serverName === '' ? {} : { servername: tls.serverName }),
  };
}

/** Every name is this address: Host header, server name and certificate stay those of the URL. */
function pinAddress(address: string): LookupFunction {
  const family = isIPv6(address) ? 6 : 4;
  return (_hostname, options, callback) => {
    if (options.all === true) callback(null, [{ address, family }]);
    else callback(null, address, family);
  };
}
