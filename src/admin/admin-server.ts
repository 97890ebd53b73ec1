// The admin plane (contract §5): one Express app on its own port. Routes with substance have files of their own.
import type { Config } from '#config/config.ts';
import type { BooksReader } from '#domain/books.ts';
import type { Clock } from '#domain/clock.ts';
import type { Log } from '#domain/log.ts';
import type { UsageRecord } from '#domain/usage-record.ts';
import type { Metrics, MetricsSources } from '#observe/metrics.ts';
import express from 'express';
import type { Express, RequestHandler } from 'express';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { authorizeAdmin, authorizeMetrics, checkProtected } from './admin-access.ts';
import { AdminError, createErrorHandler } from './admin-error.ts';
import { createDeploymentsRoute } from './deployments-route.ts';
import { createReportRoute, createUsageRoute } from './report-routes.ts';
import { createRequestsRoute } from './requests-route.ts';
import { START_PAGE } from './start-page.ts';

/** Body of `/readyz`; statuses `starting`, `draining` and `unready` are answered with 503, all others with 200. */
export interface Readiness {
  readonly status: string;
  readonly checks: Readonly<Record<string, unknown>>;
}

export interface AdminServerOptions {
  readonly config: Config;
  readonly books: BooksReader;
  readonly metrics: Pick<Metrics, 'render' | 'contentType'>;
  readonly readiness: () => Readiness;
  readonly sources: Pick<MetricsSources, 'upstreamStatus' | 'profiles'>;
  /** Finished records of this gateway that are not settled yet, in any order. */
  readonly unsettled: () => readonly UsageRecord[] | Promise<readonly UsageRecord[]>;
  /** The same where they are to be counted: null while some of this gateway's processes do not answer. Default: `unsettled`. */
  readonly allUnsettled?: () => Promise<readonly UsageRecord[] | null>;
  readonly clock: Clock;
  readonly log: Log;
  /** A client that takes nothing of its answer for so long loses its connection. Default 30 000 ms. */
  readonly stalledMs?: number;
}

export interface AdminServer {
  /** Resolves when it accepts; `host` and `port` as bound. Rejects with the socket's error, such as EADDRINUSE. */
  listen(): Promise<{ readonly host: string; readonly port: number }>;
  /** Stops accepting, lets answers in flight end for a moment, then closes what is left. Safe to repeat. */
  close(): Promise<void>;
  /** Teams, deployments, prices and tokens change at once; host and port need a restart. Never throws. */
  reload(config: Config): void;
}

// Not imported: that would load 2 MB that nobody uses (gateway/node-http.ts).
const { createServer } = process.getBuiltinModule('node:http');

/** How long answers in flight may take to end at close. */
const CLOSE_MS = 2000;
const STALLED_MS = 30_000;

const NOT_READY = new Set(['starting', 'draining', 'unready']);

/** Creates the server; throws an AdminUnprotectedError where it would be open to a network without a token. */
export function createAdminServer(options: AdminServerOptions): AdminServer {
  checkProtected(options.config.admin);
  let config = options.config;
  const { host, port, requireToken, token } = config.admin;
  if (!requireToken && token === '') {
    options.log.warn({ host }, 'the admin plane has no token: anybody who reaches it reads costs and requests');
  }
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 60_000 },
    createApp(options, () => config),
  );
  return {
    listen: () => listen(server, { host, port }),
    close: () => close(server),
    reload: (next) => {
      // The socket stays where it was bound, whatever the new file says of the host: a token that guards it is not given up.
      const isProtected = isProtectedAt(host, next.admin);
      if (!isProtected)
        options.log.error({ host }, 'the admin token was not taken away: the admin plane would be open to a network');
      config = isProtected ? next : { ...next, admin: config.admin };
    },
  };
}

function isProtectedAt(host: string, admin: Config['admin']): boolean {
  try {
    checkProtected({ ...admin, host });
    return true;
  } catch {
    return false;
  }
}

function createApp(options: AdminServerOptions, config: () => Config): Express {
  const { metrics, readiness, log } = options;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(setHeaders);
  app.use(boundAnswers(options.stalledMs ?? STALLED_MS));
  app.get('/healthz', (_req, res) => void res.json({ status: 'ok' }));
  app.get('/readyz', (_req, res) => {
    const { status, checks } = readiness();
    res.status(NOT_READY.has(status) ? 503 : 200).json({ status, checks });
  });
  app.get('/metrics', async (req, res) => {
    authorizeMetrics(req, config().admin);
    const text = await metrics.render();
    res.type(metrics.contentType).send(text);
  });
  app.use((req, _res, next) => {
    authorizeAdmin(req, config().admin);
    next();
  });
  addApi(app, options, config);
  app.use(() => {
    throw new AdminError(
      404,
      'route_not_found',
      'This route does not exist on the admin plane; GET / lists those that do.',
    );
  });
  app.use(
    createErrorHandler((error) => {
      log.error(
        { reason: error instanceof Error ? (error.stack ?? error.message) : String(error) },
        'admin request failed',
      );
    }),
  );
  return app;
}

function addApi(app: Express, options: AdminServerOptions, config: () => Config): void {
  app.get('/', (_req, res) => {
    res.setHeader('content-security-policy', "default-src 'none'");
    res.type('html').send(START_PAGE);
  });
  app.get(
    '/api/reports/chargeback',
    createReportRoute({ ...options, unsettled: options.allUnsettled ?? options.unsettled, config }),
  );
  app.get('/api/usage', createUsageRoute({ ...options, config }));
  app.get('/api/deployments', createDeploymentsRoute({ ...options, config }));
  app.get('/api/requests', createRequestsRoute(options));
  app.all(['/api/keys', '/api/keys/:id'], refuseUndelivered('Virtual keys are'));
  app.all('/api/audit', refuseUndelivered('The audit trail is'));
}

/** Figures of money: no cache keeps them, and no page elsewhere may frame or sniff them. */
const setHeaders: RequestHandler = (_req, res, next) => {
  res.setHeader('cache-control', 'no-store');
  res.setHeader('x-content-type-options', 'nosniff');
  res.setHeader('x-frame-options', 'DENY');
  next();
};

/** Node bounds a connection once its answer has left, and nobody what its client does not take: metrics can be asked for without a token. */
function boundAnswers(stalledMs: number): RequestHandler {
  return ({ socket }, res, next) => {
    res.once('prefinish', () => socket.setTimeout(stalledMs));
    // Before node's own listener, which gives the connection its time to be idle.
    res.prependOnceListener('finish', () => socket.setTimeout(0));
    next();
  };
}

function refuseUndelivered(what: string): RequestHandler {
  return () => {
    throw new AdminError(501, 'not_implemented', `${what} not part of this version; it comes with a later one.`);
  };
}

function listen(server: Server, { host, port }: { host: string; port: number }) {
  return new Promise<{ host: string; port: number }>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address() as AddressInfo;
      resolve({ host: address.address, port: address.port });
    });
  });
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
  await closed;
  clearTimeout(timer);
}
