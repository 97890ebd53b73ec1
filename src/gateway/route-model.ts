// From what a request names to the deployment that serves it, and the models a caller may see.
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { Caller } from '#domain/caller.ts';
import { GatewayError } from '#domain/errors.ts';
import { createModelFilter } from '#tenancy/model-globs.ts';

/** What a request says about where it wants to go. */
export interface RouteRequest {
  readonly caller: Caller;
  /** As sent; null where the request names none. */
  readonly model: string | null;
  /** The header x-inferometer-deployment. */
  readonly deployment: string | undefined;
}

/** One entry of `GET /v1/models`. */
export interface ModelEntry {
  readonly id: string;
  readonly ownedBy: string;
}

/** Chooses deployments by model names; stateless but for the config it was made from. */
export class ModelRouter {
  readonly #deployments: readonly DeploymentConfig[];
  readonly #byModel = new Map<string, DeploymentConfig[]>();
  readonly #filters = new WeakMap<readonly string[], (names: readonly string[]) => boolean>();
  readonly #isServing: (deployment: string) => boolean;

  /** `isServing` says whether a deployment has an engine that may be sent to. */
  constructor(config: Config, isServing: (deployment: string) => boolean) {
    this.#isServing = isServing;
    // Those that compute prompts for others get them from the others' fronts.
    const asked = config.deployments.filter(({ prefillsFor }) => prefillsFor === undefined);
    this.#deployments = asked.sort((left, right) => right.priority - left.priority);
    for (const deployment of this.#deployments) {
      for (const model of deployment.models) {
        const serving = this.#byModel.get(model);
        if (serving === undefined) this.#byModel.set(model, [deployment]);
        else serving.push(deployment);
      }
    }
  }

  /**
   * By model; else by header; else the only deployment the caller may use (contract §4 "Deployment"). Throws `model_not_found`,
   * `model_not_allowed` or `model_required`.
   */
  route(request: RouteRequest): DeploymentConfig {
    if (request.model !== null) return this.#routeModel(request.model, request);
    if (request.deployment !== undefined) return this.#routeDeployment(request.deployment, request.caller);
    const usable = this.#deployments.filter((deployment) => this.isAllowed(request.caller, deployment));
    const [only] = usable;
    if (only === undefined || usable.length > 1) throw new GatewayError('model_required', { param: 'model' });
    return only;
  }

  /**
   * Another deployment that serves the same model to the same caller, now that those in `tried` could not; null where there is none, where none
   * has an engine to send to, and where the request names its deployment itself. `among` leaves out all others.
   */
  routeElsewhere(
    request: RouteRequest,
    tried: ReadonlySet<DeploymentConfig>,
    among: readonly DeploymentConfig[] = this.#deployments,
  ): DeploymentConfig | null {
    if (request.model === null) return null;
    const candidates = this.#listServing(request.model, request).filter(
      (deployment) => !tried.has(deployment) && this.#isServing(deployment.name) && among.includes(deployment),
    );
    const isPinned = [...tried].some(({ name }) => name === request.deployment);
    return isPinned || candidates.length === 0 ? null : this.#choose(candidates);
  }

  /** One entry per name the caller may use, in the config's order; names of several deployments once, owned by the first choice. */
  listModels(caller: Caller): ModelEntry[] {
    const entries: ModelEntry[] = [];
    for (const [id, deployments] of this.#byModel) {
      const owner = deployments.find((deployment) => this.isAllowed(caller, deployment, id));
      if (owner !== undefined) entries.push({ id, ownedBy: owner.name });
    }
    return entries;
  }

  /** Whether the configuration has what a request names: its model, or without one its deployment. */
  isKnown({ model, deployment }: { readonly model: string | null; readonly deployment: string | undefined }): boolean {
    return model === null ? this.#deployments.some(({ name }) => name === deployment) : this.#byModel.has(model);
  }

  /** Whether the caller's globs cover the sent, the canonical or the deployment's name; where none was sent, any name that could be. */
  isAllowed(caller: Caller, deployment: DeploymentConfig, sent?: string): boolean {
    if (caller.models === null) return true;
    let filter = this.#filters.get(caller.models);
    if (filter === undefined) {
      filter = createModelFilter(caller.models);
      this.#filters.set(caller.models, filter);
    }
    const [canonical = ''] = deployment.models;
    return filter(sent === undefined ? [...deployment.models, deployment.name] : [sent, canonical, deployment.name]);
  }

  #routeModel(model: string, request: RouteRequest): DeploymentConfig {
    let candidates = this.#listServing(model, request);
    if (candidates.length === 0) throw new GatewayError('model_not_allowed', { param: 'model' });
    if (request.deployment !== undefined) {
      const named = candidates.filter(({ name }) => name === request.deployment);
      if (named.length > 0) candidates = named;
    }
    return candidates.length === 1 ? (candidates[0] as DeploymentConfig) : this.#choose(candidates);
  }

  /** The deployments of a model that the caller may use, the highest priority first. */
  #listServing(model: string, { caller }: RouteRequest): readonly DeploymentConfig[] {
    const serving = this.#byModel.get(model);
    if (serving === undefined) throw new GatewayError('model_not_found', { param: 'model' });
    return caller.models === null ? serving : serving.filter((deployment) => this.isAllowed(caller, deployment, model));
  }

  #routeDeployment(name: string, caller: Caller): DeploymentConfig {
    const deployment = this.#deployments.find((candidate) => candidate.name === name);
    const param = 'x-inferometer-deployment';
    if (deployment === undefined) throw new GatewayError('model_not_found', { param });
    if (!this.isAllowed(caller, deployment)) throw new GatewayError('model_not_allowed', { param });
    return deployment;
  }

  /** Highest priority that has a usable engine, then by weight, among candidates in any order; at least one. */
  choose(candidates: readonly DeploymentConfig[]): DeploymentConfig {
    return this.#choose([...candidates].sort((left, right) => right.priority - left.priority));
  }

  /** The same for candidates that are ordered by priority already. */
  #choose(candidates: readonly DeploymentConfig[]): DeploymentConfig {
    const serving = candidates.filter(({ name }) => this.#isServing(name));
    const pool = serving.length === 0 ? candidates : serving;
    const equals = pool.filter(({ priority }) => priority === pool[0]?.priority);
    let left = Math.random() * equals.reduce((sum, { weight }) => sum + weight, 0);
    for (const deployment of equals) {
      left -= deployment.weight;
      if (left < 0) return deployment;
    }
    return equals.at(-1) as DeploymentConfig;
  }
}
