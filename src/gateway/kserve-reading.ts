// The KServe routes that only read: the server's own answers as a union of what a caller may use, and one model's metadata, configuration,
// readiness and statistics as its engine says them. They cost no GPU time and leave no record.
import type { DeploymentConfig } from '#config/config.ts';
import { GatewayError } from '#domain/errors.ts';
import { askEngine, type EngineAnswer, readJsonAnswer } from './ask-engine.ts';
import type { DataPlane } from './data-plane.ts';
import { type KservePath, renderKservePath } from './kserve-path.ts';
import { sendJson } from './models-route.ts';
import { readNamedDeployment } from './read-model.ts';
import { receiveBody } from './receive-body.ts';
import { readText } from './raw-elements.ts';
import { asObject } from './read-usage.ts';
import type { ModelRouter } from './route-model.ts';
import type { Exchange } from './serve-request.ts';
import type { Upstream } from './upstream-pool.ts';

/** What the gateway itself passes on of KServe's extensions, over HTTP and gRPC; those that steer an engine are not among them. */
export const KSERVE_EXTENSIONS: readonly string[] = [
  'classification',
  'sequence',
  'model_configuration',
  'binary_tensor_data',
  'parameters',
  'statistics',
];

/** `generate` is Triton's and there over HTTP only. */
const EXTENSIONS = [...KSERVE_EXTENSIONS, 'generate'];

/** A body of `repository/index` is a flag or two. */
const INDEX_BODY_MAX = 64 * 1024;

/** One request to a reading route. */
export interface KserveQuestion {
  readonly exchange: Exchange;
  /** Knows the deployments that speak KServe, and no others. */
  readonly router: ModelRouter;
  /** Those deployments. */
  readonly deployments: readonly DeploymentConfig[];
}

/** `GET /v2`: name, version and extensions. */
export function describeServer({ exchange }: KserveQuestion): void {
  const body = { name: 'inferometer', version: '2', extensions: EXTENSIONS };
  sendJson(exchange.res, { headers: exchange.idHeaders, body });
}

/** `GET /v2/health/live` and `/ready`: live while it answers; ready while any deployment of the caller has an engine. 400 as Triton says it. */
export function answerHealth(plane: DataPlane, question: KserveQuestion, kind: 'live' | 'ready'): void {
  const { exchange, router, deployments } = question;
  const { caller } = exchange.meter;
  const isReady =
    kind === 'live' || deployments.some((one) => router.isAllowed(caller, one) && plane.pool.isServing(one.name));
  exchange.res.writeHead(isReady ? 200 : 400, { ...exchange.idHeaders, 'content-length': 0 }).end();
}

/** `POST /v2/repository/index`: one entry per name the caller may use, its state as an engine of the deployment says it. */
export async function indexRepository(plane: DataPlane, question: KserveQuestion): Promise<void> {
  const { exchange, router, deployments } = question;
  const { res, meter, idHeaders } = exchange;
  const body = await receiveBody(plane, exchange, INDEX_BODY_MAX);
  const readyOnly = wantsReadyOnly(body);
  const states = new Map(
    await Promise.all(deployments.map(async (one) => [one.name, await readStates(plane, one)] as const)),
  );
  const entries = router.listModels(meter.caller).flatMap(({ id, ownedBy }) => {
    const known = states.get(ownedBy) ?? [];
    return known.map((state) => ({ ...state, name: id }));
  });
  sendJson(res, { headers: idHeaders, body: entries.filter(({ state }) => !readyOnly || state === 'READY') });
}

/** `GET /v2/models/stats`: the statistics of every engine of the caller's deployments, one after the other. */
export async function readAllStatistics(plane: DataPlane, question: KserveQuestion): Promise<void> {
  const { exchange, router, deployments } = question;
  const { caller } = exchange.meter;
  const allowed = deployments.filter((one) => router.isAllowed(caller, one));
  const lists = await Promise.all(
    allowed.flatMap((deployment) =>
      listEngines(plane, deployment).map(async (upstream) => {
        const path = renderKservePath(deployment.servedModel, { version: null, action: 'stats' });
        const answer = asObject(readJsonAnswer(await ask(upstream, { method: 'GET', path })));
        return Array.isArray(answer?.['model_stats']) ? (answer['model_stats'] as readonly unknown[]) : [];
      }),
    ),
  );
  sendJson(exchange.res, { headers: exchange.idHeaders, body: { model_stats: lists.flat() } });
}

/** `GET /v2/models/{m}[/versions/{v}][/ready|config|stats]`: an engine's answer, unchanged. */
export async function describeModel(plane: DataPlane, question: KserveQuestion, path: KservePath): Promise<void> {
  const { exchange, router } = question;
  const { req, res, meter, idHeaders } = exchange;
  const deployment = router.route({
    caller: meter.caller,
    model: path.model,
    deployment: readNamedDeployment(req.headers),
  });
  const engines = listEngines(plane, deployment);
  if (engines.length === 0) throw new GatewayError('no_healthy_upstream');
  const answer = await askFirst(engines, renderKservePath(deployment.servedModel, path));
  if (answer === null) throw new GatewayError('upstream_unreachable');
  res.writeHead(answer.status, {
    ...idHeaders,
    ...(answer.contentType === undefined ? {} : { 'content-type': answer.contentType }),
    'content-length': answer.body.length,
    'x-inferometer-deployment': deployment.name,
  });
  res.end(answer.body);
}

function listEngines(plane: DataPlane, deployment: DeploymentConfig): readonly Upstream[] {
  return plane.pool.list().filter((one) => one.deployment.name === deployment.name && one.healthy !== false);
}

function ask(
  upstream: Upstream,
  question: { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: string },
): Promise<EngineAnswer | null> {
  return askEngine(upstream, { ...question, timeoutMs: upstream.deployment.health.timeoutMs });
}

async function askFirst(engines: readonly Upstream[], path: string): Promise<EngineAnswer | null> {
  for (const upstream of engines) {
    const answer = await ask(upstream, { method: 'GET', path });
    if (answer !== null) return answer;
  }
  return null;
}

interface IndexEntry {
  readonly version: string;
  readonly state: string;
  readonly reason: string;
}

/** States of a deployment's model by an engine's own index; other models of that engine are nobody's business. */
async function readStates(plane: DataPlane, deployment: DeploymentConfig): Promise<readonly IndexEntry[]> {
  for (const upstream of listEngines(plane, deployment)) {
    const index = readJsonAnswer(await ask(upstream, { method: 'POST', path: '/v2/repository/index', body: '{}' }));
    if (!Array.isArray(index)) continue;
    return index.flatMap((entry: unknown) => {
      const model = asObject(entry);
      if (model?.['name'] !== deployment.servedModel) return [];
      const { version, state, reason } = model;
      return [{ version: readText(version), state: readText(state), reason: readText(reason) }];
    });
  }
  return [{ version: '', state: 'UNAVAILABLE', reason: 'no engine answers' }];
}

function wantsReadyOnly(body: Buffer): boolean {
  if (body.length === 0) return false;
  try {
    return asObject(JSON.parse(body.toString('utf8')))?.['ready'] === true;
  } catch {
    throw new GatewayError('invalid_json');
  }
}
