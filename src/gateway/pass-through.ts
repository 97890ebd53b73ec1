// Everything that is no metered route: forwarded where a deployment's globs name the path, metered by its duration, else refused.
import type { Config, DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import type { Permit } from '#tenancy/admission.ts';
import { acquireLease } from './acquire-lease.ts';
import { admit } from './admit.ts';
import type { DataPlane } from './data-plane.ts';
import { estimateWork } from './estimate-work.ts';
import { type MeteredRoute, protocolOf } from './metered-routes.ts';
import type { ParsedRequest } from './parse-request.ts';
import { createPassRules, type FindPassRules, narrowPassRules, type PassRule } from './pass-rules.ts';
import { PassThroughExchange } from './pass-through-exchange.ts';
import { receiveBody } from './receive-body.ts';
import { canNameModel, isJsonType, readModel, readQueryModel, readNamedDeployment } from './read-model.ts';
import { Relay } from './relay.ts';
import { SentBodies } from './sent-body.ts';
import { runRelay } from './relay-by-rank.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';

/** What is known of a request that nobody reads. */
const UNREAD: ParsedRequest = {
  model: null,
  stream: false,
  streamOptions: undefined,
  maxTokens: null,
  promptCount: 1,
  sequences: 1,
  user: null,
  promptTextBytes: 0,
};

/**
 * Methods whose body may come in chunks. Node's client frames a body of unknown length for these alone: sent on with another method,
 * it would stand on the engine's connection as a request of its own.
 */
const TAKES_CHUNKED = new Set(['POST', 'PUT', 'PATCH']);

/** Creates the handler of last resort. */
export function createPassThroughHandler(plane: DataPlane): RouteHandler {
  const compiled = new WeakMap<Config, FindPassRules>();
  const findRules = (path: string, scopes: readonly string[]): readonly PassRule[] => {
    const { config } = plane.view;
    let find = compiled.get(config);
    if (find === undefined) {
      find = createPassRules(config);
      compiled.set(config, find);
    }
    return find(path, scopes);
  };
  return {
    route: 'other',
    serve(exchange) {
      const rules = findRules(exchange.path, exchange.meter.caller.scopes);
      if (rules.length === 0) throw new GatewayError('route_not_found');
      return servePassThrough(plane, rules, exchange);
    },
  };
}

async function servePassThrough(plane: DataPlane, rules: readonly PassRule[], exchange: Exchange): Promise<void> {
  const { req, meter } = exchange;
  const { router, config } = plane.view;
  const model = readQueryModel(req.url ?? '');
  const deployment = readNamedDeployment(req.headers);
  meter.requestedModel = model;
  if (Number(req.headers['content-length'] ?? 0) > config.server.maxBodyBytes)
    throw new GatewayError('request_too_large');
  if (req.headers['transfer-encoding'] !== undefined && !TAKES_CHUNKED.has(req.method ?? ''))
    throw new GatewayError('invalid_request', { text: 'A body with this method must announce its content-length.' });
  const meant = narrowPassRules(rules, { caller: meter.caller, model, deployment }, router);
  const { 'content-type': type, 'content-encoding': coding } = req.headers;
  // JSON is short and read even where one deployment is left: its model may be another's. Forms hold files and stream to that one.
  const mustRead = meant.length > 1 || (isJsonType(type) && coding === undefined);
  const isRead = req.method === 'POST' && model === null && mustRead;
  if (isRead && canNameModel(type)) await forwardByBody(plane, meant, exchange);
  else if (meant.length === 1 || model !== null) await forwardUnread(plane, meant[0], exchange);
  else throw new GatewayError('model_required', { param: 'model' });
}

/** Streams the request through http-proxy-middleware. */
async function forwardUnread(plane: DataPlane, rule: PassRule, exchange: Exchange): Promise<void> {
  const { req, res, meter } = exchange;
  const { deployment } = rule;
  const permit = await admitRule(plane, rule, { exchange, promptBytes: Number(req.headers['content-length'] ?? 0) });
  try {
    const promptBytes = Number(req.headers['content-length'] ?? 0);
    const lease = await acquireLease({
      plane,
      meter,
      res,
      deployment: deployment.name,
      wish: {
        urgency: 'first',
        work: estimateWork({ promptBytes, maxTokens: null, sequences: 1, prefillOnly: false }),
        prefix: null,
        excluded: new Set(),
      },
    });
    const { upstream } = lease;
    const answerHeaders = {
      ...createAnswerHeaders(exchange, { permit, deployment }),
      ...(plane.view.config.server.exposeUpstream ? { 'x-inferometer-upstream': upstream.config.name } : {}),
    };
    const forwarding = new PassThroughExchange({ plane, meter, req, res, lease, answerHeaders });
    const onClose = (): void => forwarding.clientGone();
    exchange.inFlight.attempt = forwarding;
    res.once('close', onClose).on('error', onClose);
    try {
      await forwarding.run();
    } finally {
      lease.release();
    }
  } finally {
    permit.release();
  }
}

/**
 * Chooses among the deployments that forward the path by the body's model. One that is left alone takes what names no model, or one that
 * only its engine may know.
 */
function chooseRule(plane: DataPlane, rules: readonly [PassRule, ...PassRule[]], exchange: Exchange): PassRule {
  const { requestedModel: model, caller } = exchange.meter;
  const { router } = plane.view;
  const isAlone = rules.length === 1;
  if (model === null && !isAlone) throw new GatewayError('model_required', { param: 'model' });
  if (model === null || (isAlone && !router.isKnown({ model, deployment: undefined }))) return rules[0];
  const deployment = readNamedDeployment(exchange.req.headers);
  return narrowPassRules(rules, { caller, model, deployment }, router)[0];
}

/** The engine's name of the model that a JSON body names by an alias; null leaves the body as it is, as a form is left. */
function renameModel({ deployment }: PassRule, { req, meter }: Exchange): string | null {
  const { requestedModel: model } = meter;
  if (model === null || !isJsonType(req.headers['content-type'])) return null;
  return model !== deployment.servedModel && deployment.models.includes(model) ? deployment.servedModel : null;
}

/** Reads the body for its model and relays it unchanged but for the model's name. */
async function forwardByBody(
  plane: DataPlane,
  rules: readonly [PassRule, ...PassRule[]],
  exchange: Exchange,
): Promise<void> {
  const { req, res, meter } = exchange;
  const body = await receiveBody(plane, exchange);
  meter.requestedModel = readModel(body, req.headers['content-type'] ?? '');
  const rule = chooseRule(plane, rules, exchange);
  const { deployment } = rule;
  const permit = await admitRule(plane, rule, { exchange, promptBytes: body.length });
  try {
    const answerHeaders = createAnswerHeaders(exchange, { permit, deployment });
    const route = createUnreadRoute(req.url ?? '');
    await runRelay(
      exchange,
      new Relay({
        plane,
        meter,
        route,
        request: UNREAD,
        deployment,
        req,
        res,
        bodies: new SentBodies({ body, model: renameModel(rule, exchange), plan: 'leave', fields: null }),
        answerHeaders,
      }),
    );
  } finally {
    permit.release();
  }
}

/** Names the deployment in the record and asks limits and budgets: a route nobody reads is no way around them. */
async function admitRule(
  plane: DataPlane,
  rule: PassRule,
  options: { readonly exchange: Exchange; readonly promptBytes: number },
): Promise<Permit> {
  const { meter } = options.exchange;
  const { deployment } = rule;
  meter.route = rule.glob;
  meter.deployment = deployment.name;
  meter.model = deployment.models[0] ?? null;
  return admit(plane.admission, meter, { deployment, request: UNREAD, promptBytes: options.promptBytes });
}

function createAnswerHeaders(
  exchange: Exchange,
  options: { readonly permit: Permit; readonly deployment: DeploymentConfig },
): Record<string, string> {
  return { ...options.permit.headers, ...exchange.idHeaders, 'x-inferometer-deployment': options.deployment.name };
}

function createUnreadRoute(path: string): MeteredRoute {
  return {
    path,
    protocol: protocolOf(path),
    shape: 'embedding',
    work: 'duration',
    prefillOnly: false,
    takesStreamOptions: false,
  };
}
