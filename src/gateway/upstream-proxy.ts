// http-proxy-middleware towards one upstream, with its own keep-alive agent and TLS. What happens with an answer is pass-through-exchange's.
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import type * as HttpProxyMiddleware from 'http-proxy-middleware';
import { createAgent } from './upstream-dispatcher.ts';
import type { Upstream } from './upstream-pool.ts';

/** Told of one forwarded request. */
export interface ProxyListener {
  /** A socket was assigned, before anything is written to it. */
  requestAssigned(proxyReq: ClientRequest): void;
  answerStarted(proxyRes: IncomingMessage): void;
  failed(error: Error): void;
}

/** Forwards a request; everything that follows is told to the listener. */
export type ForwardRequest = (req: IncomingMessage, res: ServerResponse, listener: ProxyListener) => void;

const forwarders = new WeakMap<Upstream, ForwardRequest>();

/** The forwarder of an upstream, made on first use and dropped together with the upstream. */
export function getForwarder(upstream: Upstream): ForwardRequest {
  const existing = forwarders.get(upstream);
  if (existing !== undefined) return existing;
  const created = createForwarder(upstream);
  forwarders.set(upstream, created);
  return created;
}

/**
 * Loaded by the first request that is forwarded unread: most gateways serve inference alone, and it takes 4 MB. That stops the event loop once for
 * 30 to 60 ms, as a dynamic import was measured to do too, which would besides come between a request's lease and the listeners that release it.
 */
function loadProxy(): typeof HttpProxyMiddleware {
  return createRequire(import.meta.url)('http-proxy-middleware');
}

function createForwarder(upstream: Upstream): ForwardRequest {
  const listeners = new WeakMap<IncomingMessage, ProxyListener>();
  const { createProxyMiddleware } = loadProxy();
  const proxy = createProxyMiddleware({
    target: upstream.config.url,
    agent: createAgent(upstream.config),
    changeOrigin: true,
    selfHandleResponse: true,
    // The default plugins answer errors and write to the console; both are ours to do.
    ejectPlugins: true,
    plugins: [
      (server) => {
        server.on('proxyReq', (proxyReq, req) => listeners.get(req)?.requestAssigned(proxyReq));
        server.on('proxyRes', (proxyRes, req) => listeners.get(req)?.answerStarted(proxyRes));
        const onError = (error: Error, req: IncomingMessage | undefined): void => {
          if (req !== undefined) listeners.get(req)?.failed(error);
        };
        server.on('error', onError);
        server.on('econnreset', onError);
      },
    ],
  });
  return (req, res, listener) => {
    listeners.set(req, listener);
    void proxy(req, res, (error?: unknown) => {
      if (error !== undefined) listener.failed(error instanceof Error ? error : new Error('the proxy failed'));
    });
  };
}
