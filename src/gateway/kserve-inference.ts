// The metered routes of KServe's HTTP protocol: find the deployment by the path, ask for token counts where the model can say them. Bodies with tensors reach the engine byte for byte.
import type { IncomingHttpHeaders } from 'node:http';
import type { DeploymentConfig } from '#config/config.ts';
import type { DataPlane } from './data-plane.ts';
import { GenerateObserver, GenerateStreamObserver, InferObserver } from './kserve-answer.ts';
import type { KserveModelInputs } from './kserve-model-inputs.ts';
import { type InferenceAction, type KservePath, renderKservePath, renderKserveRoute } from './kserve-path.ts';
import {
  listMissingSwitches,
  parseGenerateRequest,
  parseInferRequest,
  readHeaderLength,
  spliceSwitches,
} from './kserve-request.ts';
import type { MeteredRoute } from './metered-routes.ts';
import type { AnswerObserver } from './observe-answer.ts';
import type { ParsedRequest } from './parse-request.ts';
import { receiveBody } from './receive-body.ts';
import { chooseDeployment, relayByRank } from './relay-by-rank.ts';
import { SentBodies } from './sent-body.ts';
import type { ModelRouter } from './route-model.ts';
import type { Exchange } from './serve-request.ts';
import type { CountingRequest } from './triton-counts.ts';

/** What one path of a model is served with. */
export interface KserveTarget {
  readonly path: KservePath & { readonly action: InferenceAction };
  /** Knows the deployments that speak KServe, and no others. */
  readonly router: ModelRouter;
  readonly modelInputs: KserveModelInputs;
}

/** Serves `infer`, `generate` or `generate_stream`. Throws the GatewayError that refuses; resolves when the answer is complete. */
export async function serveKserveInference(plane: DataPlane, target: KserveTarget, exchange: Exchange): Promise<void> {
  const { req, meter } = exchange;
  const { path, router } = target;
  meter.route = renderKserveRoute(path.action);
  meter.requestedModel = path.model;
  meter.stream = path.action === 'generate_stream';
  const ranking = chooseDeployment(router, exchange);
  const body = await receiveBody(plane, exchange);
  const prepared = path.action === 'infer' ? readInfer(body, path.model, req.headers) : readGenerate(body, path);
  await relayByRank(plane, exchange, {
    ranking,
    promptBytes: body.length,
    draft: (deployment) => ({
      request: prepared.request,
      async complete() {
        const asked = prepared.canAsk
          ? await askModel(plane, target, { body, deployment, counting: prepared.counting })
          : NOTHING_ASKED;
        const sent = spliceSwitches(body, asked.switches);
        return {
          route: createRoute({ path, deployment, asked, prepared }),
          bodies: new SentBodies({ body: sent, model: null, plan: 'leave', fields: null }),
        };
      },
    }),
  });
}

interface PreparedRequest {
  readonly request: ParsedRequest;
  readonly counting: CountingRequest;
  /** `duration` where nothing will be known of the answer's tokens. */
  readonly work: 'duration' | undefined;
  /** Whether token switches can be added to the body. */
  readonly canAsk: boolean;
}

function readGenerate(body: Buffer, path: KservePath): PreparedRequest {
  const { parsed, counting } = parseGenerateRequest(body, path.model, path.action === 'generate_stream');
  return { request: parsed, counting, work: undefined, canAsk: true };
}

/** Tensors of unknown meaning: only an answer that will count tokens is measured by them. */
function readInfer(body: Buffer, model: string, headers: IncomingHttpHeaders): PreparedRequest {
  const { parsed, counting, countsTokens } = parseInferRequest(
    body,
    model,
    readHeaderLength(headers['inference-header-content-length']),
  );
  return { request: parsed, counting, work: countsTokens ? undefined : 'duration', canAsk: false };
}

/** What is added to a request, and what is known of the model that gets it. */
interface AskedModel {
  /** Token switches to add: those the body leaves open, where every engine of the deployment is known to take them. */
  readonly switches: readonly string[];
  readonly isTensorrtLlm: boolean | null;
}

const NOTHING_ASKED: AskedModel = { switches: [], isTensorrtLlm: null };

/** Looks at the model's inputs where its counts are to be asked for, or may hold the prompt. */
async function askModel(
  plane: DataPlane,
  target: KserveTarget,
  options: { readonly body: Buffer; readonly deployment: DeploymentConfig; readonly counting: CountingRequest },
): Promise<AskedModel> {
  const { body, deployment, counting } = options;
  if (deployment.work !== 'tokens') return NOTHING_ASKED;
  const missing = listMissingSwitches(body);
  if (missing.length === 0 && (counting.streams || counting.excludesInput === true)) return NOTHING_ASKED;
  const engines = plane.pool
    .list()
    .filter((upstream) => upstream.deployment.name === deployment.name && upstream.healthy !== false);
  const metadata = renderKservePath(deployment.servedModel, { version: target.path.version, action: 'metadata' });
  const takes = await target.modelInputs.takeTokenSwitches(engines, metadata);
  return { switches: takes ? missing : [], isTensorrtLlm: target.modelInputs.areTensorrtLlm(engines, metadata) };
}

function createRoute(options: {
  readonly path: KserveTarget['path'];
  readonly deployment: DeploymentConfig;
  readonly asked: AskedModel;
  readonly prepared: PreparedRequest;
}): MeteredRoute {
  const { path, deployment, asked, prepared } = options;
  const { work, counting } = prepared;
  return {
    path: renderKservePath(deployment.servedModel, path),
    protocol: 'kserve',
    shape: 'completion',
    prefillOnly: false,
    takesStreamOptions: false,
    ...(work === undefined ? {} : { work }),
    createObserver: (headers, { keepsText }) =>
      createObserver(headers, { action: path.action, asked, counting, keepsText }),
  };
}

/** The observer of a KServe answer; null for a type that none can read. An error of `generate_stream` may come as plain JSON. */
function createObserver(
  headers: IncomingHttpHeaders,
  options: {
    readonly action: InferenceAction;
    readonly asked: AskedModel;
    readonly counting: CountingRequest;
    readonly keepsText: boolean;
  },
): AnswerObserver | null {
  const { action, asked, counting: request, keepsText } = options;
  const { switches, isTensorrtLlm } = asked;
  const counting = { request, isTensorrtLlm };
  const type = String(headers['content-type'] ?? '').toLowerCase();
  if (type.startsWith('text/event-stream')) return new GenerateStreamObserver(switches, keepsText, counting);
  const headerLength = readHeaderLength(headers['inference-header-content-length']);
  if (action === 'infer') return new InferObserver(headerLength, request);
  return type.includes('json') || type === '' ? new GenerateObserver(switches, counting) : null;
}
