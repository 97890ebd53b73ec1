// Finds out which inference server answers at a URL and which models it serves, from read-only routes alone.
// Never calls a route that generates, loads or drains anything (trtllm-serve's /metrics and /perf_metrics are emptied by a read).
import { request as send } from 'undici';
import type { EngineName } from '../config.ts';

/**
 * `evidence`: what the engine was recognised by, for the user to judge. `models` in the server's order, at most 100; `leftOut`: how many more it
 * lists, beyond these or under names that no configuration may hold. `languageModels`: those of a Triton that write text, with the input
 * that limits its tokens, null for none.
 */
export type ProbeResult =
  | {
      readonly ok: true;
      readonly engine: EngineName;
      readonly evidence: string;
      readonly models: readonly string[];
      readonly leftOut: number;
      readonly languageModels: ReadonlyMap<string, string | null>;
    }
  | { readonly ok: false; readonly reason: string };

/** `url` without trailing slash; `apiKey` is sent as bearer token unless `''`; each route is given `timeoutMs`. */
export interface ProbeOptions {
  readonly url: string;
  readonly apiKey: string;
  readonly timeoutMs: number;
}

interface Answer {
  readonly status: number;
  readonly json: unknown;
}

/** By route: what was answered, or why nothing was. */
type Answers = ReadonlyMap<string, Answer | string>;

const ROUTES = [
  '/v1/models',
  '/v2',
  '/info',
  '/v1/metadata',
  '/v1/health/ready',
  '/live',
  '/health',
  '/version',
] as const;
/** Inputs that limit the tokens of an answer: of ensemble and BLS, the LLM-API model, the C++ model (upstreams.md §3.2). */
const LIMIT_INPUTS = ['max_tokens', 'sampling_param_max_tokens', 'request_output_len'] as const;
const BODY_BYTES_MAX = 4 * 1024 * 1024;
const MODELS_MAX = 100;

/** Asks all routes at once. A server that cannot be reached, refuses the key or is none of the known ones gives a reason. */
export async function probeEngine(options: ProbeOptions): Promise<ProbeResult> {
  const answers = new Map(
    await Promise.all(ROUTES.map(async (route) => [route, await ask(options, { route, method: 'GET' })] as const)),
  );
  const failures = [...answers.values()].filter((answer) => typeof answer === 'string');
  if (failures.length === answers.size)
    return { ok: false, reason: `no engine answers at ${options.url}: ${failures[0] ?? 'no answer'}` };
  const status = statusOf(answers, '/v1/models');
  if (status === 401 || status === 403) {
    const hint = options.apiKey === '' ? 'set UPSTREAM_API_KEY' : 'it refuses the one in UPSTREAM_API_KEY';
    return { ok: false, reason: `the engine at ${options.url} asks for a key (status ${status}): ${hint}` };
  }
  return isTritonServer(answers) ? probeTriton(options) : recognise(options, answers);
}

async function ask(
  options: ProbeOptions,
  request: { readonly route: string; readonly method: 'GET' | 'POST' },
): Promise<Answer | string> {
  try {
    // Not fetch: it refuses ports that an engine may well have, such as 6000.
    const { statusCode, body } = await send(`${options.url}${request.route}`, {
      method: request.method,
      headers: options.apiKey === '' ? {} : { authorization: `Bearer ${options.apiKey}` },
      signal: AbortSignal.timeout(options.timeoutMs),
    });
    return { status: statusCode, json: parseJson(await readBounded(body)) };
  } catch (err) {
    return describeFailure(err, options.timeoutMs);
  }
}

