// Everything that is no metered route: forwarded unread where a deployment's globs name the path, metered by its duration, else refused.
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { Caller } from '#domain/caller.ts';
import { GatewayError } from '#domain/errors.ts';
import type { DataPlane } from './data-plane.ts';
import { createPathFilter, readForwardablePath } from './forwardable-path.ts';
import { PassThroughExchange } from './pass-through-exchange.ts';
import type { ModelRouter } from './route-model.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';

/** A deployment's globs, and what they allow. */
interface PassRule {
  readonly deployment: DeploymentConfig;
  readonly globs: readonly { readonly glob: string; readonly matches: (path: string) => boolean }[];
}

/** Creates the handler of last resort. */
export function createPassThroughHandler(plane: DataPlane): RouteHandler {
  const rules = new WeakMap<Config, readonly PassRule[]>();
  const readRules = (config: Config): readonly PassRule[] => {
    let known = rules.get(config);
    if (known === undefined) {
      known = config.deployments.map(createRule);
      rules.set(config, known);
    }
    return known;
  };
  return {
    route: 'other',
    serve: (exchange) => servePassThrough(plane, readRules(plane.view.config), exchange),
  };
}

function createRule(deployment: DeploymentConfig): PassRule {
  return { deployment, globs: deployment.passThrough.map((glob) => ({ glob, matches: createPathFilter([glob]) })) };
}

async function servePassThrough(plane: DataPlane, rules: readonly PassRule[], exchange: Exchange): Promise<void> {
  const { req, res, path, meter, idHeaders } = exchange;
  const forwardable = readForwardablePath(path);
  const open = forwardable === null ? [] : matchRules(rules, forwardable);
  if (open.length === 0) throw createRouteNotFound(path);
  const { deployment, glob } = chooseRule(open, { exchange, router: plane.view.router });
  meter.route = glob;
  meter.deployment = deployment.name;
  meter.model = deployment.models[0] ?? null;
  const { maxBodyBytes, exposeUpstream } = plane.view.config.server;
  if (Number(req.headers['content-length'] ?? 0) > maxBodyBytes) throw new GatewayError('request_too_large');
  const upstream = plane.pool.choose(deployment.name, new Set());
  if (upstream === undefined) throw new GatewayError('no_healthy_upstream');
  const answerHeaders = {
    ...idHeaders,
    'x-inferometer-deployment': deployment.name,
    ...(exposeUpstream ? { 'x-inferometer-upstream': upstream.config.name } : {}),
  };
  const forwarding = new PassThroughExchange({ plane, meter, req, res, upstream, answerHeaders });
  const onClose = (): void => forwarding.clientGone();
  const vacate = upstream.occupy();
  exchange.inFlight.attempt = forwarding;
  res.once('close', onClose).on('error', onClose);
  try {
    await forwarding.run();
  } finally {
    vacate();
  }
}

interface OpenRule {
  readonly deployment: DeploymentConfig;
  readonly glob: string;
}

function matchRules(rules: readonly PassRule[], path: string): OpenRule[] {
  const open: OpenRule[] = [];
  for (const { deployment, globs } of rules) {
    const found = globs.find(({ matches }) => matches(path));
    if (found !== undefined) open.push({ deployment, glob: found.glob });
  }
  return open;
}

/** By `model` in the query, else by header, else the only one the caller may use: the body is not read. */
function chooseRule(
  open: readonly OpenRule[],
  request: { readonly exchange: Exchange; readonly router: ModelRouter },
): OpenRule {
  const { req, meter } = request.exchange;
  const { caller } = meter;
  const model = readQueryModel(req.url ?? '');
  meter.requestedModel = model;
  const named = req.headers['x-inferometer-deployment'];
  let candidates = open;
  if (model !== null) candidates = candidates.filter(({ deployment }) => deployment.models.includes(model));
  else if (named !== undefined) candidates = candidates.filter(({ deployment }) => deployment.name === named);
  if (candidates.length === 0) throw new GatewayError('model_not_found', { param: 'model' });
  const usable = candidates.filter(({ deployment }) => isAllowed(request.router, { caller, deployment, model }));
  const [first] = usable;
  if (first === undefined) throw new GatewayError('model_not_allowed', { param: 'model' });
  if (usable.length > 1 && model === null) throw new GatewayError('model_required', { param: 'model' });
  return first;
}

function isAllowed(
  router: ModelRouter,
  request: { readonly caller: Caller; readonly deployment: DeploymentConfig; readonly model: string | null },
): boolean {
  return router.isAllowed(request.caller, request.deployment, request.model ?? undefined);
}

function readQueryModel(url: string): string | null {
  const query = url.indexOf('?');
  return query === -1 ? null : new URLSearchParams(url.slice(query + 1)).get('model');
}

/** What every path that is no route answers. */
function createRouteNotFound(path: string): GatewayError {
  if (path === '/v2' || path.startsWith('/v2/')) {
    return new GatewayError('route_not_found', { text: "Triton's /v2 routes are not served by this version." });
  }
  return new GatewayError('route_not_found');
}
