// The metered inference routes, stage by stage: read the body, find the deployment, admit, change the body by splicing, relay.
import { hash } from 'node:crypto';
import type { DeploymentConfig, PrivacyConfig } from '#config/config.ts';
import { admit } from './admit.ts';
import type { DataPlane } from './data-plane.ts';
import type { MeteredRoute } from './metered-routes.ts';
import { type ParsedRequest, parseRequest } from './parse-request.ts';
import { planUsage } from './plan-usage.ts';
import { hashPromptPrefix } from './prompt-prefix.ts';
import { ClientGoneError, readBody } from './read-body.ts';
import { Relay } from './relay.ts';
import type { Exchange, RouteHandler } from './serve-request.ts';
import { spliceBody } from './splice-body.ts';

/** Longer users are cut: the record keeps who asked, not an essay. */
const MAX_USER_LENGTH = 256;

/** Creates the handler of one metered route. */
export function createInferenceHandler(plane: DataPlane, route: MeteredRoute): RouteHandler {
  return { route: route.path, serve: (exchange) => serveInference(plane, route, exchange) };
}

async function serveInference(plane: DataPlane, route: MeteredRoute, exchange: Exchange): Promise<void> {
  const { req, res, meter, idHeaders } = exchange;
  const { config, router } = plane.view;
  const body = await readBody(req, {
    maxBytes: config.server.maxBodyBytes,
    graceMs: plane.bodyGraceMs,
    deadlines: plane.deadlines,
    nowMs: meter.receivedAtMs,
  });
  meter.waitedMs = plane.clock.monotonicMs() - meter.receivedAtMs;
  const request = parseRequest(body, route.shape);
  meter.requestedModel = request.model;
  meter.stream = request.stream;
  meter.user = readUser(request, config.privacy);
  const named = req.headers['x-inferometer-deployment'];
  const deployment = router.route({
    caller: meter.caller,
    model: request.model,
    deployment: typeof named === 'string' ? named : undefined,
  });
  meter.deployment = deployment.name;
  meter.model = deployment.models[0] ?? null;
  const admitted = admit(plane.admission, meter, { deployment, request, promptBytes: body.length });
  const permit = admitted instanceof Promise ? await admitted : admitted;
  try {
    if (res.destroyed) throw new ClientGoneError();
    const prepared = prepareBody(plane, { body, request, route, deployment });
    const answerHeaders = { ...permit.headers, ...idHeaders, 'x-inferometer-deployment': deployment.name };
    const { sent, removesUsage } = prepared;
    const { affinity } = deployment;
    const prefix = affinity === undefined ? null : hashPromptPrefix(body, affinity.prefixBytes);
    await runRelay(
      exchange,
      new Relay({
        plane,
        meter,
        route,
        request,
        deployment,
        req,
        res,
        body: sent,
        answerHeaders,
        removesUsage,
        prefix,
      }),
    );
  } finally {
    permit.release();
  }
}

/** Runs a relay, tied to its client and to draining for as long as it takes. */
export async function runRelay(exchange: Exchange, relay: Relay): Promise<void> {
  const onClose = (): void => relay.clientGone();
  exchange.inFlight.attempt = relay;
  exchange.res.once('close', onClose);
  exchange.res.on('error', onClose);
  try {
    await relay.run();
  } finally {
    exchange.res.off('close', onClose);
  }
}

/** The body as the engine gets it, and whether the usage chunk it will cause must be taken out again. */
function prepareBody(
  plane: DataPlane,
  options: {
    readonly body: Buffer;
    readonly request: ParsedRequest;
    readonly route: MeteredRoute;
    readonly deployment: DeploymentConfig;
  },
): { readonly sent: Buffer; readonly removesUsage: boolean } {
  const { body, request, route, deployment } = options;
  const traits = plane.engines[deployment.engine];
  const removesUsage = route.takesStreamOptions && traits !== undefined && planUsage(request, traits) === 'inject';
  const model = request.model === deployment.servedModel ? null : deployment.servedModel;
  return { sent: spliceBody(body, { model, includeUsage: removesUsage }), removesUsage };
}

/** OpenAI's `user` after `privacy.user`; a hash keeps people apart in reports without naming them. */
function readUser(request: ParsedRequest, privacy: PrivacyConfig): string | null {
  if (request.user === null || privacy.user === 'drop') return null;
  if (privacy.user === 'hash') return `sha256:${hash('sha256', request.user, 'hex').slice(0, 32)}`;
  return request.user.slice(0, MAX_USER_LENGTH);
}
