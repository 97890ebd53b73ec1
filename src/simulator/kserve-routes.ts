// Lives here: the `/v2` routes of the simulated Triton: metadata, health, index, statistics, and which of its three inference routes a
// path means. Not here: how inference is framed (flavors/kserve.ts) and done (answer-inference.ts).
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answerInference } from './answer-inference.ts';
import { sendJson } from './answer-whole.ts';
import { decodeSegment } from './decode-segment.ts';
import type { EngineServerContext } from './engine-server.ts';
import {
  createKserveFlavor,
  describeTensors,
  type KserveAction,
  SERVER_EXTENSIONS,
  SERVER_VERSION,
  type TensorDescription,
} from './flavors/kserve.ts';

const MODEL_PATH =
  /^\/v2\/models\/([^/]+)(?:\/versions\/(\d+))?(?:\/(infer|generate|generate_stream|ready|config|stats))?$/;

/** Answers a request below `/v2`; false for a path that is none of its routes. */
export function answerKserve(
  context: EngineServerContext,
  path: string,
  { req, res }: { readonly req: IncomingMessage; readonly res: ServerResponse },
): boolean {
  const match = MODEL_PATH.exec(path);
  if (match === null) return req.method === 'POST' ? answerIndex(context, path, res) : answerServer(context, path, res);
  const [, name = '', version = '1', action] = match;
  if (decodeSegment(name) !== context.model || version !== '1') {
    req.resume();
    sendJson(res, 404, { error: `Request for unknown model: '${name}' is not found` });
  } else if (action === 'infer' || action === 'generate' || action === 'generate_stream') {
    if (req.method === 'POST') generate(context, action, { req, res });
    else sendJson(res, 405, { error: 'Method Not Allowed' });
  } else {
    req.resume();
    describeModel(context, action, res);
  }
  return true;
}

function generate(
  context: EngineServerContext,
  action: KserveAction,
  exchange: { readonly req: IncomingMessage; readonly res: ServerResponse },
): void {
  void answerInference({ ...context, flavor: createKserveFlavor(action, !context.noUsage) }, 'completions', exchange);
}

function answerServer(context: EngineServerContext, path: string, res: ServerResponse): boolean {
  const status = context.isReady() || path === '/v2/health/live' ? 200 : 400;
  if (path === '/v2') sendJson(res, 200, { name: 'triton', version: SERVER_VERSION, extensions: SERVER_EXTENSIONS });
  else if (path === '/v2/health/live' || path === '/v2/health/ready')
    res.writeHead(status, { 'content-length': 0 }).end();
  else return false;
  return true;
}

function answerIndex(context: EngineServerContext, path: string, res: ServerResponse): boolean {
  if (path !== '/v2/repository/index') return false;
  const state = context.isReady() ? 'READY' : 'UNAVAILABLE';
  sendJson(res, 200, [{ name: context.model, version: '1', state, reason: '' }]);
  return true;
}

function describeModel(context: EngineServerContext, action: string | undefined, res: ServerResponse): void {
  const { model, engine, noUsage } = context;
  const name = model;
  if (action === 'ready') {
    res.writeHead(context.isReady() ? 200 : 400, { 'content-length': 0 }).end();
  } else if (action === 'config') {
    sendJson(res, 200, { name, platform: 'ensemble', backend: '', max_batch_size: 256 });
  } else if (action === 'stats') {
    const { requestsSucceeded, requestsFailed } = engine.log;
    const inference_stats = { success: { count: requestsSucceeded, ns: 0 }, fail: { count: requestsFailed, ns: 0 } };
    sendJson(res, 200, { model_stats: [{ name, version: '1', inference_count: requestsSucceeded, inference_stats }] });
  } else {
    const { inputs, outputs } = describeTensors(!noUsage);
    const describe = ([tensor, datatype]: TensorDescription) => ({ name: tensor, datatype, shape: [-1] });
    const tensors = { inputs: inputs.map(describe), outputs: outputs.map(describe) };
    sendJson(res, 200, { name, versions: ['1'], platform: 'ensemble', ...tensors });
  }
}
