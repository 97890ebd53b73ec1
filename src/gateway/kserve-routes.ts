// Which of Triton's `/v2` routes goes where. What is none of them falls to the pass-through, and with it to the control table.
import type { Config, DeploymentConfig } from '#config/config.ts';
import type { DataPlane } from './data-plane.ts';
import { serveKserveInference } from './kserve-inference.ts';
import { KserveModelInputs } from './kserve-model-inputs.ts';
import { isInference, type KservePath, parseKservePath } from './kserve-path.ts';
import {
  answerHealth,
  describeModel,
  describeServer,
  indexRepository,
  type KserveQuestion,
  readAllStatistics,
} from './kserve-reading.ts';
import { ModelRouter } from './route-model.ts';
import type { RouteHandler } from './serve-request.ts';

/** The deployments of a config that speak KServe, and the router among them. */
export interface KserveView {
  readonly deployments: readonly DeploymentConfig[];
  readonly router: ModelRouter;
}

/** Returns the KServe side of the config in force, made once per config. */
export function createKserveViews(plane: Pick<DataPlane, 'view' | 'engines' | 'pool'>): () => KserveView {
  const views = new WeakMap<Config, KserveView>();
  return () => {
    const { config } = plane.view;
    const known = views.get(config);
    if (known !== undefined) return known;
    const deployments = config.deployments.filter(
      ({ engine, prefillsFor }) => prefillsFor === undefined && plane.engines[engine]?.speaksKserve === true,
    );
    const router = new ModelRouter({ ...config, deployments }, (deployment) => plane.pool.isServing(deployment));
    const view = { deployments, router };
    views.set(config, view);
    return view;
  };
}

/** Creates the handler of everything at and below `/v2`; `otherwise` gets what is no route of KServe's. */
export function createKserveHandler(plane: DataPlane, otherwise: RouteHandler): RouteHandler {
  const findView = createKserveViews(plane);
  const modelInputs = new KserveModelInputs(plane.clock);
  return {
    route: 'other',
    serve(exchange) {
      const view = findView();
      if (view.deployments.length === 0) return otherwise.serve(exchange);
      const { method } = exchange.req;
      const path = parseKservePath(exchange.path);
      if (method === 'POST' && isInference(path)) {
        return serveKserveInference(plane, { path, router: view.router, modelInputs }, exchange);
      }
      const question = { exchange, ...view };
      const answered = method === 'GET' || method === 'HEAD' ? answerGet(plane, question, path) : undefined;
      if (answered !== undefined) return answered.done;
      if (method === 'POST' && exchange.path === '/v2/repository/index') return indexRepository(plane, question);
      return otherwise.serve(exchange);
    },
  };
}

/** Undefined for what is no reading route. */
function answerGet(
  plane: DataPlane,
  question: KserveQuestion,
  path: KservePath | null,
): { readonly done: Promise<void> | void } | undefined {
  const { exchange } = question;
  switch (exchange.path) {
    case '/v2':
    case '/v2/':
      return { done: describeServer(question) };
    case '/v2/health/live':
      return { done: answerHealth(plane, question, 'live') };
    case '/v2/health/ready':
      return { done: answerHealth(plane, question, 'ready') };
    case '/v2/models/stats':
      return { done: readAllStatistics(plane, question) };
    default:
      return path === null || isInference(path) ? undefined : { done: describeModel(plane, question, path) };
  }
}
