// Which deployments forward a path unread, which of them a request means, and in which order. Forwarding itself is pass-through's concern.
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { Caller } from '#domain/caller.ts';
import { GatewayError } from '#domain/errors.ts';
import { isControlPath, OPERATOR_SCOPE } from './control-routes.ts';
import { createPathFilter, readSafePath } from './forwardable-path.ts';
import { isInference, parseKservePath } from './kserve-path.ts';
import { METERED_ROUTES } from './metered-routes.ts';
import type { Ranking } from './relay-by-rank.ts';
import type { ModelRouter } from './route-model.ts';

/** One deployment that forwards a path, by the glob that says so. */
export interface PassRule {
  readonly deployment: DeploymentConfig;
  readonly glob: string;
}

/**
 * Paths that every deployment forwards when they are posted to, whatever its globs: they belong to a metered route, and a client of that one
 * expects them. An engine that has not got one says so itself.
 */
const COMPANIONS: readonly string[] = ['/v1/messages/count_tokens'];

/** What of a request says whether it may pass. */
export interface PassTarget {
  readonly method: string | undefined;
  /** Without the query. */
  readonly path: string;
  /** Of the caller's key. */
  readonly scopes: readonly string[];
}

/** Inference that is metered by its tokens, where an engine has it. */
const METERED: ReadonlySet<string> = new Set(METERED_ROUTES.map(({ path }) => path));

/**
 * Returns the rules that let a request through, in the config's order. A path that controls an engine goes by `allowControl`, and for keys with
 * the scope `operator` alone; a spelling that could mean another path never goes, nor does TRACE, whose answer would show the engine's key.
 */
export type FindPassRules = (target: PassTarget) => readonly PassRule[];

/** Compiles a config's `passThrough` and `allowControl` globs. */
export function createPassRules(config: Config): FindPassRules {
  const companions = compileGlobs(COMPANIONS);
  const asked = config.deployments.filter(({ prefillsFor }) => prefillsFor === undefined);
  const rules = asked.map((deployment) => {
    const globs = compileGlobs(deployment.passThrough);
    const controlGlobs = compileGlobs(deployment.allowControl ?? []);
    return { deployment, globs, postGlobs: [...globs, ...companions], controlGlobs };
  });
  return ({ method, path, scopes }) => {
    const safe = readSafePath(path);
    if (safe === null || method === 'TRACE' || (method === 'POST' && isMeteredOtherwise(path, safe))) return [];
    const controls = isControlPath(safe);
    if (controls && !scopes.includes(OPERATOR_SCOPE)) return [];
    return rules.flatMap(({ deployment, globs, postGlobs, controlGlobs }) => {
      const mayPass = controls ? controlGlobs : method === 'POST' ? postGlobs : globs;
      const found = mayPass.find(({ matches }) => matches(safe));
      return found === undefined ? [] : [{ deployment, glob: found.glob }];
    });
  };
}

/** Whether a path is another spelling of one that is metered, which an engine would serve past caps and meter: encoded, or with a slash at its end. */
function isMeteredOtherwise(path: string, safe: string): boolean {
  const plain = safe.replace(/\/$/, '');
  return path !== plain && (METERED.has(plain) || isInference(parseKservePath(plain)));
}

/** Globs with their patterns. */
function compileGlobs(globs: readonly string[]) {
  return globs.map((glob) => ({ glob, matches: createPathFilter([glob]) }));
}

/** What a request says about the deployment it means. */
export interface PassRequest {
  readonly caller: Caller;
  readonly model: string | null;
  /** The header x-inferometer-deployment; where a model is named, it only chooses among the deployments of that model. */
  readonly deployment: string | undefined;
}

/**
 * Narrows rules to what the request means and its caller may use; never empty, the one to take first where the model is known: that of the
 * deployment the request names, else by priority and weight. Throws `route_not_found`, `model_not_found` or `model_not_allowed`.
 */
export function narrowPassRules(
  rules: readonly PassRule[],
  request: PassRequest,
  router: ModelRouter,
): readonly [PassRule, ...PassRule[]] {
  const { model, caller } = request;
  const meant = rules.filter(({ deployment }) =>
    model === null
      ? request.deployment === undefined || deployment.name === request.deployment
      : deployment.models.includes(model),
  );
  if (meant.length === 0) {
    // The model may well exist; it is the route that its deployment does not forward.
    if (router.isKnown({ model, deployment: request.deployment })) throw new GatewayError('route_not_found');
    throw new GatewayError('model_not_found', { param: 'model' });
  }
  const allowed = meant.filter(({ deployment }) => router.isAllowed(caller, deployment, model ?? undefined));
  if (model !== null && allowed.length > 1) {
    const named = allowed.find(({ deployment }) => deployment.name === request.deployment)?.deployment;
    const best = named ?? router.choose(allowed.map(({ deployment }) => deployment));
    allowed.sort((left, right) => Number(right.deployment === best) - Number(left.deployment === best));
  }
  const [first, ...others] = allowed;
  if (first === undefined) throw new GatewayError('model_not_allowed', { param: 'model' });
  return [first, ...others];
}

/** The order of narrowed rules: the first, then by priority and weight those whose engines may be sent to, never one that does not forward the path. */
export function rankPassRules(
  rules: readonly [PassRule, ...PassRule[]],
  request: PassRequest,
  router: ModelRouter,
): Ranking {
  const deployments = rules.map(({ deployment }) => deployment);
  return {
    deployment: rules[0].deployment,
    findNext: (tried) => (rules.length === 1 ? null : router.routeElsewhere(request, tried, deployments)),
  };
}
