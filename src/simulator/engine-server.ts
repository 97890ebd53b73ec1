// Lives here: the simulated engine's HTTP server: which route of which flavour leads where.
// Not here: inference itself (answer-inference.ts).
import { createServer } from 'node:http';
import type { Server, ServerResponse } from 'node:http';
import { answerInference } from './answer-inference.ts';
import type { InferenceContext } from './answer-inference.ts';
import { sendJson } from './answer-whole.ts';
import { countTokens } from './count-tokens.ts';
import { decodeSegment } from './decode-segment.ts';
import type { Flavor, FlavorName } from './flavors/flavor.ts';
import { findProtocolFlavor } from './flavors/protocol-flavors.ts';
import type { ChatProtocol } from './flavors/protocol-flavors.ts';
import type { InferenceRoute } from './inference-request.ts';
import { answerKserve } from './kserve-routes.ts';

/** What the server needs besides the inference routes. */
export interface EngineServerContext extends InferenceContext {
  /** Epoch seconds the model was loaded at. */
  readonly createdAt: number;
  /** Whether Triton's own protocol is served, on this port and on that of gRPC. */
  readonly speaksKserve: boolean;
  /** Whether health routes say the engine is ready. */
  isReady(): boolean;
}

interface InferencePath {
  readonly route: InferenceRoute;
  /** Set where the path speaks another protocol than OpenAI's for that route. */
  readonly protocol?: ChatProtocol;
}

const inferencePaths: Readonly<Record<string, InferencePath>> = {
  '/v1/chat/completions': { route: 'chat' },
  '/v1/completions': { route: 'completions' },
  '/v1/embeddings': { route: 'embeddings' },
  '/v1/messages': { route: 'chat', protocol: 'messages' },
  '/v1/responses': { route: 'chat', protocol: 'responses' },
  '/v1/rerank': { route: 'rerank' },
  '/rerank': { route: 'rerank' },
  '/v2/rerank': { route: 'rerank' },
  '/v1/score': { route: 'score' },
  '/score': { route: 'score' },
};

/** The flavour that answers a path; undefined where the engine has no such route. */
function findSpeaker(flavor: Flavor, { route, protocol }: InferencePath): Flavor | undefined {
  if (protocol !== undefined) return findProtocolFlavor(flavor, protocol);
  return flavor.routes.has(route) ? flavor : undefined;
}

type PlainRoute = (context: EngineServerContext, res: ServerResponse) => void;

const sendEmpty = (res: ServerResponse, status: number): void => {
  res.writeHead(status, { 'content-length': 0 });
  res.end();
};
const sendText = (res: ServerResponse, text: string): void => {
  res.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  res.end(text);
};
const answerHealth: PlainRoute = (context, res) => sendEmpty(res, context.isReady() ? 200 : 503);

const plainRoutes: Readonly<Record<FlavorName, Readonly<Record<string, PlainRoute>>>> = {
  trtllm: {
    '/health': answerHealth,
    '/version': (_context, res) => sendJson(res, 200, { version: '1.2.0' }),
    '/metrics': ({ engine }, res) => sendJson(res, 200, engine.log.drainRows()),
    '/perf_metrics': ({ engine }, res) => sendJson(res, 200, engine.timings.drain()),
  },
  triton: {
    '/health/ready': (context, res) => sendEmpty(res, context.isReady() ? 200 : 400),
    '/metrics': ({ engine, model }, res) => sendText(res, engine.log.renderTriton(model, engine.core)),
  },
  vllm: {
    '/health': answerHealth,
    '/ping': answerHealth,
    '/version': (_context, res) => sendJson(res, 200, { version: '0.28.0' }),
    '/metrics': ({ engine, model }, res) => sendText(res, engine.log.renderVllm(model, engine.core)),
  },
  kserve: {
    '/metrics': ({ engine, model }, res) => sendText(res, engine.log.renderTriton(model, engine.core)),
  },
  transformers: {
    '/health': (context, res) =>
      context.isReady() ? sendJson(res, 200, { status: 'ok' }) : sendJson(res, 503, { status: 'loading' }),
  },
};

/** Makes the server; it does not listen yet. */
export function createEngineServer(context: EngineServerContext): Server {
  return createServer((req, res) => {
    const url = URL.parse(req.url ?? '/', 'http://engine');
    // A target such as `//` names no path that any server has.
    if (url === null) {
      req.resume();
      return sendJson(res, 404, { detail: 'Not Found' });
    }
    const path = inferencePaths[url.pathname];
    const speaker = path === undefined ? undefined : findSpeaker(context.flavor, path);
    if (path !== undefined && speaker !== undefined) {
      if (req.method === 'POST') void answerInference({ ...context, flavor: speaker }, path.route, { req, res });
      else sendJson(res, 405, { detail: 'Method Not Allowed' });
      return;
    }
    if (url.pathname === '/v1/messages/count_tokens' && req.method === 'POST') {
      const counter = findProtocolFlavor(context.flavor, 'messages');
      if (counter !== undefined) return void countTokens({ ...context, flavor: counter }, { req, res });
    }
    if (context.speaksKserve && answerKserve(context, url.pathname, { req, res })) return;
    // Nothing else reads a body; whatever comes is let through so that the connection can be used again.
    req.resume();
    if (req.method === 'GET') answerGet(context, url, res);
    else sendJson(res, 404, { detail: 'Not Found' });
  });
}

function answerGet(context: EngineServerContext, url: URL, res: ServerResponse): void {
  const plain = plainRoutes[context.flavor.name][url.pathname];
  if (url.pathname === '/truth') sendTruth(context, url, res);
  else if (plain !== undefined) plain(context, res);
  else if (url.pathname.startsWith('/v1/models') && context.flavor.name !== 'kserve')
    sendModels(context, url.pathname, res);
  else sendJson(res, 404, { detail: 'Not Found' });
}

function sendTruth({ engine }: EngineServerContext, url: URL, res: ServerResponse): void {
  const sinceMs = Number(url.searchParams.get('since') ?? 0);
  if (Number.isNaN(sinceMs)) sendJson(res, 400, { detail: 'since: epoch milliseconds expected' });
  else sendJson(res, 200, engine.readTruth(sinceMs));
}

function sendModels(context: EngineServerContext, path: string, res: ServerResponse): void {
  const { flavor, model, createdAt } = context;
  const card = flavor.modelCard(model, createdAt);
  if (path === '/v1/models') sendJson(res, 200, { object: 'list', data: [card] });
  else if (flavor.name === 'triton' && readModelId(path) === model) sendJson(res, 200, card);
  else if (flavor.name === 'triton') sendJson(res, 404, { detail: `Unknown model: ${readModelId(path)}` });
  else sendJson(res, 404, { detail: 'Not Found' });
}

function readModelId(path: string): string {
  return decodeSegment(path.slice('/v1/models/'.length));
}
