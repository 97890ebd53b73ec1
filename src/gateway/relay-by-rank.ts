// A request whose deployments are known: named in its record, admitted once, relayed to the best of them, and to the next where every engine of
// that one is down or declines. What a body says, and how it is changed for a deployment, is the route's.
import type { DeploymentConfig } from '#config/config.ts';
import { admit } from './admit.ts';
import type { DataPlane } from './data-plane.ts';
import { nameDeployment } from './name-deployment.ts';
import type { ParsedRequest } from './parse-request.ts';
import { ClientGoneError } from './read-body.ts';
import { readNamedDeployment } from './read-model.ts';
import { Relay, type RelayOptions } from './relay.ts';
import type { ModelRouter } from './route-model.ts';
import type { Exchange } from './serve-request.ts';

/** What of a relay depends on the route. */
export type RelayParts = Pick<RelayOptions, 'route' | 'bodies' | 'prefix'>;

/** A request as one deployment gets it. */
export interface Draft {
  readonly request: ParsedRequest;
  /** Called once it is admitted. */
  complete(): RelayParts | Promise<RelayParts>;
}

/** The best deployment for a request, and where it goes on that those in `tried` could not serve; null for nowhere. */
export interface Ranking {
  readonly deployment: DeploymentConfig;
  findNext(tried: ReadonlySet<DeploymentConfig>): DeploymentConfig | null;
}

export interface RankedRequest {
  readonly ranking: Ranking;
  /** Bytes of the body, for limits. */
  readonly promptBytes: number;
  /** The request for one deployment; called for each that is tried. */
  draft(deployment: DeploymentConfig): Draft;
}

/** Finds the best deployment for an exchange and names it in the meter. Throws like `ModelRouter.route`. */
export function chooseDeployment(router: ModelRouter, exchange: Exchange): Ranking {
  const { req, meter } = exchange;
  const wish = {
    caller: meter.caller,
    model: meter.requestedModel,
    deployment: readNamedDeployment(req.headers),
  };
  const deployment = router.route(wish);
  nameDeployment(meter, deployment);
  return { deployment, findNext: (tried) => router.routeElsewhere(wish, tried) };
}

/**
 * Resolves when the client has its answer. Rejects with the GatewayError that refuses, of the last deployment where several were tried. A
 * request is admitted, and counts for its team, once, however many deployments it goes through.
 */
export async function relayByRank(plane: DataPlane, exchange: Exchange, ranked: RankedRequest): Promise<void> {
  const { req, res, meter, idHeaders } = exchange;
  const { ranking, promptBytes } = ranked;
  let { deployment } = ranking;
  let draft = ranked.draft(deployment);
  meter.stream = draft.request.stream;
  const admitted = admit(plane.admission, meter, { deployment, request: draft.request, promptBytes });
  const permit = admitted instanceof Promise ? await admitted : admitted;
  const tried = new Set<DeploymentConfig>();
  let relay: Relay | undefined;
  const onClose = (): void => relay?.clientGone();
  res.on('close', onClose);
  res.on('error', onClose);
  try {
    for (;;) {
      tried.add(deployment);
      const completed = draft.complete();
      const { route, bodies, prefix = null } = completed instanceof Promise ? await completed : completed;
      if (res.destroyed) throw new ClientGoneError();
      const answerHeaders = { ...permit.headers, ...idHeaders, 'x-inferometer-deployment': deployment.name };
      const { request } = draft;
      const findFallback = (): DeploymentConfig | null => ranking.findNext(tried);
      // Tied to its client and to draining for as long as it takes.
      exchange.attempt = relay = new Relay({
        plane,
        meter,
        route,
        request,
        deployment,
        req,
        res,
        bodies,
        answerHeaders,
        prefix,
        findFallback,
      });
      const fallback = await relay.run();
      exchange.attempt = relay = undefined;
      if (fallback === null) return;
      deployment = fallback;
      nameDeployment(meter, deployment);
      draft = ranked.draft(deployment);
      meter.stream = draft.request.stream;
    }
  } finally {
    exchange.attempt = undefined;
    res.off('close', onClose);
    permit.release();
  }
}
