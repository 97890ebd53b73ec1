// The data plane's Express app and its HTTP server: which path goes to which handler. What is no sound HTTP never gets here (http-edge).
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import express from 'express';
import { createCallerRoutes } from './caller-routes.ts';
import type { DataPlane } from './data-plane.ts';
import { createMessageClasses } from './express-messages.ts';
import { attachHttpEdge } from './http-edge.ts';
import { createKserveHandler } from './kserve-routes.ts';
import { METERED_ROUTES } from './metered-routes.ts';
import { createModelsHandler, sendJson } from './models-route.ts';
import { createServer as createHttpServer } from './node-http.ts';
import { createPassThroughHandler } from './pass-through.ts';
import { createInferenceHandler } from './serve-inference.ts';
import { type RouteHandler, serveRequest } from './serve-request.ts';

/** What `/readyz` says. */
export interface Readiness {
  /** 200, or 503 while the gateway wants no requests. */
  readonly httpStatus: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Builds the server; it does not listen yet. */
export function createServer(plane: DataPlane, readiness: () => Readiness): Server {
  const app = createApp(plane, readiness);
  const options: ServerOptions = {
    ...createMessageClasses(app),
    keepAliveTimeout: 75_000,
    headersTimeout: 30_000,
    // Bodies have a time limit of their own that knows their pace (read-body).
    requestTimeout: 0,
    connectionsCheckingInterval: 1_000,
    noDelay: true,
    // Checked by the edge, where it is counted.
    requireHostHeader: false,
  };
  const { tls } = plane.view.config.server;
  const server = tls === undefined ? createHttpServer(options) : createHttpsServer({ ...options, ...tls });
  attachHttpEdge(server, plane, app);
  return server;
}

function createApp(plane: DataPlane, readiness: () => Readiness): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('query parser', false);
  app.set('case sensitive routing', true);
  app.set('strict routing', true);
  const on = (handler: RouteHandler) => (req: IncomingMessage & { path: string }, res: ServerResponse) =>
    serveRequest(plane, handler, { req, res, path: req.path });
  for (const route of METERED_ROUTES) app.post(route.path, on(createInferenceHandler(plane, route)));
  const models = createModelsHandler(plane, plane.clock.epochMs());
  app.get('/v1/models', on(models));
  app.get(/^\/v1\/models\/./, on({ ...models, route: '/v1/models/{id}' }));
  if (plane.callerBooks !== null) {
    const own = createCallerRoutes(plane.callerBooks);
    app.get(/^\/v1\/inferometer\/requests\/./, on(own.requests));
    app.get('/v1/inferometer/usage', on(own.usage));
    app.get('/v1/inferometer/budget', on(own.budget));
  }
  app.get('/healthz', (_req, res) => sendJson(res, { body: { status: 'ok' } }));
  app.get('/readyz', (_req, res) => {
    const { httpStatus, body } = readiness();
    sendJson(res, { status: httpStatus, body });
  });
  const passThrough = createPassThroughHandler(plane);
  app.all(/^\/v2(?:\/|$)/, on(createKserveHandler(plane, passThrough)));
  app.use(on(passThrough));
  return app;
}