async function readBounded(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > BODY_BYTES_MAX) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function describeFailure(err: unknown, timeoutMs: number): string {
  if (!(err instanceof Error)) return String(err);
  if (err.name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  const { code } = err as NodeJS.ErrnoException;
  if (code !== undefined && /CERT|SIGNATURE/.test(code))
    return `${code} (an authority of your own goes into NODE_EXTRA_CA_CERTS, later into tls.ca of the upstream)`;
  return code ?? err.message;
}

function fieldOf(json: unknown, key: string): unknown {
  return typeof json === 'object' && json !== null ? (json as Record<string, unknown>)[key] : undefined;
}

function statusOf(answers: Answers, route: string): number | undefined {
  const answer = answers.get(route);
  return typeof answer === 'object' ? answer.status : undefined;
}

/** The JSON of a route that answered 200. */
function jsonOf(answers: Answers, route: string): unknown {
  const answer = answers.get(route);
  return typeof answer === 'object' && answer.status === 200 ? answer.json : undefined;
}

/** KServe's server metadata (predict_v2, "Server Metadata"); the name may carry a prefix. */
function isTritonServer(answers: Answers): boolean {
  const name = fieldOf(jsonOf(answers, '/v2'), 'name');
  return typeof name === 'string' && /triton/i.test(name) && statusOf(answers, '/v1/models') !== 200;
}

/** The repository index is a POST that reads (Triton's model repository extension). */
async function probeTriton(options: ProbeOptions): Promise<ProbeResult> {
  const index = await ask(options, { route: '/v2/repository/index', method: 'POST' });
  const rows = typeof index === 'string' ? undefined : index.json;
  const models = (Array.isArray(rows) ? rows : [])
    .filter((row) => fieldOf(row, 'state') === undefined || fieldOf(row, 'state') === 'READY')
    .map((row) => fieldOf(row, 'name'));
  const found = finish(options, { engine: 'triton', evidence: 'GET /v2 names Triton', models });
  return found.ok ? { ...found, languageModels: await findLanguageModels(options, found.models) } : found;
}

/** By the inputs in each model's metadata: a text, or the tokens of TensorRT-LLM's C++ model; pre- and postprocessing have neither. */
async function findLanguageModels(
  options: ProbeOptions,
  models: readonly string[],
): Promise<ReadonlyMap<string, string | null>> {
  const found = await Promise.all(
    models.map(async (model): Promise<readonly [string, string | null][]> => {
      const answer = await ask(options, { route: `/v2/models/${encodeURIComponent(model)}`, method: 'GET' });
      const inputs = typeof answer === 'string' ? undefined : fieldOf(answer.json, 'inputs');
      const names = new Set((Array.isArray(inputs) ? inputs : []).map((input) => fieldOf(input, 'name')));
      const isText = names.has('text_input') || (names.has('input_ids') && names.has('request_output_len'));
      return isText ? [[model, LIMIT_INPUTS.find((name) => names.has(name)) ?? null]] : [];
    }),
  );
  return new Map(found.flat());
}

function recognise(options: ProbeOptions, answers: Answers): ProbeResult {
  const rows = fieldOf(jsonOf(answers, '/v1/models'), 'data');
  if (!Array.isArray(rows)) {
    const answer = answers.get('/v1/models') ?? 'no answer';
    const said = typeof answer === 'string' ? answer : answer.status;
    const reason = `${options.url} answers, but neither /v1/models (${said}) nor /v2 as an inference engine does`;
    return { ok: false, reason };
  }
  const models = rows.map((row) => fieldOf(row, 'id'));
  const owner = rows.map((row) => fieldOf(row, 'owned_by')).find((value) => typeof value === 'string');
  return finish(options, { ...recogniseEngine(answers, owner ?? ''), models });
}

/** Most telling first: NIM serves vLLM's API, so its own routes must be asked before the models' owner. */
function recogniseEngine(answers: Answers, owner: string): { readonly engine: EngineName; readonly evidence: string } {
  const owned = (engine: EngineName) => ({ engine, evidence: `/v1/models says owned_by ${owner}` });
  if (owner === 'tensorrt_llm') return owned('tensorrt-llm');
  if (owner === 'Triton Inference Server') return owned('triton-openai');
  if (owner === 'transformers') return owned('transformers');
  if (statusOf(answers, '/v1/metadata') === 200 && statusOf(answers, '/v1/health/ready') === 200) {
    return { engine: 'nim', evidence: '/v1/metadata and /v1/health/ready answer' };
  }
  if (owner === 'vllm') return owned('vllm');
  const info = jsonOf(answers, '/info');
  if (fieldOf(info, 'model_id') !== undefined) return { engine: 'tgi', evidence: '/info names a model_id' };
  const health = jsonOf(answers, '/health');
  if (statusOf(answers, '/live') === 200 && health !== undefined) {
    return { engine: 'dynamo', evidence: '/live and /health answer as its frontend does' };
  }
  if (fieldOf(health, 'status') === 'ok' && statusOf(answers, '/version') !== 200) {
    return { engine: 'transformers', evidence: '/health says ok and there is no /version' };
  }
  return { engine: 'openai', evidence: '/v1/models answers, and nothing else tells' };
}

function finish(
  options: ProbeOptions,
  found: { readonly engine: EngineName; readonly evidence: string; readonly models: readonly unknown[] },
): ProbeResult {
  const names = new Set(found.models.filter((name) => typeof name === 'string'));
  const models = [...names].filter((name) => /^[\x21-\x7e]{1,256}$/.test(name)).slice(0, MODELS_MAX);
  const leftOut = names.size - models.length;
  if (models.length > 0) return { ok: true, ...found, models, leftOut, languageModels: new Map() };
  const named = `the engine at ${options.url} (${found.engine})`;
  const reason =
    leftOut === 0
      ? `${named} serves no model yet`
      : `${named} lists models only under names with spaces or other characters than ASCII: give it another name to serve one by`;
  return { ok: false, reason };
}
