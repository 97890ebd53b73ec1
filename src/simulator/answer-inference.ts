// Lives here: one request to an inference route from its body to its answer: checks, plan, engine, disconnect.
// Not here: other routes (engine-server.ts), framing (flavors/), the engine itself.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AnswerPlan } from './answer-plan.ts';
import { StreamingAnswer } from './answer-stream.ts';
import { WholeAnswer, sendJson } from './answer-whole.ts';
import { checkFields } from './check-fields.ts';
import { ContextLengthError, checkContext } from './context-limit.ts';
import { SequenceRefusedError } from './engine-core.ts';
import type { FaultSwitches } from './fault-switches.ts';
import { UnknownFaultError, parseFaultSwitches } from './fault-switches.ts';
import type { AnswerFrame, Flavor } from './flavors/flavor.ts';
import { MalformedRequestError, isPooling, parseInferenceRequest } from './inference-request.ts';
import type { InferenceRequest, InferenceRoute, JsonObject } from './inference-request.ts';
import { UnreadableBodyError, readJsonBody } from './read-json-body.ts';
import type { Generation, SimulatedEngine } from './simulated-engine.ts';
import { sendSpoiledAnswer } from './spoiled-answer.ts';
import { createScripts, startGeneration } from './start-generation.ts';

/** The engine as its inference routes see it. */
export interface InferenceContext {
  readonly engine: SimulatedEngine;
  readonly flavor: Flavor;
  /** Name the engine serves. */
  readonly model: string;
  /** Tokens of a prompt and its answer together. */
  readonly contextTokens: number;
  readonly seed: number;
  /** The engine cannot report usage at all. */
  readonly noUsage: boolean;
  /** Time between the arrival of a request and its arrival in the engine's queue, ms. */
  readonly networkOverheadMs: number;
  /** Time until this disconnect is noticed, ms; Infinity: never. */
  drawDisconnectLagMs(): number;
  /** Faults of every request; those of the header `x-simulate` come on top. */
  readonly faults: FaultSwitches;
  /** Number of this request on this engine. */
  nextEngineId(): number;
}

/** Answers a request to `route`. Never rejects: whatever goes wrong is answered in the flavour's envelope. */
export async function answerInference(
  context: InferenceContext,
  route: InferenceRoute,
  exchange: { req: IncomingMessage; res: ServerResponse },
): Promise<void> {
  const { req, res } = exchange;
  const { flavor, engine } = context;
  try {
    const faults = readFaults(context, req);
    const sent = await readJsonBody(req);
    const asked = flavor.translate?.(sent) ?? sent;
    await sleep(context.networkOverheadMs + (faults.delayHeadersMs ?? 0));
    if (res.destroyed || sendSpoiledAnswer(res, { flavor, faults, stream: asked['stream'] === true })) return;
    const body = checkFields(route, asked);
    const problem = flavor.check({ route, body, servedModel: context.model });
    if (problem !== undefined) sendJson(res, problem.status, problem.body, flavor.headers(readRequestId(req)));
    else {
      const request = parseInferenceRequest(route, body);
      checkContext(flavor, request, context.contextTokens);
      runRequest(context, { req, res, body, faults, request });
    }
  } catch (error) {
    engine.log.requestsFailed += 1;
    sendFailure(res, flavor, error);
  }
}

interface CheckedRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly body: JsonObject;
  readonly faults: FaultSwitches;
  readonly request: InferenceRequest;
}

function runRequest(context: InferenceContext, checked: CheckedRequest): void {
  const { engine } = context;
  const { req, res, request } = checked;
  const plan = planAnswer(context, checked);
  const { generation, isComplete } = startGeneration(
    engine,
    { request, scripts: plan.scripts, id: plan.frames[0]?.id ?? null, requestId: readRequestId(req) },
    () => (request.stream && !isPooling(request.route) ? new StreamingAnswer(plan) : new WholeAnswer(plan)),
  );
  res.once('close', () => {
    if (res.writableFinished || isComplete()) return;
    engine.log.requestsFailed += 1;
    abortAfterLag(generation, context.drawDisconnectLagMs());
  });
}

/** Aborts when the engine notices that its client left; Infinity: never. */
export function abortAfterLag(generation: Pick<Generation, 'abort'>, lagMs: number): void {
  if (lagMs === 0) generation.abort();
  else if (Number.isFinite(lagMs)) setTimeout(() => generation.abort(), lagMs).unref();
}

function planAnswer(context: InferenceContext, checked: CheckedRequest): AnswerPlan {
  const { flavor, model, seed, contextTokens } = context;
  const { req, body, faults, request, res } = checked;
  const requestId = readRequestId(req);
  const created = Math.floor(Date.now() / 1000);
  const nameFrame = (): AnswerFrame => ({
    route: request.route,
    id: flavor.answerId({
      route: request.route,
      requestId,
      engineId: context.nextEngineId(),
      uuid: randomUUID().replaceAll('-', ''),
    }),
    created,
    model: flavor.modelName(request.model, model),
  });
  const first = nameFrame();
  const limits = { tokens: faults.tokens, defaultMaxTokens: flavor.defaultMaxTokens };
  const scripts = createScripts(request, { seed, contextTokens, ...limits });
  const reportsUsage = !context.noUsage && faults.noUsage !== true;
  const asked = request.stream
    ? flavor.streamUsage(body)
    : { atEnd: flavor.wholeUsage?.(body) ?? true, continuous: false };
  return {
    flavor,
    request,
    res,
    faults,
    scripts,
    frames: request.prompts.map((_, index) => (index > 0 && flavor.usagePerPrompt ? nameFrame() : first)),
    usage: { atEnd: reportsUsage && asked.atEnd, continuous: reportsUsage && asked.continuous },
    headers: flavor.headers(requestId),
    toolCallId: `call_${randomUUID().replaceAll('-', '')}`,
  };
}

function readFaults(context: InferenceContext, req: IncomingMessage): FaultSwitches {
  const header = req.headers['x-simulate'];
  return typeof header === 'string' ? { ...context.faults, ...parseFaultSwitches(header) } : context.faults;
}

function readRequestId(req: IncomingMessage): string | null {
  const header = req.headers['x-request-id'];
  return typeof header === 'string' ? header : null;
}

function sendFailure(res: ServerResponse, flavor: Flavor, error: unknown): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const { status, message, field } = describeFailure(error);
  const problem = field === undefined ? flavor.problem(status, message) : flavor.problem(status, message, field);
  sendJson(res, problem.status, problem.body);
}

/** A failure before the answer began, as an HTTP status and what to say of it. */
export function describeFailure(error: unknown): { status: number; message: string; field?: string } {
  if (error instanceof MalformedRequestError) return { status: 400, message: error.message, field: error.field };
  if (error instanceof UnreadableBodyError) {
    return error.status === 400
      ? { status: 400, message: error.message, field: 'body' }
      : { status: error.status, message: error.message };
  }
  if (error instanceof ContextLengthError) {
    const { status, message, field } = error;
    return { status, message, ...(field === undefined ? {} : { field }) };
  }
  if (error instanceof UnknownFaultError) return { status: 400, message: error.message };
  if (error instanceof SequenceRefusedError) {
    return { status: error.reason === 'too_long' ? 400 : 503, message: error.message };
  }
  return { status: 500, message: error instanceof Error ? error.message : 'unknown failure' };
}
