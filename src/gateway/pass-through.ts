// Everything that is no metered route: forwarded where pass-rules let the path through, metered by its duration, else refused.
import type { Config, DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import { acquireLease } from './acquire-lease.ts';
import { admit } from './admit.ts';
import type { DataPlane } from './data-plane.ts';
import { estimateWork } from './estimate-work.ts';
import { leaveRefusing } from './find-onward.ts';
import { type MeteredRoute, protocolOf } from './metered-routes.ts';
import { nameDeployment } from './name-deployment.ts';
import type { ParsedRequest } from './parse-request.ts';
import {
  createPassRules,
  type FindPassRules,
  narrowPassRules,
  type PassRequest,
  type PassRule,
  type PassTarget,
  rankPassRules,
} from './pass-rules.ts';
import { PassThroughExchange } from './pass-through-exchange.ts';
import { canNameModel, isJsonType, readModel, readNamedDeployment, readQueryModel } from './read-model.ts';
import { receiveBody } from './receive-body.ts';
import { relayByRank } from './relay-by-rank.ts';
import type { RequestMeter } from './request-meter.ts';
import type { ModelRouter } from './route-model.ts';
import { SentBodies } from './sent-body.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';
import type { Lease, Upstream } from './upstream.ts';

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
  const findRules = (target: PassTarget): readonly PassRule[] => {
    const { config } = plane.view;
    let find = compiled.get(config);
    if (find === undefined) {
      find = createPassRules(config);
      compiled.set(config, find);
    }
    return find(target);
  };
  return {
    route: 'other',
    serve(exchange) {
      const { req, path, meter } = exchange;
      const rules = findRules({ method: req.method, path, scopes: meter.caller.scopes });
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
  const request = { caller: meter.caller, model, deployment };
  const meant = narrowPassRules(rules, request, router);
  const { 'content-type': type, 'content-encoding': coding } = req.headers;
  // JSON is short and read even where one deployment is left: its model may be another's. Forms hold files and stream to that one.
  const mustRead = meant.length > 1 || (isJsonType(type) && coding === undefined);
  const isRead = req.method === 'POST' && model === null && mustRead;
  const plan = { rules: meant, request, router };
  if (isRead && canNameModel(type)) await forwardByBody(plane, { ...plan, everyRule: rules }, exchange);
  else if (meant.length === 1 || model !== null) await forwardUnread(plane, plan, exchange);
  else throw new GatewayError('model_required', { param: 'model' });
}

/** A request with the deployments that may forward it, the first choice first. */
interface PassPlan {
  readonly rules: readonly [PassRule, ...PassRule[]];
  readonly request: PassRequest;
  readonly router: ModelRouter;
}

/** A request whose body may name a model of any deployment that forwards the path. */
interface UnreadPlan extends PassPlan {
  readonly everyRule: readonly PassRule[];
}

/** Streams the request through http-proxy-middleware. */
async function forwardUnread(plane: DataPlane, plan: PassPlan, exchange: Exchange): Promise<void> {
  const { req, res, meter } = exchange;
  const { deployment: first } = nameRule(meter, plan.rules[0]);
  const promptBytes = Number(req.headers['content-length'] ?? 0);
  const permit = await admit(plane.admission, meter, { deployment: first, request: UNREAD, promptBytes });
  try {
    const lease = await leaseByRank(plane, plan, exchange);
    const { exposeUpstream } = plane.view.config.server;
    const answerHeaders = {
      ...permit.headers,
      ...exchange.idHeaders,
      'x-inferometer-deployment': lease.upstream.deployment.name,
      ...(exposeUpstream ? { 'x-inferometer-upstream': lease.upstream.config.name } : {}),
    };
    const forwarding = new PassThroughExchange({ plane, meter, req, res, lease, answerHeaders });
    const onClose = (): void => forwarding.clientGone();
    exchange.attempt = forwarding;
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
 * An engine of the best deployment that has one to give. What is streamed can be sent once only: where it goes on to is decided before its
 * first byte is read.
 */
async function leaseByRank(plane: DataPlane, plan: PassPlan, { req, res, meter }: Exchange): Promise<Lease> {
  const promptBytes = Number(req.headers['content-length'] ?? 0);
  const work = estimateWork({ promptBytes, maxTokens: null, sequences: 1, prefillOnly: false });
  const wish = { urgency: 'first', work, prefix: null, excluded: new Set<Upstream>() } as const;
  const ranking = rankPassRules(plan.rules, plan.request, plan.router);
  let { deployment } = ranking;
  const tried = new Set<DeploymentConfig>();
  for (;;) {
    tried.add(deployment);
    try {
      return await acquireLease({ plane, meter, res, deployment: deployment.name, wish });
    } catch (error) {
      const next = leaveRefusing(error, () => ranking.findNext(tried));
      if (next === null) throw error;
      ({ deployment } = nameRule(meter, findRule(plan.rules, next)));
    }
  }
}

/**
 * Chooses among the deployments that forward the path by the body's model. One that is left alone takes what names no model, or one that
 * only its engine may know; a model of another is that one's to take, or its caller may not use it.
 */
function narrowByModel({ rules, everyRule, request, router }: UnreadPlan): PassPlan['rules'] {
  const { model } = request;
  const isAlone = rules.length === 1;
  if (model === null && !isAlone) throw new GatewayError('model_required', { param: 'model' });
  if (model === null || (isAlone && !router.isKnown({ model, deployment: undefined }))) return [rules[0]];
  return narrowPassRules(everyRule, request, router);
}

/** The engine's name of the model that a JSON body names by an alias; null leaves the body as it is, as a form is left. */
function renameModel(deployment: DeploymentConfig, { req, meter }: Exchange): string | null {
  const { requestedModel: model } = meter;
  if (model === null || !isJsonType(req.headers['content-type'])) return null;
  return model !== deployment.servedModel && deployment.models.includes(model) ? deployment.servedModel : null;
}

/** Reads the body for its model and relays it unchanged but for the model's name. */
async function forwardByBody(plane: DataPlane, unread: UnreadPlan, exchange: Exchange): Promise<void> {
  const { req, meter } = exchange;
  const body = await receiveBody(plane, exchange);
  meter.requestedModel = readModel(body, req.headers['content-type'] ?? '');
  const plan = { ...unread, request: { ...unread.request, model: meter.requestedModel } };
  const rules = narrowByModel(plan);
  const route = createUnreadRoute(req.url ?? '');
  await relayByRank(plane, exchange, {
    ranking: rankPassRules(rules, plan.request, plan.router),
    promptBytes: body.length,
    draft(deployment) {
      nameRule(meter, findRule(rules, deployment));
      const model = renameModel(deployment, exchange);
      const bodies = new SentBodies({ body, model, plan: 'leave', fields: null });
      return { request: UNREAD, complete: () => ({ route, bodies }) };
    },
  });
}

/** Every record from now on names this rule's deployment, and its glob as the route. */
function nameRule(meter: RequestMeter, rule: PassRule): PassRule {
  meter.route = rule.glob;
  nameDeployment(meter, rule.deployment);
  return rule;
}

function findRule(rules: PassPlan['rules'], deployment: DeploymentConfig): PassRule {
  return rules.find((rule) => rule.deployment === deployment) ?? rules[0];
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
